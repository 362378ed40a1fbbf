//! A start or a reload that fails reports what the master saw, and does not wait where the outcome is clear.

use std::os::unix::fs::PermissionsExt;

use crate::kit::{Ended, Setup, a_node, for_each, free_address, python, run_command, says, shell};

/// A ready timeout that no test waits for.
const NEVER: &str = "pool.app.ready-timeout=10m";

#[track_caller]
fn fails(setup: Setup, words: &[&str]) -> Ended {
    let ended = setup.run_to_end();
    says(&ended, 1, &["no worker became ready"]);
    says(&ended, 1, words);
    ended
}

#[test]
fn failed_health_check_is_reported_at_start_and_at_reload() {
    let Some(python) = python() else { return };
    let command = [python, "-m", "http.server", "{port}", "--bind", "127.0.0.1"];
    let flags = ["-i", "1", "--health", "/healthz", "--set", "pool.app.ready-timeout=4s"];
    fails(Setup::app(&flags, &command), &["within 4s; its last check: ", "GET /healthz answered 404"]);
    let master = Setup::app(&flags, &command).file("healthz", "").start_ready();
    master.remove("healthz");
    says(
        &run_command(&master, &["reload"]),
        1,
        &["not ready within 4s; its last check: ", "GET /healthz answered 404"],
    );
}

#[test]
fn file_that_cannot_be_executed_is_reported_with_the_reason() {
    for (head, word) in [("#!/bin/sh\r\nexit 0\r\n", "CR LF"), ("#!/no/such/python\n", "not: /no/such/python;")] {
        let setup = Setup::app(&["-i", "1"], &["./app"]).file("app", head);
        let app = setup.dir().join("app");
        std::fs::set_permissions(&app, std::fs::Permissions::from_mode(0o755)).unwrap();
        fails(setup, &[word]);
    }
}

#[test]
fn program_that_ends_with_its_input_is_reported() {
    fails(Setup::app(&["-i", "1"], &["cat"]), &["exit code 0", "/dev/null"]);
}

#[test]
fn path_for_a_program_that_wants_a_port_names_the_key() {
    let Some(python) = python() else { return };
    let command = [python, "-c", "import os; int(os.environ['PORT'])"];
    fails(Setup::app(&["-i", "1", "--endpoint", "unix"], &command), &["needs endpoint = \"port\"", "ValueError"]);
}

#[test]
fn program_that_listens_elsewhere_ends_the_start_early() {
    let Some(python) = python() else { return };
    for_each(&["1", "2"], |workers| {
        let taken = free_address();
        let (port, ip) = (taken.port().to_string(), taken.ip().to_string());
        let command = [python, "-m", "http.server", &port, "--bind", &ip];
        let told = format!("your program listens on {taken}, not on $PORT (");
        fails(Setup::app(&["-i", workers, "--set", NEVER], &command), &[&told]);
    });
}

#[test]
fn listener_for_ipv6_only_is_reported() {
    let Some(node) = a_node() else { return };
    // This is not `node FILE`: the master would pass its listener to it.
    let text = "require('http').createServer().listen({ port: process.env.PORT, host: '::', ipv6Only: true });";
    let setup = Setup::app(&["-i", "1", "--set", NEVER], &shell(&format!("exec {} app.js", node.program)));
    fails(setup.file("app.js", text), &["for one family only (ipv6Only"]);
}

#[test]
fn busy_program_that_listens_elsewhere_first_is_waited_for() {
    let Some(python) = python() else { return };
    let script = "
import os, socket, time
other = socket.create_server(('127.0.0.1', 0))
end = time.monotonic() + 6
while time.monotonic() < end: sum(range(1000))
own = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))
while True: own.accept()[0].close()";
    let mut master = Setup::app(&["-i", "1"], &[python, "-c", script]).start();
    master.wait_all_ready();
}
