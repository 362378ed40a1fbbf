use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Returns the lines and the fault of a stream that arrives in these pieces.
fn lines<'a>(longest: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, Option<Broken>) {
    let (mut lines, mut taken) = (Lines::within(longest), Vec::new());
    for piece in pieces {
        lines.push(piece);
        loop {
            match lines.next_line() {
                Ok(Some(line)) => taken.push(line),
                Ok(None) => break,
                Err(broken) => return (taken, Some(broken)),
            }
            assert!(lines.buffer.len() <= longest + piece.len());
        }
    }
    (taken, None)
}

#[test]
fn line_ends_at_its_line_end() {
    let all = lines(100, [b"{\"a\":1}\n\n\"\xc3".as_slice(), b"\xbc\"\nrest".as_slice()]);
    assert_eq!(all, (vec!["{\"a\":1}".into(), String::new(), "\"ü\"".into()], None));
}

#[test]
fn line_beyond_the_bound_is_refused_with_the_bound() {
    assert_eq!(lines(4, [b"1234\n".as_slice()]), (vec!["1234".into()], None));
    let (before, broken) = lines(4, [b"1\n12345".as_slice()]);
    assert_eq!(before, ["1"]);
    assert!(broken.unwrap().to_string().contains("more than 4 bytes"));
    assert_eq!(lines(4, [b"12345\n".as_slice()]).1, Some(Broken::LongLine { longest: 4 }));
}

#[test]
fn line_that_is_no_text_is_shown_escaped() {
    let broken = lines(100, [b"\x1b[2J\xff\n".as_slice()]).1.unwrap().to_string();
    assert!(broken.contains(r"\u{1b}[2J") && !broken.contains('\u{1b}'), "{broken}");
}

#[test]
fn long_line_in_single_bytes_is_scanned_once() {
    let mut lines = Lines::default();
    let line = format!("\"{}\"\n", "x".repeat(4_000_000));
    let mut taken = None;
    for byte in line.as_bytes() {
        lines.push(std::slice::from_ref(byte));
        taken = taken.or(lines.next_line().unwrap());
    }
    // Searching the whole buffer again for each byte would make this test take half an hour.
    assert_eq!(taken.unwrap().len() + 1, line.len());
    assert!(lines.buffer.capacity() <= KEPT, "the memory of a long line is freed");
}

#[test]
fn node_owns_what_begins_with_its_prefix_and_goes_on_after_it() {
    let internal = [json!({"cmd": "NODE_X"}), json!({"cmd": "NODE_CLUSTER", "act": "online"})];
    let user = [json!({"cmd": "NODE_"}), json!({"cmd": "node_x"}), json!({"cmd": 7}), json!({"x": "NODE_X"})];
    let bare = [json!(["NODE_X"]), json!("NODE_CLUSTER"), json!(1.5), json!(true), json!(null), json!({})];
    for value in internal {
        assert!(matches!(read(&value.to_string()), Ok(Message::Internal(_))), "{value}");
        assert!(is_of_node(&value));
    }
    for value in user.into_iter().chain(bare) {
        assert_eq!(read(&value.to_string()), Ok(Message::User(value.clone())));
        assert!(!is_of_node(&value));
    }
}

#[test]
fn invalid_json_breaks_the_channel_and_is_shown_in_part() {
    for line in ["", "{", "{\"a\":}", "undefined", "{} {}", "NaN"] {
        assert!(matches!(read(line), Err(Broken::NotJson { .. })), "{line}");
    }
    let text = read(&format!("oops \u{1b}[2J{}", "x".repeat(100_000))).unwrap_err().to_string();
    assert!(text.contains(r"oops \u{1b}[2Jxxx") && text.len() < 500, "{text}");
}

#[test]
fn unrepresentable_javascript_value_does_not_end_worker() {
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let handle = |inner: &str| format!(r#"{{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{inner}}}"#);
    for inner in [r#""cut \ud83d""#, r#"{"\udc00":1}"#, &deep] {
        assert_eq!(read(inner), Ok(Message::Unreadable));
        let Ok(Message::Internal(object)) = read(&handle(inner)) else { panic!("a socket comes with {inner}") };
        assert_eq!(object.get("cmd"), Some(&json!("NODE_HANDLE")));
    }
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => Just(b'\n'), 10 => b' '..=b'~', 1 => any::<u8>()];
    vec(byte, 0..200)
}

proptest! {
    #[test]
    fn any_cut_of_a_stream_gives_the_same_lines(bytes in stream(), sizes in vec(1..20_usize, 1..20), longest in 0..40_usize) {
        let mut pieces = Vec::new();
        let mut rest = bytes.as_slice();
        for size in sizes.iter().cycle() {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        let whole = lines(longest, [bytes.as_slice()]);
        prop_assert_eq!(&lines(longest, pieces), &whole);
        prop_assert_eq!(&lines(longest, bytes.chunks(1)), &whole);
        prop_assert!(whole.0.iter().all(|line| line.len() <= longest));
    }

    #[test]
    fn random_line_is_read_without_a_panic(line in ".{0,80}") {
        if let Err(broken) = read(&line) {
            prop_assert!(!broken.to_string().contains(crate::printable::is_harmful));
        }
    }
}
