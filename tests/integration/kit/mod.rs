//! Starts a master, asks it, ends it.

#![allow(dead_code, unused_imports)]

mod http;
mod kept;
mod master;
mod process;

pub(crate) use http::{Response, get, get_unix, request};
pub(crate) use kept::Kept;
pub(crate) use master::{Master, Setup};
pub(crate) use process::{Ended, is_alive, kill, run_to_end, stat};

use std::time::Duration;

use tokio::time::Instant;

/// How long anything may take before a test gives up on it. Generous: machines are slow, and nothing waits it out in vain.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds; panics with `what` at the deadline.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Waits until `look` finds something; panics with `what` at the deadline.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "gave up waiting: {what}");
        // The pause between two looks at a condition, not a wait for it.
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// True if `program` can be run. Where it is missing the test says so and is skipped, unless everything is required.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|dir| dir.join(program).is_file()) {
        return true;
    }
    missing(program)
}

/// Says that a test is skipped for want of `what`; fails instead where everything is required.
pub(crate) fn missing(what: &str) -> bool {
    assert!(std::env::var_os("ROUNDELAY_REQUIRE_ALL").is_none_or(|value| value != "1"), "this run requires {what}");
    eprintln!("skipped: needs {what}");
    false
}
