//! `config check` refuses every file that the start would refuse, and waits for nothing.

use crate::kit::{Setup, free_address};

/// A file of a pool that would start, with one thing changed.
fn file(changed: &str, with: &str) -> String {
    let sound = "[pool.a]\ncommand = [\"sleep\", \"600\"]\nlisten = \"ADDRESS\"\nready = \"none\"\n\
                 health = { probe = \"none\" }\ncwd = \".\"\n";
    assert!(sound.contains(changed), "{changed}");
    sound.replace(changed, with).replace("ADDRESS", &free_address().to_string())
}

#[test]
fn mistake_that_fails_a_start_is_an_error() {
    for (changed, with, words) in [
        ("\"sleep\"", "\"no-such-program\"", "command `no-such-program` is not on PATH"),
        ("\"sleep\"", "\"./none\"", "command `./none` is not an executable program"),
        ("\"sleep\"", "\"./a.toml\"", "command `./a.toml` is not an executable program"),
        ("cwd = \".\"", "cwd = \"none\"", "cwd `none` is not a directory"),
        ("cwd = \".\"", "cwd = \"a.toml\"", "cwd `a.toml` is not a directory"),
        ("cwd = \".\"", "log.to = \"none/a.log\"", "cannot log to none/a.log"),
        ("\"ADDRESS\"", "\"unix:/nowhere/at-all/s\"", "there is no folder /nowhere/at-all"),
    ] {
        let text = file(changed, with);
        let run = |args: &[&str]| {
            let args = [args, &["-c", "a.toml"]].concat();
            Setup::new(&args).without("ROUNDELAY_LISTEN").file("a.toml", &text).run_to_end()
        };
        let checked = run(&["config", "check"]);
        assert_eq!(checked.code, Some(78), "{with}: {checked:?}");
        assert!(checked.stderr.contains(words) && checked.stderr.contains("1 error in a.toml"), "{checked:?}");
        assert!(checked.stderr.contains("--> a.toml:"), "{checked:?}");
        let started = run(&["run"]);
        assert!(started.code.is_some_and(|code| code != 0), "{with}: {started:?}");
    }
    let sound = Setup::new(&["config", "check", "-c", "a.toml"]).without("ROUNDELAY_LISTEN");
    assert_eq!(sound.file("a.toml", &file("\"600\"", "\"600\"")).run_to_end().code, Some(0));
}

#[test]
fn fifo_as_the_file_is_refused_at_once() {
    for command in [&["config", "check"][..], &["run"]] {
        let setup = Setup::new(&[command, &["-c", "fifo"]].concat());
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mkfifoat(rustix::fs::CWD, setup.dir().join("fifo"), mode).unwrap();
        let ended = setup.run_to_end();
        assert_eq!(ended.code, Some(78), "{ended:?}");
        assert!(ended.stderr.contains("cannot read fifo: it is no regular file"), "{ended:?}");
    }
}

#[test]
fn shell_process_substitution_is_read() {
    let script = "echo '[pool.a]\ncommand = [\"sleep\", \"600\"]' | \"$@\"";
    for path in ["-", "/dev/stdin", "/dev/fd/0"] {
        let setup = Setup::new(&["config", "check", "-c", path]).through(&["sh", "-c", script, "sh"]);
        let ended = setup.run_to_end();
        assert_eq!(ended.code, Some(0), "{path}: {ended:?}");
    }
}

#[test]
fn limit_not_kept_in_the_mode_is_an_error() {
    let rest = "listen = \"127.0.0.1:0\"\nready = \"none\"\n";
    for (mode, command, key, words) in [
        ("shared", "\"sleep\", \"600\"", "max-connections", "the workers accept by themselves"),
        ("reuseport", "\"sleep\", \"600\"", "max-connections-per-source", "the workers accept by themselves"),
        ("handoff", "\"node\", \"app.js\"", "max-connections-per-source", "Node does not tell when a connection ends"),
    ] {
        let text = format!("[pool.a]\ncommand = [{command}]\nmode = \"{mode}\"\n{rest}{key} = 2\n");
        for command in [&["config", "check"][..], &["run"]] {
            let args = [command, &["-c", "a.toml"]].concat();
            let ended = Setup::new(&args).without("ROUNDELAY_LISTEN").file("a.toml", &text).run_to_end();
            assert_eq!(ended.code, Some(78), "{mode}: {ended:?}");
            assert!(ended.stderr.contains(words) && ended.stderr.contains("mode = \"proxy\""), "{mode}: {ended:?}");
        }
    }
}
