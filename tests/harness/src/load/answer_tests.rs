//! Answers that arrive whole, and cut at every byte.

use super::*;

/// Parses the text in pieces of that size, and then the end of the connection if `ends`.
fn read(text: &[u8], size: usize, is_to_head: bool, ends: bool) -> Result<Answer, End> {
    let mut answer = Answer::default();
    answer.begin(is_to_head);
    for piece in text.chunks(size) {
        answer.read(piece)?;
    }
    if ends {
        answer.end()?;
    }
    Ok(answer)
}

#[test]
fn answer_is_read_the_same_however_it_is_cut() {
    let hello = "hello from demo/1 (pid 7)";
    let length = hello.len();
    let answers = [
        format!("HTTP/1.1 200 OK\r\ncontent-LENGTH: {length}\r\nX-Other: 1\r\n\r\n{hello}"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n14\r\n from demo/1 (pid 7)\r\n0\r\n\r\n"
            .to_owned(),
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{hello}"),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Worker: demo/1\r\n\r\nok".to_owned(),
    ];
    for text in answers {
        for size in 1..=text.len() {
            let answer = read(text.as_bytes(), size, false, false).unwrap();
            assert!(answer.is_complete() && answer.keeps(), "pieces of {size}: {text}");
            assert_eq!((answer.status(), answer.worker()), (200, Some("demo/1")), "pieces of {size}: {text}");
            assert_eq!(answer.received(), text.len() as u64);
        }
    }
}

#[test]
fn answer_that_ends_early_is_not_complete() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        for length in 0..text.len() {
            let answer = read(&text.as_bytes()[..length], 9, false, false).unwrap();
            assert!(!answer.is_complete(), "{length} bytes of {text}");
            assert_eq!(read(&text.as_bytes()[..length], 9, false, true).unwrap_err(), End::Closed);
        }
    }
}

#[test]
fn body_without_length_ends_with_the_connection() {
    let text = b"HTTP/1.1 200 OK\r\n\r\nhello";
    assert!(!read(text, 100, false, false).unwrap().is_complete());
    let answer = read(text, 100, false, true).unwrap();
    assert!(answer.is_complete() && !answer.keeps());
}

#[test]
fn some_answers_have_no_body_whatever_length_they_name() {
    let answer = |status: u16| format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n");
    assert!(read(answer(200).as_bytes(), 100, true, false).unwrap().is_complete());
    assert!(read(answer(304).as_bytes(), 100, false, false).unwrap().is_complete());
    assert!(read(b"HTTP/1.1 204 X\r\n\r\n", 100, false, false).unwrap().is_complete());
    assert!(!read(answer(200).as_bytes(), 100, false, false).unwrap().is_complete());
}

#[test]
fn connection_is_kept_as_version_and_header_say() {
    for (head, keeps) in [
        ("HTTP/1.1 200 OK\r\n", true),
        ("HTTP/1.0 200 OK\r\n", false),
        ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: foo, CLOSE\r\n", false),
        ("HTTP/1.1 503 No\r\nConnection: keep-alive\r\n", true),
    ] {
        let text = format!("{head}Content-Length: 0\r\n\r\n");
        assert_eq!(read(text.as_bytes(), 100, false, false).unwrap().keeps(), keeps, "{head}");
    }
}

#[test]
fn bytes_that_are_no_answer_are_found_at_once() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(MAX_HEAD));
    for text in [
        "\0",
        "t00",
        "HTTQ",
        "GET / HTTP/1.1\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        &long,
    ] {
        assert!(matches!(read(text.as_bytes(), 1000, false, false), Err(End::Wrong(_))), "{text:?}");
    }
}

#[test]
fn reader_keeps_nothing_of_the_answer_before() {
    let mut answer = Answer::default();
    answer.begin(false);
    answer.read(b"HTTP/1.1 404 No\r\nX-Worker: demo/1\r\nContent-Length: 9\r\n\r\nhal").unwrap();
    answer.begin(false);
    assert_eq!((answer.status(), answer.received(), answer.worker()), (0, 0, None));
    answer.read(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert!(answer.is_complete() && answer.keeps());
}
