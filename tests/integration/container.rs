//! The container files, tested without a container engine: the files that they name exist, the real binary accepts
//! their command lines, and the static binary serves as PID 1 in an otherwise empty root.

mod compose;
mod dockerfile;
mod graphs;
mod images;
mod prometheus;
mod static_binary;
mod tags;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kit;

/// A path in the repository.
fn path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(below)
}

/// A file of the repository.
#[track_caller]
fn read(below: &str) -> String {
    std::fs::read_to_string(path(below)).unwrap_or_else(|error| panic!("{below}: {error}"))
}

/// The code blocks of a page in one language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    page.split(fence.as_str()).skip(1).map(|rest| rest.split_once("```").unwrap().0).collect()
}

/// Reads YAML as JSON; `None` where no Python has PyYAML. A key that stands there twice is refused, as engines do.
fn yaml(below: &str) -> Option<serde_json::Value> {
    const READ: &str = "
import json, sys, yaml
class Strict(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value if key.tag != 'tag:yaml.org,2002:merge']
        assert len(keys) == len(set(keys)), f'twice in {keys}{node.start_mark}'
        return super().construct_mapping(node, deep)
json.dump(yaml.load(open(sys.argv[1]), Strict), sys.stdout)";
    let can =
        |python: &&str| Command::new(python).args(["-c", "import yaml"]).output().is_ok_and(|o| o.status.success());
    let Some(python) = ["python3", "/usr/bin/python3"].into_iter().find(can) else {
        kit::missing("PyYAML (python3-yaml)");
        return None;
    };
    let read = kit::run_to_end(Command::new(python).args(["-c", READ]).arg(path(below)));
    assert_eq!(read.code, Some(0), "{below}: {}", read.stderr);
    Some(serde_json::from_str(&read.stdout).unwrap())
}
