//! The versions of Node on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::missing;

/// The folders into which npm has put versions of Node: one is in every full run, the others are installed by hand.
const FOLDERS: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/node/node_modules"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/node/versions/node_modules"),
];

/// One version of Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) program: String,
    /// The major version, such as 22.
    pub(crate) major: u32,
}

/// Every Node on this machine, each major version once: the one in PATH first, then the newest, then the others.
/// Without any, the test says so and is skipped. If everything is required, there must be two on x86_64.
pub(crate) fn nodes() -> &'static [Node] {
    static NODES: OnceLock<Vec<Node>> = OnceLock::new();
    let nodes = NODES.get_or_init(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let in_path = std::env::split_paths(&path).map(|dir| dir.join("node")).find(|node| node.is_file());
        let mut rest: Vec<Node> = FOLDERS.iter().flat_map(|folder| installed(Path::new(folder))).collect();
        rest.sort_by_key(|node| std::cmp::Reverse(node.major));
        let mut nodes: Vec<Node> = in_path.and_then(node).into_iter().collect();
        for node in rest {
            if nodes.iter().all(|other| other.major != node.major) {
                nodes.push(node);
            }
        }
        nodes
    });
    // The packages are for x86_64 only.
    let wanted = if cfg!(target_arch = "x86_64") { 2 } else { 1 };
    if nodes.len() < wanted {
        missing("two versions of Node (`npm ci --ignore-scripts --prefix tests/node`)");
    }
    nodes
}

/// The Node in PATH and the newest of the others: for tests that take long.
pub(crate) fn two_nodes() -> &'static [Node] {
    nodes().get(..2).unwrap_or(nodes())
}

/// The Node in PATH.
pub(crate) fn a_node() -> Option<&'static Node> {
    nodes().first()
}

/// The packages `node-MAJOR` of a folder.
fn installed(folder: &Path) -> Vec<Node> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let packages = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("node-"));
    packages.filter_map(|entry| node(entry.path().join("bin/node"))).collect()
}

/// The Node with the version that the program prints; `None` if it cannot run here.
fn node(program: PathBuf) -> Option<Node> {
    let said = Command::new(&program).args(["-p", "process.versions.node"]).output().ok()?;
    let major = String::from_utf8(said.stdout).ok()?.split('.').next()?.parse().ok()?;
    Some(Node { program: program.display().to_string(), major })
}
