//! A running `roundelay` of the test's own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use roundelay::admin::view::{State, Worker};
use tempfile::TempDir;

use super::{Response, get, get_unix, kill, process, wait_for, wait_until};

/// What a master is started with.
pub(crate) struct Setup {
    command: Command,
    dir: TempDir,
}

impl Setup {
    /// `roundelay ARGS`, on free ports, with a control socket and a working folder of its own.
    pub(crate) fn new(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_roundelay"));
        command
            .args(args)
            .current_dir(dir.path())
            .env_remove("NOTIFY_SOCKET")
            .env_remove("RUST_LOG")
            .env("ROUNDELAY_LISTEN", "127.0.0.1:0")
            .env("ROUNDELAY_ADMIN", "127.0.0.1:0")
            .env("ROUNDELAY_CONTROL", dir.path().join("c"))
            .env("ROUNDELAY_LOG_FORMAT", "pretty");
        Self { command, dir }
    }

    /// The folder it runs in.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// With a variable of its environment set.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// With a file in its folder.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.dir.path().join(name), text).unwrap();
        self
    }

    /// Runs it to its end, for what is expected to fail.
    #[track_caller]
    pub(crate) fn run_to_end(mut self) -> super::Ended {
        super::run_to_end(&mut self.command)
    }

    /// Starts it and waits until its control socket answers.
    #[track_caller]
    pub(crate) fn start(mut self) -> Master {
        let log = self.dir.path().join("master.log");
        let out = File::create(&log).unwrap();
        self.command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        let mut child = self.command.spawn().unwrap();
        let control = self.dir.path().join("c");
        wait_until("the control socket to answer", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the master ended with {status}:\n{}", std::fs::read_to_string(&log).unwrap());
            }
            get_unix(&control, "/livez").is_ok()
        });
        Master { child, control, log, dir: self.dir }
    }

    /// Starts it and waits until all its workers are ready.
    #[track_caller]
    pub(crate) fn start_ready(self) -> Master {
        let mut master = self.start();
        master.wait_all_ready();
        master
    }
}

/// A running master. Killed when dropped; its guardian then kills what it left.
pub(crate) struct Master {
    child: Child,
    pub(crate) control: PathBuf,
    log: PathBuf,
    pub(crate) dir: TempDir,
}

impl Master {
    /// The master's own process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it said so far: its log, and its workers' output.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// What its control socket says.
    #[track_caller]
    pub(crate) fn state(&self) -> State {
        let answer = get_unix(&self.control, "/api/v1/state").unwrap();
        serde_json::from_str(&answer.body).unwrap()
    }

    /// The workers of the first pool.
    #[track_caller]
    pub(crate) fn workers(&self) -> Vec<Worker> {
        self.state().pools.swap_remove(0).workers
    }

    /// The pids of the first pool's workers.
    #[track_caller]
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.workers().iter().filter_map(|worker| worker.pid).collect()
    }

    /// The first public address of the first pool.
    #[track_caller]
    pub(crate) fn address(&self) -> SocketAddr {
        self.state().pools[0].listen[0].parse().unwrap()
    }

    /// The admin port.
    #[track_caller]
    pub(crate) fn admin(&self) -> SocketAddr {
        self.state().admin.unwrap().parse().unwrap()
    }

    /// `GET` through the balancer, on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> std::io::Result<Response> {
        get(self.address(), path)
    }

    /// The value of a metric's series, as written: `name{label="value"}`.
    #[track_caller]
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = get_unix(&self.control, "/metrics").unwrap().body;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
    }

    /// Waits until every worker of every pool is ready.
    #[track_caller]
    pub(crate) fn wait_all_ready(&mut self) {
        wait_for("all workers ready", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the master ended with {status}");
            }
            let pools = self.state().pools;
            pools.iter().all(|pool| pool.workers_ready == pool.workers_desired).then_some(())
        });
    }

    /// Waits until its log holds a text.
    #[track_caller]
    pub(crate) fn wait_log(&self, text: &str) {
        wait_until(&format!("`{text}` in the log"), || self.log().contains(text));
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: &str) {
        kill(i64::from(self.pid()), signal);
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait_end(&mut self) -> ExitStatus {
        wait_for("the master's end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        process::end(&mut self.child);
        if std::thread::panicking() {
            eprintln!("--- the master's log ---\n{}------------------------", self.log());
        }
    }
}
