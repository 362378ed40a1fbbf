//! The subject of a comparison or drill: the user's own program, and the ways in which the `roundelay` binary can run
//! it. The harness knows that binary only by its command line. Pure.

use std::ffi::OsString;
use std::path::PathBuf;

/// The binary under test, and the facts that it gives about itself.
#[derive(Clone, Debug)]
pub struct Product {
    /// The `roundelay` binary.
    pub program: PathBuf,
    /// Its version, for reports.
    pub version: String,
    /// Every way that it has, in the order of reports; the first is its default, and the others are compared with it.
    pub ways: Vec<ProductWay>,
    /// The arguments that make the binary a demo worker, which reads `PORT` and `HOST`. It runs if the user names no
    /// program, also behind other balancers.
    pub demo: Vec<OsString>,
}

/// One way in which the product distributes connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductWay {
    /// Its name in reports: letters, digits, `-` and `/`.
    pub name: String,
    /// One line for people.
    pub about: String,
    /// The flags after `roundelay run`, before the pool's other flags.
    pub flags: Vec<String>,
    /// True if this way refuses `scale`.
    pub has_fixed_workers: bool,
}

/// The program that the workers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    /// The binary's own demo worker, which knows the paths of all scenarios.
    Demo,
    /// A program of the user: its words, with `{port}` for the worker's port.
    Command(Vec<String>),
}

impl Workload {
    /// Returns the file of an unmodified Node application (`node FILE ...`), which Node's cluster and pm2 can run;
    /// `None` for any other program.
    pub fn node_file(&self) -> Option<&str> {
        let Self::Command(words) = self else { return None };
        let [program, file, ..] = words.as_slice() else { return None };
        let is_node = std::path::Path::new(program).file_name().is_some_and(|name| name == "node");
        (is_node && !file.starts_with('-')).then_some(file.as_str())
    }
}
