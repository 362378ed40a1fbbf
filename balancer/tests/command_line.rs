//! The built binary and its exit codes: what scripts and service managers rely on. Nothing here starts a master.

#![allow(clippy::expect_used)]

use std::path::Path;
use std::process::{Command, Stdio};

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn roundelay(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roundelay"));
    command.args(args).current_dir(dir).env_clear().env("HOME", dir).envs(env.iter().copied()).stdin(Stdio::null());
    let output = command.output().expect("started");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn with_file(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("roundelay.toml"), text).expect("written");
    dir
}

#[test]
fn good_file_is_ok_on_standard_output() {
    let dir = with_file("[pool.a]\ncommand = ['sh']\nlisten = ':1'\n[pool.b]\ncommand = ['sh']\n");
    let said = roundelay(dir.path(), &["config", "check"], &[("PATH", "/usr/bin:/bin")]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "roundelay.toml: ok, 2 pools\n", ""));
}

#[test]
fn bad_file_exits_78_without_colours_in_a_pipe() {
    let dir = with_file("[pool.a]\ncommand = ['sh']\nstratgy = 'p2c'\n");
    let expected = "error: unknown key `stratgy` in [pool.a]
 --> roundelay.toml:3:1
  |
3 | stratgy = 'p2c'
  | ^^^^^^^ did you mean `strategy`?
1 error in roundelay.toml
";
    for args in [&["config", "check"][..], &["config", "show"], &["run"], &[]] {
        let said = roundelay(dir.path(), args, &[]);
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(78), "", expected), "{args:?}");
    }
}

#[test]
fn wrong_usage_exits_2_with_a_suggestion() {
    let dir = tempfile::tempdir().expect("a directory");
    for (args, words) in [
        (&["run"][..], "roundelay run -- node app.js"),
        (&["config", "check"], "there is nothing to run"),
        (&["run", "node"], "roundelay run -- node"),
        (&["--listen", ":80"], "roundelay run --listen"),
        (&["lst"], "list"),
        (&["config", "show", "-i", "many", "--", "x"], "(from --workers many)"),
        (&["config", "show", "--set", "pool.y.workers=1", "--", "x"], "there is no pool `y`"),
        (&["list", "--control", "off"], "--control PATH"),
    ] {
        let said = roundelay(dir.path(), args, &[]);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{args:?}: {}", said.err);
        assert!(said.err.contains(words), "{args:?}: {}", said.err);
    }
}

#[test]
fn missing_program_is_an_error_of_the_check_and_of_the_start() {
    let dir = with_file("[pool.a]\ncommand = ['no-such-program']\n");
    for args in [&["config", "check"][..], &["config", "check", "--strict"]] {
        let said = roundelay(dir.path(), args, &[("PATH", "/usr/bin:/bin")]);
        assert_eq!(said.code, Some(78), "{}", said.err);
        assert!(said.err.starts_with("error: command `no-such-program` is not on PATH (pool a)\n"), "{}", said.err);
    }
}

#[test]
fn config_show_names_the_source_of_each_value() {
    let dir = with_file("[pool.a]\ncommand = ['x']\nready = 'none'\n");
    let args = ["config", "show", "--origin", "-l", ":80", "--set", "pool.a.backlog=9"];
    let said = roundelay(dir.path(), &args, &[("ROUNDELAY_LOG_LEVEL", "debug"), ("ROUNDELAY_POOL", "outer")]);
    let origin = |key: &str| {
        let line = said.out.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap_or_default();
        line.split_once("  # ").unwrap_or_default().1.to_owned()
    };
    let origins = ["ready", "level", "listen", "backlog", "workers"].map(origin);
    // The first `listen` of the file is the admin port's.
    let expected = ["roundelay.toml:3:9", "ROUNDELAY_LOG_LEVEL", "default", "--set pool.a.backlog=9", "default"];
    assert_eq!(origins, expected, "{}", said.out);
    assert!(said.out.contains("listen = \"[::]:80\"") && said.out.contains("# --listen :80"), "{}", said.out);
}
