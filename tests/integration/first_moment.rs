//! No test takes a first moment for the rest: what the kit's header asks for is looked for in the sources of these tests.

use std::path::{Path, PathBuf};

/// The expressions that read a changing value: of a master, its log or a process.
const READS: [&str; 11] = [
    ".metric(",
    ".pool()",
    ".state()",
    ".worker(",
    ".workers()",
    ".pids()",
    ".log()",
    ".family()",
    ".sleepers()",
    "descriptors(",
    "children(",
];

/// The files that may sleep: the waits themselves, and a server that is slow on purpose.
const MAY_SLEEP: [&str; 2] = ["kit/src/in_async.rs", "load/open_loop.rs"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("first_moment.rs") {
            found.push(path);
        }
    }
}

/// The arguments of a macro call, up to the parenthesis that closes it. Parentheses in texts are rare and do no harm
/// here.
fn arguments(call: &str) -> &str {
    let mut depth = 1;
    let end = call.find(|c| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0
    });
    &call[..end.unwrap_or(call.len())]
}

/// The number and text of each line that asserts one moment.
fn first_moments(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let lines: Vec<_> = text.lines().collect();
    for (at, _) in text.match_indices("assert") {
        let Some((name, call)) = text[at..].split_once("!(") else { continue };
        let number = text[..at].matches('\n').count();
        let is_assertion = ["assert", "assert_eq", "assert_ne"].contains(&name);
        // That something is not there is asserted by `stays`, or once at the end.
        let is_negative = call.trim_start().starts_with('!');
        // A message may say what is there now.
        let asserted = arguments(call).split(", \"").next().unwrap_or_default();
        let is_comment = lines[number].trim_start().starts_with("//");
        if is_assertion && !is_negative && !is_comment && READS.iter().any(|read| asserted.contains(read)) {
            found.push((number + 1, lines[number]));
        }
    }
    found
}

#[test]
fn tests_assert_no_single_moment() {
    let mut paths = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
    ["integration", "relay", "harness/tests", "kit"].iter().for_each(|folder| sources(&root.join(folder), &mut paths));
    assert!(paths.len() > 100, "{paths:?}");
    let mut told = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        for (number, line) in first_moments(&text) {
            told.push(format!(
                "{name}:{number}: use eventually!, eventually_eq!, wait_log or at_once!: {}",
                line.trim()
            ));
        }
        for (index, line) in text.lines().enumerate() {
            let sleeps = ["thread::sleep(", "time::sleep("].iter().any(|call| line.contains(call));
            if sleeps && !MAY_SLEEP.iter().any(|allowed| path.ends_with(allowed)) {
                told.push(format!("{name}:{}: use wait_until, stays, at_rest or pauses: {}", index + 1, line.trim()));
            }
        }
    }
    assert!(told.is_empty(), "\n{}", told.join("\n"));
}

#[test]
fn assertions_of_a_single_moment_are_found() {
    let text = "fn a() {\n    assert_eq!(master.pool().active, Some(0));\n    at_once!(master.worker(0).is_ready);\n    assert!(!master.log().contains(\"x\"));\n    \
                assert_eq!(\n        (1, master.metric(\"x\", &[])),\n        (1, 2.0)\n    );\n    \
                assert_eq!(count, 1, \"{}\", master.log());\n}\n";
    let numbers: Vec<_> = first_moments(text).into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [2, 5]);
}
