//! A product, and a drill of it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::Parser;
use roundelay_harness::drill::{DrillArgs, run};
use roundelay_harness::subject::{Product, ProductWay};
use roundelay_test_kit::binary;

/// The call of the real product, in the script of a product that is [`wrapped`].
pub(crate) const WRAPPED: &str = "\"$PROGRAM\"";

/// The binary under test and three of its ways.
#[track_caller]
pub(crate) fn product() -> Option<Product> {
    let program = binary()?;
    let way = |name: &str, flags: &[&str]| {
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        ProductWay { name: name.into(), about: "under test".into(), flags, has_fixed_workers: false }
    };
    let ways = vec![way("proxy", &[]), way("handoff", &["--mode", "handoff"]), way("shared", &["--mode", "shared"])];
    Some(Product { program, version: "test".into(), ways, demo: vec!["demo-worker".into()] })
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

/// Parses flags as the command line does.
pub(crate) fn args(flags: &[&str]) -> DrillArgs {
    Program::parse_from(std::iter::once("drill").chain(flags.iter().copied())).drill
}

/// The result of a drill, and its report.
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

/// Runs a drill.
#[track_caller]
pub(crate) fn drill(flags: &[&str], product: &Product) -> Played {
    let folder = tempfile::tempdir().unwrap();
    let [json, markdown] = ["drill.json", "drill.md"].map(|name| folder.path().join(name));
    let files = ["--json", json.to_str().unwrap(), "--markdown", markdown.to_str().unwrap()];
    let code = run(&args(&[flags, &files].concat()), product).unwrap();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    Played { code, json: serde_json::from_str(&read(&json)).unwrap(), markdown: read(&markdown) }
}
