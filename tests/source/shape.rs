//! The shape of the code: no class in chapters, no file that holds everything.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree;

/// The most files in which one type's own `impl` blocks may stand.
const MOST_IMPL_FILES: usize = 3;
/// The most lines of a source file of the balancer, without its tests.
const MOST_LINES: usize = 350;

/// The type of a line that begins an inherent `impl` block at the left edge, such as `impl<'a> Launch<'a> {`.
fn inherent_impl(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("impl")?;
    let rest = if rest.starts_with('<') { &rest[closing(rest)? + 1..] } else { rest };
    let name = rest.trim_start().split(['<', ' ', '{']).next()?;
    (!rest.contains(" for ") && !name.is_empty()).then_some(name)
}

/// The index of the bracket that closes the first one.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    text.char_indices().find_map(|(at, letter)| {
        depth += i32::from(letter == '<') - i32::from(letter == '>');
        (depth == 0).then_some(at)
    })
}

#[test]
fn impl_lines_of_types_are_told_from_those_of_traits() {
    assert_eq!(inherent_impl("impl Slot {"), Some("Slot"));
    assert_eq!(inherent_impl("impl<'a, T: Into<Vec<u8>>> Launch<'a, T> {"), Some("Launch"));
    assert_eq!(inherent_impl("impl Drop for Slot {"), None);
    assert_eq!(inherent_impl("impl<T> From<T> for Slot {"), None);
    assert_eq!(inherent_impl("    impl Slot {"), None);
}

#[test]
fn type_has_its_impl_in_three_files_at_most() {
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in tree::files(&["balancer/src", "worker-runtime/src"], &["rs"]) {
        if file.is_test() {
            continue;
        }
        // Types of one name in different top folders are different types.
        let top: String = file.path.split('/').take(3).collect::<Vec<_>>().join("/");
        for name in file.text.lines().filter_map(inherent_impl) {
            files.entry(format!("{top} {name}")).or_default().insert(file.path.clone());
        }
    }
    let spread: Vec<_> = files.iter().filter(|(_, paths)| paths.len() > MOST_IMPL_FILES).collect();
    assert!(files.len() > 100, "the impl blocks were not found");
    assert!(spread.is_empty(), "make its parts types of their own: {spread:#?}");
}

#[test]
fn source_file_has_350_lines_at_most() {
    let length = |file: &tree::SourceFile| file.text.lines().count();
    let long: Vec<_> = tree::files(&["balancer/src", "worker-runtime/src"], &["rs"])
        .into_iter()
        .filter(|file| length(file) > MOST_LINES)
        .map(|file| format!("{} has {} lines", file.path, length(&file)))
        .collect();
    assert!(long.is_empty(), "find the second idea in it: {long:#?}");
}
