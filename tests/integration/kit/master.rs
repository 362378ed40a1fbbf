//! A running `roundelay` of the test's own: what it shows, and its end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::Arc;

use roundelay::api::state::{PoolEntry, State, WorkerEntry};
use roundelay::os::shim;
use tempfile::TempDir;

use super::{Response, children, command_line, get, get_unix, kill, marked, wait_for, wait_until};

/// Every process that a test's master starts inherits this variable, with the test's folder as its value.
pub(super) const MARK: &str = "TEST_FOLDER";

/// The living processes that the master of this folder, or one of its workers, started.
pub(super) fn family(dir: &Path, master: Option<u32>) -> Vec<u32> {
    let mut pids = marked(&format!("{MARK}={}", dir.join("").display()));
    pids.retain(|&pid| Some(pid) != master);
    pids
}

/// A running master. It is killed when dropped, and then no process that it started may be left.
pub(crate) struct Master {
    pub(super) child: Child,
    pub(crate) control: PathBuf,
    pub(super) log: PathBuf,
    pub(super) dir: Arc<TempDir>,
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

    /// Panics with the exit status if the master has ended.
    #[track_caller]
    pub(super) fn assert_running(&mut self) {
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
