//! Names of tests: rule 4 of `docs/lexicon.md`.

use crate::tree;

/// The longest name of a test that still fits a line of `cargo test` beside its module.
const LONGEST: usize = 60;

/// First words that name no subject.
const NO_SUBJECT: [&str; 15] = [
    "a", "an", "the", "what", "whatever", "where", "who", "whoever", "nobody", "so", "it", "that", "those", "how", "as",
];

#[test]
fn test_names_begin_with_their_subject_and_are_short() {
    let mut faults = Vec::new();
    let mut seen = 0;
    for file in tree::rust() {
        let mut is_test = false;
        for (number, line) in file.lines() {
            let line = line.trim_start();
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if is_test && let Some(name) = line.split("fn ").nth(1).filter(|_| !line.starts_with('#')) {
                is_test = false;
                seen += 1;
                let name = name.split('(').next().unwrap_or_default();
                let first = name.split('_').next().unwrap_or_default();
                if NO_SUBJECT.contains(&first) || name.len() > LONGEST {
                    faults.push(format!("{}:{number}: {name} ({} characters)", file.path, name.len()));
                }
            }
        }
    }
    assert!(seen > 1000, "only {seen} tests were found: the test does not read what it should");
    tree::assert_none(
        &faults,
        "a test is called subject_condition_result: its subject first, no article, at most 60 characters",
    );
}
