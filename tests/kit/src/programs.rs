//! The programs that tests run, and what is said where one is missing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Returns true if `program` can be run. If it is missing, the test prints that and is skipped, unless everything is
/// required.
#[track_caller]
pub fn has(program: &str) -> bool {
    is_in(folders_of_path(), program) || missing(program)
}

/// Like [`has`], for a server that the harness starts: it also looks in the folders that only root's `PATH` has.
#[track_caller]
pub fn has_server(program: &str) -> bool {
    let of_root = [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")];
    is_in(folders_of_path().into_iter().chain(of_root), program) || missing(program)
}

/// Returns true if `program` stands in a folder of `PATH`. If not, nothing is said.
#[must_use]
pub fn is_in_path(program: &str) -> bool {
    is_in(folders_of_path(), program)
}

fn folders_of_path() -> Vec<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect()
}

fn is_in(folders: impl IntoIterator<Item = PathBuf>, program: &str) -> bool {
    folders.into_iter().any(|folder| folder.join(program).is_file())
}

/// Prints that a test is skipped because `what` is missing. Fails instead where everything is required.
#[track_caller]
pub fn missing(what: &str) -> bool {
    assert!(std::env::var_os("ROUNDELAY_REQUIRE_ALL").is_none_or(|value| value != "1"), "this run requires {what}");
    eprintln!("skipped: needs {what}");
    false
}

/// Returns true if the test runs as root. If not, it prints that the test is skipped; never a failure, as no package
/// brings the right.
#[must_use]
pub fn is_root() -> bool {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|said| said.stdout == b"0\n");
    if !is_root {
        eprintln!("skipped: needs root");
    }
    is_root
}

/// Python's own path, if there is one: version managers put slow wrappers before it.
#[must_use]
pub fn python() -> Option<&'static str> {
    static PYTHON: OnceLock<Option<String>> = OnceLock::new();
    let found = PYTHON.get_or_init(|| {
        let ask = ["-c", "import sys; print(sys.executable)"];
        let answer = Command::new("python3").args(ask).output().ok().filter(|answer| answer.status.success())?;
        Some(String::from_utf8(answer.stdout).ok()?.trim().to_owned())
    });
    if found.is_none() {
        missing("python3");
    }
    found.as_deref()
}

/// The binary under test, for a suite of another package, to which Cargo does not name it: the one that `ROUNDELAY_BIN`
/// names, else the one that was built beside this test. Without one, the test says so and is skipped.
#[track_caller]
#[must_use]
pub fn binary() -> Option<PathBuf> {
    let found = std::env::var_os("ROUNDELAY_BIN").map(PathBuf::from).or_else(beside);
    if found.is_none() {
        missing("the roundelay binary: cargo build, or ROUNDELAY_BIN");
    }
    found
}

fn beside() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let places = |folder: &Path| ["roundelay", "debug/roundelay", "release/roundelay"].map(|name| folder.join(name));
    test.ancestors().skip(1).take(4).flat_map(places).find(|place| place.is_file())
}
