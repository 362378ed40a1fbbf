//! Loading a damaged file reports problems and does not panic.

use proptest::prelude::*;

use super::*;

/// One change to a text: at a fraction of its length, cut `cut` bytes and insert `put`.
#[derive(Clone, Debug)]
struct Edit {
    at: f64,
    cut: usize,
    put: String,
}

fn edit() -> impl Strategy<Value = Edit> {
    let word = prop_oneof![
        Just("[pool.x]\n".to_owned()),
        Just("\n".to_owned()),
        Just("= ".to_owned()),
        Just("\"".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just("-1".to_owned()),
        Just("99999999999999999999999999999999999999999999".to_owned()),
        Just("\"584000000000years\"".to_owned()),
        Just("\u{feff}\0\t\r".to_owned()),
        "[a-z.]{0,6}",
        "\\PC{0,4}",
    ];
    (0.0..1.0f64, prop_oneof![Just(0), 0..8usize, 0..400usize], word).prop_map(|(at, cut, put)| Edit { at, cut, put })
}

fn apply(text: &str, edits: &[Edit]) -> String {
    edits.iter().fold(text.to_owned(), |text, edit| {
        let start = text.floor_char_boundary((text.len() as f64 * edit.at) as usize);
        let end = text.floor_char_boundary((start + edit.cut).min(text.len())).max(start);
        format!("{}{}{}", &text[..start], edit.put, &text[end..])
    })
}

fn without_prose(text: String) -> String {
    text.lines().filter(|line| !line.starts_with("# ")).map(|line| format!("{line}\n")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_reference_is_read_or_refused_at_a_position(edits in prop::collection::vec(edit(), 1..6)) {
        let text = apply(&without_prose(super::reference::reference(true)), &edits);
        if let Err(problems) = load(&file(&text)) {
            prop_assert!(problems.errors() > 0);
            for problem in problems.iter() {
                prop_assert!(matches!(problem.position, Position::File(_) | Position::Whole), "{problem:?}\n{text}");
            }
            prop_assert_eq!(problems.code(), 78);
            prop_assert!(problems.render(true).contains("f.toml"));
        }
    }

    #[test]
    fn half_written_file_is_read_or_refused(at in 0.0..1.0f64) {
        let text = super::reference::reference(true);
        let end = text.floor_char_boundary((text.len() as f64 * at) as usize);
        if let Err(problems) = load(&file(&text[..end])) {
            prop_assert!(problems.to_string().contains("f.toml"));
        }
    }

    #[test]
    fn any_setting_is_read_or_refused(setting in "(pool\\.a\\.)?[a-z.=\"\\[\\]{}0-9-]{0,24}", text in "\\PC{0,20}") {
        let base = "[pool.a]\ncommand = ['x']\n";
        for set in [setting, text] {
            let sources = Sources { sets: vec![set.clone()], env: vec![("ROUNDELAY_SET".into(), set)], ..file(base) };
            if let Err(problems) = load(&sources) {
                prop_assert!(problems.errors() > 0);
            }
        }
    }
}
