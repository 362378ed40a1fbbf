//! The arguments, files and environment that a master is started with.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use super::master::{MARK, family};
use super::{BINARY, Ended, Master, get_unix, run_to_end, wait_until};

/// The arguments, files and environment that a master is started with.
pub(crate) struct Setup {
    /// A command that executes the master, given as its last arguments.
    wrapper: Vec<String>,
    args: Vec<String>,
    env: BTreeMap<String, Option<String>>,
    control: PathBuf,
    dir: Arc<TempDir>,
}

impl Setup {
    /// `roundelay ARGS`, on free ports, with a control socket and a working folder of its own.
    pub(crate) fn new(args: &[&str]) -> Self {
        Self::within(Arc::new(tempfile::tempdir().unwrap()), args)
    }

    /// `roundelay run FLAGS -- COMMAND`; the pool is called `app`.
    pub(crate) fn app(flags: &[&str], command: &[&str]) -> Self {
        Self::new(&[&["run", "-n", "app"], flags, &["--"], command].concat())
    }

    /// Another master in the folder of `first`, with the same control socket.
    pub(crate) fn beside(first: &Master, args: &[&str]) -> Self {
        Self::within(Arc::clone(&first.dir), args)
    }

    fn within(dir: Arc<TempDir>, args: &[&str]) -> Self {
        let path = |name: &str| dir.path().join(name).display().to_string();
        let env = [
            ("NOTIFY_SOCKET", None),
            ("RUST_LOG", None),
            ("PORT", None),
            ("ROUNDELAY_LISTEN", Some("127.0.0.1:0".to_owned())),
            ("ROUNDELAY_ADMIN", Some("127.0.0.1:0".to_owned())),
            ("ROUNDELAY_CONTROL", Some(path("c"))),
            ("ROUNDELAY_LOG_FORMAT", Some("pretty".to_owned())),
            (MARK, Some(path(""))),
        ];
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let control = dir.path().join("c");
        Self { wrapper: Vec::new(), args: args.iter().map(|&arg| arg.to_owned()).collect(), env, control, dir }
    }

    /// The folder it runs in.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// With one more argument.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// With a variable of its environment set.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), Some(value.to_owned()));
        self
    }

    /// Without that variable.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.env.insert(name.to_owned(), None);
        self
    }

    /// With its control socket at that path within its folder.
    pub(crate) fn control(mut self, path: &str) -> Self {
        self.control = self.dir.path().join(path);
        let text = self.control.display().to_string();
        self.env("ROUNDELAY_CONTROL", &text)
    }

    /// With a file in its folder.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.dir.path().join(name), text).unwrap();
        self
    }

    /// Starts the master through a command that executes its last arguments, such as `prlimit --nofile=64:64`.
    pub(crate) fn through(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    fn command(&self) -> Command {
        // A master leaves signals ignored that were ignored at its start, as behind nohup. These tests may have been
        // started so.
        let words = self.wrapper.iter().map(String::as_str).chain([BINARY]);
        let mut command = Command::new("/usr/bin/env");
        command.arg("--default-signal").args(words).args(&self.args).current_dir(self.dir.path());
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Runs the master to its end, for a start that is expected to fail. No process that it started may be left then.
    #[track_caller]
    pub(crate) fn run_to_end(self) -> Ended {
        let before = family(self.dir.path(), None);
        let ended = run_to_end(&mut self.command());
        wait_until("nothing left behind", || family(self.dir.path(), None).iter().all(|pid| before.contains(pid)));
        ended
    }

    /// Starts the master and waits until its control socket answers.
    #[track_caller]
    pub(crate) fn start(self) -> Master {
        let log = self.dir.path().join("master.log");
        let out = File::create(&log).unwrap();
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        let child = command.spawn().unwrap();
        let mut master = Master { child, control: self.control, log, dir: self.dir };
        wait_until("the control socket to answer", || {
            master.assert_running();
            get_unix(&master.control, "/livez").is_ok()
        });
        master
    }

    /// Starts the master and waits until all its workers are ready.
    #[track_caller]
    pub(crate) fn start_ready(self) -> Master {
        let mut master = self.start();
        master.wait_all_ready();
        master
    }
}
