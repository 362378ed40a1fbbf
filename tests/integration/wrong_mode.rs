//! A program that cannot be a worker of a mode and still says READY=1: the start fails, and the error names the mode
//! to use.

use crate::kit::{Setup, a_node, free_address, free_everywhere, get, has};

/// Runs the master to its end, which must come with these words.
#[track_caller]
fn fails(flags: &[&str], command: &[&str], words: &[&str]) {
    let flags = [&["-i", "2"], flags].concat();
    let ended = Setup::app(&flags, command).with("app", &["ready-timeout=4s"]).run_to_end();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "`{word}` in:\n{}", ended.stderr);
    }
}

#[test]
fn program_on_its_own_port_is_not_ready_with_a_passed_listener() {
    if !has("redis-server") {
        return;
    }
    let port = free_everywhere().to_string();
    let redis = ["redis-server", "--supervised", "systemd", "--port", &port, "--save", ""];
    for mode in ["shared", "reuseport"] {
        fails(&["--mode", mode], &redis, &[&format!("your program listens on 0.0.0.0:{port} by itself"), "proxy"]);
    }
}

#[test]
fn program_silent_on_its_channel_is_not_ready_in_handoff() {
    if !has("gunicorn") {
        return;
    }
    let address = free_address().to_string();
    let app = "app = lambda environ, start: start('200 OK', []) or [b'ok']";
    let setup = Setup::app(&["-i", "1", "--mode", "handoff"], &["gunicorn", "--bind", &address, "own:app"]);
    let ended = setup.file("own.py", app).with("app", &["ready-timeout=4s"]).run_to_end();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let words = [format!("your program listens on {address} by itself"), "mode = \"proxy\"".to_owned()];
    assert!(words.iter().all(|word| ended.stderr.contains(word.as_str())), "{}", ended.stderr);
}

/// A tool's own pipe is opened first, as tsx does. It answers no HTTP.
const PIPE_FIRST: &str = r#"
const net = require('net'), path = require('path').resolve('tool.' + process.pid);
net.createServer((pipe) => pipe.end('not http')).listen(path, () => {
  require('http').createServer((request, response) => response.end('from the port')).listen(3000);
});
"#;

#[test]
fn server_on_a_path_is_never_the_public_one() {
    let Some(node) = a_node() else { return };
    for mode in ["handoff", "shared"] {
        let setup = Setup::app(&["-i", "2", "--mode", mode], &[&node.program, "pipe.js"]).file("pipe.js", PIPE_FIRST);
        let master = setup.start_ready();
        for _ in 0..10 {
            assert_eq!(get(master.address(), "/").unwrap().body, "from the port", "{mode}");
        }
    }
}
