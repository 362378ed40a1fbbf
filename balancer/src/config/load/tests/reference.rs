//! `config/roundelay.toml` lists every key with its default, and the small files beside it load.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::super::super::keys::{GLOBAL, POOL};
use super::*;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../config"))
}

/// Returns the reference. With `with_optional`, keys that are commented out (`#key = value`, without a blank) are
/// switched on.
pub(super) fn reference(with_optional: bool) -> String {
    let path = folder().join("roundelay.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(text.len() > 1000, "the reference is (nearly) empty");
    let is_option = |line: &str| line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_alphabetic());
    let line = |line: &str| if with_optional && is_option(line) { line[1..].to_owned() } else { line.to_owned() };
    text.lines().map(|one| line(one) + "\n").collect()
}

#[test]
fn reference_lists_every_key_and_no_other() {
    let document = value::parse(&reference(true)).unwrap_or_else(|problems| panic!("{problems:?}"));
    let walk = walk(&document);
    assert!(walk.problems.is_empty(), "{:?}", walk.problems);
    let listed: BTreeSet<String> = walk.entries.iter().map(|entry| entry.key.path()).collect();
    let pool = POOL.iter().map(|key| format!("pool.example.{}", key.name));
    let known: BTreeSet<String> = GLOBAL.iter().map(|key| key.name.to_owned()).chain(pool).collect();
    assert_eq!(listed, known);
}

#[test]
fn reference_has_the_defaults() {
    let loaded = load(&file(&reference(false))).unwrap_or_else(|problems| panic!("{problems}"));
    let program = Program::Command(vec!["node".into(), "app.js".into()]);
    let expected = Config { pools: vec![PoolConfig::new("example", program)], ..Config::default() };
    assert_eq!(loaded.config, expected);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn examples_load_without_a_warning() {
    let entries = std::fs::read_dir(folder()).expect("the folder").map(|entry| entry.expect("an entry").path());
    let examples: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    assert!(examples.len() >= 6, "{examples:?}");
    for path in examples {
        let source = Source::read(&path).unwrap_or_else(|problems| panic!("{problems}"));
        let sources = Sources { file: Some(source), cpus: 4, ..Sources::default() };
        let loaded = load(&sources).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    }
}
