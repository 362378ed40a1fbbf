//! What tests of several binaries need: the program under test, other programs that may be here, conditions with a
//! deadline.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

/// The longest time that anything may take before a test gives up on it. Generous: machines are slow, and nothing waits
/// it out in vain.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Says what a test needs and lacks; that is a failure where everything is required.
#[track_caller]
pub(crate) fn missing(what: &str) {
    assert!(std::env::var_os("ROUNDELAY_REQUIRE_ALL").is_none_or(|value| value != "1"), "needs {what}");
    println!("skipped: needs {what}");
}

/// Returns true if that program can be found; says so if not.
#[track_caller]
pub(crate) fn has(program: &str) -> bool {
    let is_here = is_in_path(program);
    if !is_here {
        missing(program);
    }
    is_here
}

/// Returns true if that program can be found.
pub(crate) fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    folders.into_iter().any(|folder| folder.join(program).is_file())
}

/// The binary under test: named by `ROUNDELAY_BIN`, else built beside this test. Cargo does not name another package's.
#[track_caller]
pub(crate) fn binary() -> Option<PathBuf> {
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

/// Waits until `condition` holds; panics with `what` at the deadline.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "gave up waiting: {what}");
        // The pause between two looks at a condition, not a wait for it.
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
