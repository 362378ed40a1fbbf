//! Comments name their subject: rules 2 and 3 of `docs/lexicon.md`.

use crate::tree::{self, SourceFile};

/// The comments of a Rust file, without their slashes: (line, marker, text). A comment behind code counts, too.
fn comments(file: &SourceFile) -> impl Iterator<Item = (usize, &str, &str)> {
    file.lines().filter_map(|(number, line)| {
        let trimmed = line.trim_start();
        for marker in ["//!", "///", "//"] {
            if let Some(text) = trimmed.strip_prefix(marker) {
                return Some((number, marker, text.trim()));
            }
        }
        // Behind code: not inside of a string such as "http://...".
        let (before, text) = line.split_once(" // ")?;
        (before.matches('"').count() % 2 == 0).then_some((number, "//", text.trim()))
    })
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

#[test]
fn comments_call_no_socket_or_process_who() {
    let mut faults = Vec::new();
    for file in tree::rust() {
        for (number, _, text) in comments(&file) {
            // What stands between backticks is code or another program's text.
            let own: String = text.split('`').step_by(2).collect();
            if words(&own).any(|word| matches!(word.as_str(), "who" | "whom" | "whoever" | "himself" | "whomever")) {
                faults.push(format!("{}:{number}: {text}", file.path));
            }
        }
    }
    tree::assert_none(&faults, "name the subject: \"the worker that ...\", \"the process which ...\"");
}

#[test]
fn doc_comments_begin_with_what_the_item_is_or_does() {
    let mut faults = Vec::new();
    for file in tree::rust() {
        let mut inside = false;
        for (number, line) in file.lines() {
            let line = line.trim_start();
            let Some(text) = line.strip_prefix("///") else {
                inside = false;
                continue;
            };
            let first = words(text).next().unwrap_or_default();
            if !inside && matches!(first.as_str(), "what" | "whether" | "who" | "whom" | "whose" | "that" | "how") {
                faults.push(format!("{}:{number}: {}", file.path, text.trim()));
            }
            inside = true;
        }
    }
    tree::assert_none(&faults, "begin with \"Returns true if\", \"The number of\", a noun or a verb");
}
