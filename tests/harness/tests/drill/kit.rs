//! A product, a drill of it, and looks at processes.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use clap::Parser;
use roundelay_harness::drill::{DrillArgs, run};
use roundelay_harness::subject::{Product, ProductWay};
use tokio::time::Instant;

/// The longest time that anything may take before a test gives up on it.
const DEADLINE: Duration = Duration::from_secs(60);

/// The true product, in the script of one that is [`wrapped`].
pub(crate) const WRAPPED: &str = "\"$PROGRAM\"";

/// Says what a test needs and lacks; that is a failure where everything is required.
#[track_caller]
pub(crate) fn missing(what: &str) {
    assert!(std::env::var_os("ROUNDELAY_REQUIRE_ALL").is_none_or(|value| value != "1"), "needs {what}");
    println!("skipped: needs {what}");
}

/// The binary under test: named by `ROUNDELAY_BIN`, else built beside this test. Cargo does not name another package's.
#[track_caller]
pub(crate) fn product() -> Option<Product> {
    let given = std::env::var_os("ROUNDELAY_BIN").map(PathBuf::from);
    let Some(program) = given.or_else(beside) else {
        missing("the roundelay binary: cargo build, or ROUNDELAY_BIN");
        return None;
    };
    let way = |name: &str, flags: &[&str]| {
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        ProductWay { name: name.into(), about: "under test".into(), flags, has_fixed_workers: false }
    };
    let ways = vec![way("proxy", &[]), way("handoff", &["--mode", "handoff"]), way("shared", &["--mode", "shared"])];
    Some(Product { program, version: "test".into(), ways, demo: vec!["demo-worker".into()] })
}

fn beside() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let places = |folder: &Path| ["roundelay", "debug/roundelay", "release/roundelay"].map(|name| folder.join(name));
    test.ancestors().skip(1).take(4).flat_map(places).find(|place| place.is_file())
}

/// The product behind a line of shell that comes first.
pub(crate) fn wrapped(product: &Product, folder: &Path, line: &str) -> Product {
    let script = folder.join("roundelay");
    let text = format!("#!/bin/sh\nPROGRAM='{}'\n{line}\nexec {WRAPPED} \"$@\"\n", product.program.display());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    Product { program: script, ..product.clone() }
}

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    drill: DrillArgs,
}

/// Flags, as the command line has them.
pub(crate) fn args(flags: &[&str]) -> DrillArgs {
    Program::parse_from(std::iter::once("drill").chain(flags.iter().copied())).drill
}

/// The end of a drill, and its report.
pub(crate) struct Played {
    pub(crate) code: u8,
    pub(crate) json: serde_json::Value,
    pub(crate) markdown: String,
}

impl Played {
    /// Returns the outcomes of that target, in the order in which it was run.
    pub(crate) fn outcomes(&self, target: &str) -> Vec<&serde_json::Value> {
        self.json["outcomes"].as_array().unwrap().iter().filter(|outcome| outcome["target"] == target).collect()
    }

    pub(crate) fn verdicts(&self, target: &str) -> Vec<String> {
        self.outcomes(target).iter().map(|outcome| outcome["verdict"].as_str().unwrap().to_owned()).collect()
    }
}

/// Plays it.
#[track_caller]
pub(crate) fn drill(flags: &[&str], product: &Product) -> Played {
    let folder = tempfile::tempdir().unwrap();
    let [json, markdown] = ["drill.json", "drill.md"].map(|name| folder.path().join(name));
    let files = ["--json", json.to_str().unwrap(), "--markdown", markdown.to_str().unwrap()];
    let code = run(&args(&[flags, &files].concat()), product).unwrap();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    Played { code, json: serde_json::from_str(&read(&json)).unwrap(), markdown: read(&markdown) }
}

/// A child that does not outlive its test.
pub(crate) struct Started(pub(crate) Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The living processes that have this variable with that value.
pub(crate) fn processes_with(name: &str, value: &Path) -> Vec<u32> {
    let entry = [name.as_bytes(), b"=", value.as_os_str().as_bytes()].concat();
    let pids =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|found| found.file_name().to_str()?.parse().ok());
    let has = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|found| found == entry)
    };
    pids.filter(has).collect()
}

/// Returns true if a process exists and is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}

/// Waits until `condition` holds; panics with `what` at the deadline.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
