//! The programs that tests run as workers.

use std::path::Path;

use super::{has, missing, python};

/// The program under test; as `demo-worker` it is also a worker.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_roundelay");

/// A server in Python. Files in its folder switch its behaviour; the header of `worker.py` lists them.
const WORKER: &str = include_str!("worker.py");

/// A shell script as a worker's command.
pub(crate) fn shell(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

/// A worker that runs a line of shell and then becomes the demo worker.
pub(crate) fn demo_after(script: &str) -> String {
    format!("{script}\nexec '{BINARY}' demo-worker")
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
