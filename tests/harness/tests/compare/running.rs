//! A run of the binary in a folder of its own, and every process that it has started.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use roundelay_harness::record::Report;
use roundelay_test_kit::{binary, environment, kill, marked, wait_until};
use tempfile::TempDir;

/// All that a command starts inherits it, with the folder as its value.
const MARK: &str = "COMPARE_TEST";

/// A running command. Dropping it ends everything that it started.
pub(crate) struct Running {
    child: Child,
    folder: TempDir,
}

/// A command that has ended, and left no process behind.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The files of its folder by their relative paths; an empty folder has a slash at the end. The folder itself is
    /// gone.
    files: BTreeMap<String, String>,
}

impl Running {
    /// Starts `roundelay` with these arguments in an empty folder; `None` if there is no binary.
    #[track_caller]
    pub(crate) fn start(words: &[&str]) -> Option<Self> {
        Some(Self::start_in(tempfile::tempdir().unwrap(), words, &binary()?))
    }

    fn start_in(folder: TempDir, words: &[&str], program: &Path) -> Self {
        let file = |name: &str| Stdio::from(File::create(folder.path().join(name)).unwrap());
        let mut command = Command::new(program);
        command.args(words).current_dir(&folder).env(MARK, folder.path());
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        Self { child: command.spawn().unwrap(), folder }
    }

    /// Returns what it has written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap()
    }

    /// Returns true if a setup is starting or runs: its processes have a variable that marks them.
    pub(crate) fn has_rig(&self) -> bool {
        let is_of_rig = |pid: u32| environment(pid).iter().any(|entry| entry.starts_with("HARNESS_RIG="));
        family(self.folder.path()).into_iter().any(is_of_rig)
    }

    /// Interrupts it as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        kill(i64::from(self.child.id()), "INT");
    }

    /// Waits for its end; then none of the processes that it started may live.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        wait_until("the end of the command", || self.child.try_wait().unwrap().is_some());
        let left = family(self.folder.path());
        assert!(left.is_empty(), "{left:?} are left\n{}", self.stderr());
        let code = self.child.wait().unwrap().code();
        let mut files = BTreeMap::new();
        read_all(self.folder.path(), "", &mut files);
        let mut stream = |name: &str| files.remove(name).unwrap();
        Ended { code, stdout: stream("stdout"), stderr: stream("stderr"), files }
    }
}

fn read_all(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            let before = files.len();
            read_all(&entry.path(), &format!("{name}/"), files);
            if files.len() == before {
                files.insert(format!("{name}/"), String::new());
            }
        } else {
            files.insert(name, std::fs::read_to_string(entry.path()).unwrap());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in family(self.folder.path()) {
            kill(i64::from(pid), "KILL");
        }
    }
}

/// The living processes that were started with that folder's mark.
fn family(folder: &Path) -> Vec<u32> {
    marked(&format!("{MARK}={}", folder.display()))
}

impl Ended {
    /// Reads the report in the folder `out`.
    pub(crate) fn report(&self) -> Report {
        serde_json::from_str(self.file("out/report.json")).unwrap()
    }

    /// Returns a file of the folder in which it ran.
    pub(crate) fn file(&self, name: &str) -> &str {
        self.files.get(name).unwrap_or_else(|| panic!("there is no {name}\n{}", self.stderr))
    }

    /// Returns true if there is a file whose path begins with this.
    pub(crate) fn has(&self, start: &str) -> bool {
        self.names().any(|name| name.starts_with(start))
    }

    /// Returns the paths of all files, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }
}

/// Runs `roundelay` with these arguments, in an empty folder.
#[track_caller]
pub(crate) fn run(words: &[&str]) -> Option<Ended> {
    Running::start(words).map(Running::end)
}

/// Does the same in a folder with these files.
#[track_caller]
pub(crate) fn run_with(files: &[(&str, &str)], words: &[&str]) -> Option<Ended> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    Some(Running::start_in(folder, words, &binary()?).end())
}

/// Returns the flags of the shortest comparison, and `more`, which may set the same flags to other values.
pub(crate) fn brief<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let usual = [
        ("--duration", "100ms"),
        ("--repeat", "1"),
        ("--workers", "2"),
        ("--connections", "4"),
        ("--seed", "1"),
        ("--out", "out"),
    ];
    let usual = usual.into_iter().filter(|(flag, _)| !more.contains(flag)).flat_map(|(flag, value)| [flag, value]);
    ["compare", "--quick"].into_iter().chain(usual).chain(more.iter().copied()).collect()
}
