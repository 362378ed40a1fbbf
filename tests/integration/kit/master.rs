//! A running `roundelay` of the test's own.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use roundelay::api::state::{PoolEntry, State, WorkerEntry};
use roundelay::os::shim;
use tempfile::TempDir;

use super::{
    BINARY, Ended, Response, children, command_line, get, get_unix, kill, marked, run_to_end, wait_for, wait_until,
};

/// Every process that a test's master starts inherits this variable, with the test's folder as its value.
const MARK: &str = "TEST_FOLDER";

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

/// The living processes that the master of this folder, or one of its workers, started.
fn family(dir: &Path, master: Option<u32>) -> Vec<u32> {
    let mut pids = marked(&format!("{MARK}={}", dir.join("").display()));
    pids.retain(|&pid| Some(pid) != master);
    pids
}

/// A running master. It is killed when dropped, and then no process that it started may be left.
pub(crate) struct Master {
    child: Child,
    pub(crate) control: PathBuf,
    log: PathBuf,
    dir: Arc<TempDir>,
}

impl Master {
    /// The master's own process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder it runs in.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Makes an empty file in its folder.
    pub(crate) fn touch(&self, name: &str) {
        std::fs::write(self.dir.path().join(name), "").unwrap();
    }

    /// Removes a file from its folder.
    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.dir.path().join(name)).unwrap();
    }

    /// The output so far: the master's log and its workers' output.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// The state that the control socket reports.
    #[track_caller]
    pub(crate) fn state(&self) -> State {
        let answer = get_unix(&self.control, "/api/v1/state").unwrap();
        serde_json::from_str(&answer.body).unwrap()
    }

    /// The first pool.
    #[track_caller]
    pub(crate) fn pool(&self) -> PoolEntry {
        self.state().pools.swap_remove(0)
    }

    /// The workers of the first pool.
    #[track_caller]
    pub(crate) fn workers(&self) -> Vec<WorkerEntry> {
        self.pool().workers
    }

    /// The worker of that slot in the first pool.
    #[track_caller]
    pub(crate) fn worker(&self, slot: usize) -> WorkerEntry {
        self.workers().swap_remove(slot)
    }

    /// The pids of the first pool's workers.
    #[track_caller]
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.workers().iter().filter_map(|worker| worker.pid).collect()
    }

    /// All living processes that the master or its workers started, except the guardian.
    pub(crate) fn family(&self) -> Vec<u32> {
        family(self.dir.path(), Some(self.pid()))
    }

    /// The processes of the family that run `sleep`, as a shell's background processes do here.
    pub(crate) fn sleepers(&self) -> Vec<u32> {
        let is_sleep = |&pid: &u32| command_line(pid).first().is_some_and(|program| program == "sleep");
        self.family().into_iter().filter(is_sleep).collect()
    }

    /// The pid of the guardian.
    #[track_caller]
    pub(crate) fn guardian(&self) -> u32 {
        let is_guardian = |&pid: &u32| command_line(pid).get(1).is_some_and(|part| part == "guardian");
        wait_for("a guardian", || children(self.pid()).into_iter().find(is_guardian))
    }

    /// The first public address of the first pool.
    #[track_caller]
    pub(crate) fn address(&self) -> SocketAddr {
        self.pool().listen[0].parse().unwrap()
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

    /// `GET` on the control socket.
    #[track_caller]
    pub(crate) fn ask(&self, path: &str) -> Response {
        get_unix(&self.control, path).unwrap()
    }

    /// The sum of the series of a metric that have all these labels, each as `name="value"`.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.ask("/metrics").body;
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, given) = series.split_once('{').unwrap_or((series, ""));
            let is_meant = found == name && labels.iter().all(|label| given.contains(label));
            is_meant.then(|| value.parse::<f64>().unwrap())
        });
        let values: Vec<_> = values.collect();
        assert!(!values.is_empty(), "no {name} {labels:?} in\n{text}");
        values.into_iter().sum()
    }

    #[track_caller]
    fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the master ended with {status}");
        }
    }

    /// Waits until every worker of every pool is ready and runs its program: with `ready = "none"` it may still be in
    /// its fork.
    #[track_caller]
    pub(crate) fn wait_all_ready(&mut self) {
        wait_until("all workers ready", || {
            self.assert_running();
            self.state().pools.iter().all(|pool| pool.workers_ready == pool.workers_desired)
        });
        let is_shim = |pid: u32| command_line(pid).get(1).is_some_and(|word| word == shim::COMMAND);
        wait_until("all programs to run", || {
            let workers = self.state().pools.into_iter().flat_map(|pool| pool.workers);
            !workers.filter_map(|worker| worker.pid).any(is_shim)
        });
    }

    /// Waits until that worker of the first pool is in that state.
    #[track_caller]
    pub(crate) fn wait_state(&self, slot: usize, state: &str) -> WorkerEntry {
        wait_for(&format!("worker {slot} {state}"), || Some(self.worker(slot)).filter(|worker| worker.state == state))
    }

    /// Waits until the first pool's listeners have that accept state: `open`, `hold`, `reject` or `closing`.
    #[track_caller]
    pub(crate) fn wait_accept_state(&self, state: &str) {
        wait_until(&format!("accept state {state}"), || self.pool().accept_state == state);
    }

    /// Waits until the log contains a text.
    #[track_caller]
    pub(crate) fn wait_log(&self, text: &str) {
        wait_until(&format!("`{text}` in the log"), || self.log().contains(text));
    }

    /// Sends the master a signal.
    pub(crate) fn signal(&self, signal: &str) {
        kill(i64::from(self.pid()), signal);
    }

    /// Kills the process of a worker of the first pool; returns its pid.
    #[track_caller]
    pub(crate) fn kill_worker(&self, slot: usize) -> u32 {
        let pid = self.worker(slot).pid.unwrap();
        kill(i64::from(pid), "KILL");
        pid
    }

    /// The exit status, if the master has ended.
    pub(crate) fn try_end(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the master's end.
    #[track_caller]
    pub(crate) fn wait_end(&mut self) -> ExitStatus {
        wait_for("the master's end", || self.child.try_wait().unwrap())
    }

    /// Waits until no process that the master started is alive.
    #[track_caller]
    pub(crate) fn wait_no_family(&self) {
        wait_until("nothing left behind", || self.family().is_empty());
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the master's log ---\n{}------------------------", self.log());
        } else if Arc::strong_count(&self.dir) == 1 {
            // No other test uses this folder.
            self.wait_no_family();
        }
    }
}
