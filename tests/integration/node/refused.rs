//! Applications that keep their listener to themselves: the master says what to do instead.

use super::{MODES, app};
use crate::kit::{Ended, Setup, a_node, for_each, free_address, nodes};

#[track_caller]
fn says(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "`{word}` in {}", ended.stderr);
    }
}

#[test]
fn launcher_in_front_of_node_is_refused_with_a_suggestion() {
    for command in [&["npm", "start"][..], &["npx", "next", "start"], &["node", "--watch", "app.js"]] {
        let ended = Setup::app(&["--mode", "handoff"], command).run_to_end();
        says(&ended, 2, &["runs the application as a process of its own", r#"command = ["node", "FILE"]"#]);
    }
}

#[test]
fn private_listener_of_a_worker_is_named_with_its_address() {
    for node in nodes() {
        let cases = [
            ("exclusive", "server.listen({ port, host, exclusive: true });", true),
            (
                "a worker thread",
                "
                const { Worker } = require('worker_threads');
                new Worker(`require('http').createServer(() => {}).listen(${port}, '${host}')`, { eval: true });",
                true,
            ),
            // Before 22 the option is not known, and the listener is asked for.
            ("reusePort", "server.listen({ port, host, reusePort: true });", node.major >= 22),
        ];
        for (name, how, is_own) in cases.into_iter().filter(|(.., is_own)| *is_own) {
            eprintln!("{node:?} {name} {is_own}");
            let address = free_address();
            let text = format!(
                "const server = require('http').createServer(() => {{}}), port = {}, host = '{}';\n{how}",
                address.port(),
                address.ip()
            );
            let master = app(node, &["--mode", "handoff", "-i", "1"], &text).start();
            master.wait_log(&format!("your application listens on {address} by itself"));
        }
    }
}

#[test]
fn master_ends_if_no_worker_asks_for_its_listener() {
    let Some(node) = a_node() else { return };
    let address = free_address();
    let text = format!(
        "require('http').createServer(() => {{}}).listen({{ port: {}, host: '{}', exclusive: true }});",
        address.port(),
        address.ip()
    );
    let flags = ["--mode", "handoff", "-i", "1", "--set", "pool.app.ready-timeout=5s"];
    let ended = app(node, &flags, &text).run_to_end();
    says(&ended, 1, &["no worker became ready", &address.to_string(), "by itself", "exclusive", "reusePort", "$PORT"]);
}

#[test]
fn application_that_listens_nowhere_is_reported() {
    let Some(node) = a_node() else { return };
    for_each(&MODES, |mode| {
        let flags = ["--mode", mode, "-i", "1", "--set", "pool.app.ready-timeout=4s"];
        let ended = app(node, &flags, "setInterval(() => {}, 1000);").run_to_end();
        says(&ended, 1, &["no worker became ready", "did not ask for a listener"]);
        assert!(!ended.stderr.contains("systemd-socket-activate"), "{}", ended.stderr);
    });
}

#[test]
fn node_behind_another_node_is_told_to_be_started_directly() {
    let Some(node) = a_node() else { return };
    let text = "require('child_process').spawn(process.execPath, ['real.js'], { stdio: 'inherit' });";
    let address = free_address();
    let real = format!("require('http').createServer(() => {{}}).listen({}, '{}');", address.port(), address.ip());
    let master = app(node, &["--mode", "handoff", "-i", "1"], text).file("real.js", &real).start();
    master.wait_log(&format!("your application listens on {address} by itself"));
    master.wait_log("in a process that it starts");
}
