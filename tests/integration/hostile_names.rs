//! Text from outside reaches log, page, state and terminal escaped: it can neither forge a line nor turn one around.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use crate::kit::{Master, Setup, a_node, free_address, get, run_command, wait_until};

/// Ends when dropped.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A path with an escape sequence, a mark that reverses text, and a line of its own.
const PATH: &str =
    "p\\x1b[31mRED\\x1b[0m\\u202e\\u061c\\u2028\\n2026-01-01T00:00:00Z ERROR a line that the master never wrote";

/// Takes the name of a process, and keeps the port of the first argument.
const HOLDER: &str = "require('fs').writeFileSync('/proc/self/comm', 'h\\x1b[1m\\n\\u202e');
require('net').createServer().listen(process.argv[2], process.argv[3], () => require('fs').writeFileSync('held', ''));";

fn is_harmful(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{202e}' | '\u{61c}' | '\u{2028}')
}

#[track_caller]
fn assert_safe(what: &str, text: &str) {
    assert!(!text.contains(is_harmful), "{what}: {text:?}");
    assert!(text.lines().all(|line| !line.starts_with("2026-01-01T00:00:00Z")), "{what} has a forged line: {text}");
}

#[track_caller]
fn assert_all_safe(master: &Master, said: &str) {
    wait_until("the name in the log", || master.log().contains(said));
    assert_safe("log", &master.log());
    assert_safe("state", &master.ask("/api/v1/state").body);
    assert_safe("metrics", &master.ask("/metrics").body);
    let page = get(master.admin(), "/").unwrap();
    assert_safe("page", &page.body);
    for command in ["list", "status"] {
        let ended = run_command(master, &[command]);
        assert_safe(command, &ended.stdout);
    }
}

#[test]
fn hostile_path_of_a_listener_is_escaped_everywhere() {
    let Some(node) = a_node() else { return };
    let text = format!(
        "require('http').createServer((q, r) => r.end('ok')).listen(3000);
         require('net').createServer().listen('{PATH}');
         process.send('said \\x1b[31m \\u202e\\u2028 x\\ny');"
    );
    for (format, path) in [("pretty", "p\\u{1b}[31mRED"), ("json", "p\\u001b[31mRED")] {
        let setup = Setup::app(&["--mode", "handoff", "-i", "1"], &[&node.program, "app.js"]).file("app.js", &text);
        let master = setup.env("ROUNDELAY_LOG_FORMAT", format).start_ready();
        assert_all_safe(&master, path);
        master.wait_log("worker message");
        assert_safe("log", &master.log());
        if format == "json" {
            let log = master.log();
            let events = log.lines().filter(|line| line.starts_with('{'));
            events.for_each(|line| drop(serde_json::from_str::<serde_json::Value>(line).unwrap()));
        }
    }
}

#[test]
fn hostile_name_of_a_port_holder_is_escaped() {
    let Some(node) = a_node() else { return };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("holder.js"), HOLDER).unwrap();
    let taken = free_address();
    let holder = Command::new(&node.program)
        .args(["holder.js", &taken.port().to_string(), &taken.ip().to_string()])
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(Holder)
        .unwrap();
    wait_until("the port to be held", || dir.path().join("held").exists());
    assert!(TcpListener::bind(taken).is_err());
    let text = format!(
        "require('http').createServer((q, r) => r.end('ok')).listen(3000);
         require('net').createServer().on('error', () => {{}}).listen({}, '{}');",
        taken.port(),
        taken.ip()
    );
    let setup = Setup::app(&["--mode", "handoff", "-i", "1"], &[&node.program, "app.js"]).file("app.js", &text);
    let master = setup.start_ready();
    assert_all_safe(&master, "held by h\\u{1b}[1m");
    drop(master);
    let refused = Setup::app(&["-l", &taken.to_string()], &["sleep", "60"]).run_to_end();
    assert!(refused.stderr.contains("h\\u{1b}[1m"), "{refused:?}");
    assert_safe("error of the start", &refused.stderr);
    drop(holder);
}

#[test]
fn hostile_file_cannot_reorder_the_output_of_config_check() {
    let text = "[pool.a]\ncommand = [\"sleep\", \"60\"]\n\"x\u{202e}\u{61c}\u{1b}[2J\" = \"\u{2028}\" # \u{202e}\n";
    let checked = Setup::new(&["config", "check", "-c", "a.toml"]).file("a.toml", text).run_to_end();
    assert_eq!(checked.code, Some(78), "{checked:?}");
    assert_safe("config check", &checked.stderr);
    let sound = "[pool.a]\ncommand = [\"sleep\", \"60\u{202e}\u{1b}\"]\nenv = { \"A\u{61c}\" = \"'\u{2028}\" }\n"
        .replace('\u{1b}', "\\u001b");
    let shown = Setup::new(&["config", "show", "-c", "a.toml"]).file("a.toml", &sound).run_to_end();
    assert_safe("config show", &shown.stdout);
    let again = Setup::new(&["config", "show", "-c", "a.toml"]).file("a.toml", &shown.stdout).run_to_end();
    let pool = |shown: &str| shown.split_once("[pool.a]").map(|(_, pool)| pool.to_owned());
    assert_eq!(pool(&again.stdout), pool(&shown.stdout), "what is shown can be read again: {again:?}");
}
