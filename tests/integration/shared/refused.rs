//! Settings that cannot go with workers that accept by themselves, and the message for a program that does not.

use super::{demo, pool};
use crate::kit::{Setup, demo_after, has, python_worker, shell};

/// Checks that `flags` with mode shared are a usage error that contains all of `parts`.
#[track_caller]
fn is_refused(flags: &[&str], parts: &[&str]) {
    let ended = demo("2", flags).run_to_end();
    assert_eq!(ended.code, Some(2), "{flags:?}: {ended:?}");
    for part in [&["in mode `shared` the workers accept"], parts].concat() {
        assert!(ended.stderr.contains(part), "{flags:?} does not say {part}:\n{}", ended.stderr);
    }
}

#[test]
fn strategy_is_refused_because_the_kernel_chooses() {
    is_refused(&["--strategy", "round-robin"], &["so the kernel chooses and `strategy` has no say", "--strategy"]);
}

#[test]
fn options_for_a_private_endpoint_are_refused() {
    is_refused(&["--ready", "probe"], &["there is no private endpoint to probe", "\"notify\"", "\"none\""]);
    is_refused(&["--health", "/health"], &["a probe could not tell which of them answers"]);
    is_refused(&["--health", "tcp"], &["a probe could not tell which of them answers"]);
    is_refused(&["--endpoint", "unix"], &["there is no private endpoint"]);
}

#[test]
fn strategy_in_a_file_is_a_configuration_error() {
    let file = "[pool.app]\ncommand = [\"sleep\", \"600\"]\nmode = \"shared\"\nstrategy = \"round-robin\"\n";
    let ended = Setup::new(&["run", "-c", "app.toml"]).file("app.toml", file).run_to_end();
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.stderr.contains("the kernel chooses") && ended.stderr.contains("app.toml:4"), "{ended:?}");
}

#[test]
fn program_that_listens_by_itself_is_told_of_descriptor_3() {
    if !has("socat") {
        return;
    }
    let flags = ["--set", "pool.app.ready-timeout=6s"];
    let ended = pool("1", &flags, &["socat", "TCP-LISTEN:0,bind=127.0.0.7,fork", "SYSTEM:true"]).run_to_end();
    assert_eq!(ended.code, Some(1));
    let told = ended.stderr.lines().find(|line| line.contains("WARN") && line.contains("your program listens on"));
    let cause = ended.stderr.lines().find(|line| line.starts_with("cause:"));
    for told in [told, cause] {
        let told = told.unwrap_or_else(|| panic!("{}", ended.stderr));
        assert!(told.contains("your program listens on 127.0.0.7:") && told.contains("by itself"), "{told}");
        assert!(told.contains("it must accept on descriptor 3 (LISTEN_FDS)"), "{told}");
    }
}

#[test]
fn program_that_needs_port_fails_with_its_last_lines() {
    let Some(worker) = python_worker() else { return };
    let ended = pool("1", &[], &worker).run_to_end();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("exit code 1; it last wrote:"), "{}", ended.stderr);
    assert!(ended.stderr.contains("KeyError: 'HOST'"), "{}", ended.stderr);
}

/// The listener that it was passed does not count as one of its own.
#[test]
fn missing_ready_is_not_reported_as_listening_elsewhere() {
    let script = demo_after("unset NOTIFY_SOCKET");
    let ended = pool("1", &["--set", "pool.app.ready-timeout=2s"], &shell(&script)).run_to_end();
    assert_eq!(ended.code, Some(1));
    assert!(!ended.stderr.contains("your program listens on"), "{}", ended.stderr);
    assert!(ended.stderr.contains("did not say READY=1 within 2s"), "{}", ended.stderr);
    assert!(ended.stderr.contains("`--ready none`"), "{}", ended.stderr);
}
