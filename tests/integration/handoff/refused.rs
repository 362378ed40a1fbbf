//! The error for a program that cannot be a worker in this mode.

use super::demo;
use crate::kit::{Ended, Setup, has, python, python_worker};

/// Runs a program that is not ready in time. The error says why, and what to do.
#[track_caller]
fn never_ready(flags: &[&str], command: &[&str]) -> Ended {
    let flags = [&["--mode", "handoff", "-i", "1"], flags].concat();
    let ended = Setup::app(&flags, command).run_to_end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for word in ["no worker became ready", "worker-runtime", "node FILE", "mode", "proxy"] {
        assert!(ended.stderr.contains(word), "`{word}` in:\n{}", ended.stderr);
    }
    ended
}

#[test]
fn program_that_listens_by_itself_is_told_of_handoff() {
    let Some(python) = python() else { return };
    let server = [python, "-m", "http.server", "--bind", "127.0.0.7", "0"];
    let ended = never_ready(&["--set", "pool.app.ready-timeout=4s"], &server);
    let told = ended.stderr.lines().find(|line| line.contains("WARN") && line.contains("your program listens on"));
    let cause = ended.stderr.lines().find(|line| line.starts_with("cause:"));
    for told in [told, cause] {
        let told = told.unwrap_or_else(|| panic!("{}", ended.stderr));
        assert!(told.contains("listens on 127.0.0.7:") && told.contains("it is handed its connections"), "{told}");
    }
}

#[test]
fn program_without_the_protocol_is_told_the_missing_message() {
    if has("sleep") {
        let ended = never_ready(&["--set", "pool.app.ready-timeout=2s"], &["sleep", "600"]);
        assert!(ended.stderr.contains("did not say READY=1 within 2s"), "{}", ended.stderr);
    }
}

#[test]
fn program_that_needs_port_fails_with_its_last_lines() {
    let Some(worker) = python_worker() else { return };
    let ended = never_ready(&[], &worker);
    assert!(ended.stderr.contains("KeyError: 'HOST'"), "{}", ended.stderr);
}

#[test]
fn options_for_a_private_endpoint_are_refused() {
    for (flags, word) in [
        (&["--endpoint", "unix"][..], "endpoint"),
        (&["--health", "/health"], "health"),
        (&["--set", "pool.demo.proxy-protocol=v1"], "proxy-protocol"),
    ] {
        let ended = demo("1", flags).run_to_end();
        assert!(ended.code == Some(2) && ended.stderr.contains(word), "{flags:?}: {ended:?}");
        assert!(ended.stderr.contains("handoff"), "{flags:?}: {ended:?}");
    }
}
