//! The programs that tests run as workers.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// The program under test; as `demo-worker` it is also a worker.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_roundelay");

/// A server in Python. Files in its folder switch its behaviour; the header of `worker.py` lists them.
const WORKER: &str = include_str!("worker.py");

/// Returns true if `program` can be run. If it is missing, the test prints that and is skipped, unless everything is
/// required.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|dir| dir.join(program).is_file()) {
        return true;
    }
    missing(program)
}

/// Prints that a test is skipped because `what` is missing. Fails instead where everything is required.
pub(crate) fn missing(what: &str) -> bool {
    assert!(std::env::var_os("ROUNDELAY_REQUIRE_ALL").is_none_or(|value| value != "1"), "this run requires {what}");
    eprintln!("skipped: needs {what}");
    false
}

/// Returns true if the test runs as root. If not, it prints that the test is skipped; never a failure, as no package
/// brings the right.
pub(crate) fn is_root() -> bool {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|said| said.stdout == b"0\n");
    if !is_root {
        eprintln!("skipped: needs root");
    }
    is_root
}

/// A shell script as a worker's command.
pub(crate) fn shell(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

/// A worker that runs a line of shell and then becomes the demo worker.
pub(crate) fn demo_after(script: &str) -> String {
    format!("{script}\nexec '{BINARY}' demo-worker")
}

/// Python's own path, if there is one: version managers put slow wrappers before it.
pub(crate) fn python() -> Option<&'static str> {
    static PYTHON: OnceLock<Option<String>> = OnceLock::new();
    let found = PYTHON.get_or_init(|| {
        let ask = ["-c", "import sys; print(sys.executable)"];
        let answer = Command::new("python3").args(ask).output().ok().filter(|answer| answer.status.success())?;
        Some(String::from_utf8(answer.stdout).ok()?.trim().to_owned())
    });
    if found.is_none() {
        missing("python3");
    }
    found.as_deref()
}

/// The command of [`WORKER`], if there is a Python.
pub(crate) fn python_worker() -> Option<[&'static str; 3]> {
    Some([python()?, "-c", WORKER])
}

/// The Express app, if it was installed.
pub(crate) fn express() -> Option<&'static str> {
    const APP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/node/app.js");
    let is_installed = has("node")
        && (Path::new(APP).with_file_name("node_modules").is_dir() || missing("`npm ci --prefix tests/node`"));
    is_installed.then_some(APP)
}
