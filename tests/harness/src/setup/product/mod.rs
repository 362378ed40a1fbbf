//! The ways of the product: starts a master in a folder of its own, and controls it by its command line.

mod config;
mod refusal;
mod socket;
mod state;

pub(crate) use config::mode;

use std::ffi::{OsStr, OsString};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::family::Family;
use super::process::{PATIENCE_OF_DROP, Process, command, last, with_open_files};
use super::run::{Ended, run_within};
use super::wait::{Patience, until};
use super::{RunningSetup, Setup, SetupError, Way, WorkerProcess, family, folder, ports};
use crate::subject::{Product, ProductWay};

/// The longest time until all workers of a master are ready. It is longer than a worker may take, so that the master
/// itself reports the problem.
const START: Duration = Duration::from_secs(25);
/// The longest time that a command may take: a reload of many workers, each with its full `drain-timeout`.
const COMMAND: Duration = Duration::from_secs(180);
/// The longest time in which the guardian cleans up after a master that could not.
const GUARDIAN: Duration = Duration::from_secs(2);

/// A running way of the product, with what a drill needs beyond a [`RunningSetup`].
#[derive(Debug)]
pub struct ProductSetup {
    program: PathBuf,
    setup: Setup,
    way: ProductWay,
    address: SocketAddr,
    nofile: Option<u64>,
    /// Dropped before the folder, so that its processes end first.
    master: Process,
    folder: TempDir,
}

impl ProductSetup {
    /// Starts a master, and waits until all its workers are ready and its address accepts connections.
    ///
    /// # Errors
    ///
    /// [`SetupError::Unable`]: it refuses the configuration, or the program does not fit the mode; with its own
    /// message. [`SetupError::Failed`]: any other error.
    pub fn start(product: &Product, setup: &Setup) -> Result<Self, SetupError> {
        Self::start_with(product, setup, None)
    }

    /// Does the same with a limit of open files for the master (`RLIMIT_NOFILE`, soft and hard), if a number is given.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn start_with(product: &Product, setup: &Setup, nofile: Option<u64>) -> Result<Self, SetupError> {
        ports::trying_again(|| Self::try_start(product, setup, nofile))
    }

    fn try_start(product: &Product, setup: &Setup, nofile: Option<u64>) -> Result<Self, SetupError> {
        let Way::Product(way) = &setup.way else {
            return Err(SetupError::Unable(format!("{} is not a way of the product", setup.way.name())));
        };
        let (folder, address) = (folder()?, ports::address()?);
        write(folder.path(), setup, way, &setup.workload.words(product))?;
        let launch = Launch { program: &product.program, setup, way, address, nofile, folder: folder.path() };
        let master = Process::spawn(launch.command(), folder.path(), "master")?;
        let program = product.program.clone();
        let running = Self { program, setup: setup.clone(), way: way.clone(), address, nofile, master, folder };
        running.wait_ready()?;
        Ok(running)
    }

    /// Returns the master's pid, also after its end.
    pub fn master_pid(&self) -> u32 {
        self.master.pid()
    }

    /// Returns the pool's name.
    pub fn pool(&self) -> &'static str {
        self.setup.workload.pool()
    }

    /// Returns the folder of everything that it writes. It is removed when the setup is dropped.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the path of the master's control socket.
    pub fn control(&self) -> PathBuf {
        control(self.folder.path())
    }

    /// Gives the master a command such as `["scale", "demo", "4"]`, and returns its end, whether it succeeded or not.
    ///
    /// # Errors
    ///
    /// [`SetupError::Failed`]: the command cannot be run, or does not end.
    pub fn run_command(&self, words: &[&str]) -> Result<Ended, SetupError> {
        self.run_command_within(words, Patience::of(COMMAND))
    }

    /// Does the same with this patience instead of three minutes.
    ///
    /// # Errors
    ///
    /// As [`Self::run_command`].
    pub fn run_command_within(&self, words: &[&str], patience: Patience<'_>) -> Result<Ended, SetupError> {
        let mut command = command(&self.program, self.folder.path());
        command.args(words).env("ROUNDELAY_CONTROL", self.control());
        run_within(command, patience)
    }

    /// Does the same; any exit code but 0 is an error.
    fn obeyed(&self, words: &[&str]) -> Result<Ended, SetupError> {
        let ended = self.run_command(words)?;
        if ended.code == Some(0) { Ok(ended) } else { Err(refusal::of_command(words, &ended)) }
    }

    /// Returns the ready workers as `roundelay list --json` reports them; other states are ignored.
    ///
    /// # Errors
    ///
    /// [`SetupError::Failed`]: the master does not answer.
    pub fn ready(&self) -> Result<Vec<WorkerProcess>, SetupError> {
        let ended = self.run_command(&["list", "--json"])?;
        state::ready(&ended.stdout).map_err(|cause| {
            SetupError::Failed(format!(
                "cannot read what `roundelay list --json` says: {cause}: {}",
                ended.stderr.trim()
            ))
        })
    }

    /// Returns true if the master still runs.
    pub fn is_running(&self) -> bool {
        self.master.exit().is_none()
    }

    /// Sends SIGKILL to the master alone. Its guardian then has to end the workers; see [`Self::leftovers`].
    pub fn kill_master(&mut self) {
        self.master.kill();
    }

    /// Returns every living process of this setup except the master, including workers and what they started.
    pub fn leftovers(&self) -> Vec<u32> {
        let mut left = family::living(self.folder.path());
        left.retain(|&pid| pid != self.master.pid());
        left
    }

    /// Starts another master on the same address after the end of the first one; waits as [`Self::start`] does.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<(), SetupError> {
        self.stop(PATIENCE_OF_DROP);
        let Self { program, setup, way, address, nofile, .. } = &*self;
        let folder = self.folder.path();
        let launch = Launch { program, setup, way, address: *address, nofile: *nofile, folder };
        self.master = Process::spawn(launch.command(), folder, "master")?;
        self.wait_ready()
    }

    /// Writes this command for the workers into the configuration file; the next reload uses it.
    ///
    /// # Errors
    ///
    /// [`SetupError::Failed`]: the file cannot be written.
    pub fn write_config(&self, words: &[String]) -> Result<(), SetupError> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        write(self.folder.path(), &self.setup, &self.way, &words)
    }

    /// Returns the master's answer for that path on its control socket.
    ///
    /// # Errors
    ///
    /// Nothing listens there, no answer comes in time, or its status is not 200.
    pub fn ask(&self, path: &str) -> std::io::Result<String> {
        socket::get(&self.control(), path)
    }

    /// Returns the master's log, and its workers' standard error, since the setup was started.
    pub fn stderr(&self) -> String {
        self.master.stderr()
    }

    /// Returns the last lines of the master's log and its workers' standard error.
    pub fn stderr_tail(&self) -> String {
        last(&self.master.stderr(), 20).join("\n")
    }

    fn wait_ready(&self) -> Result<(), SetupError> {
        let looked = until(START, || {
            if let Some(exit) = self.master.exit() {
                let mode = config::mode(&self.way.flags);
                return Some(Err(refusal::of_start(mode, exit.code(), &exit.to_string(), &self.master.stderr())));
            }
            let is_well =
                self.control().exists() && self.run_command(&["status"]).is_ok_and(|ended| ended.code == Some(0));
            (is_well && TcpStream::connect(self.address).is_ok()).then_some(Ok(()))
        });
        looked.unwrap_or_else(|| {
            let said = self.master.last_words();
            Err(SetupError::Failed(format!("the master's workers were not all ready within {START:?}; {said}")))
        })
    }
}

impl RunningSetup for ProductSetup {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn balancer(&self) -> Vec<u32> {
        let workers = self.workers().unwrap_or_default();
        let mut pids = family::children(self.master.pid());
        pids.retain(|pid| workers.iter().all(|worker| worker.pid != *pid));
        if self.is_running() {
            pids.insert(0, self.master.pid());
        }
        pids
    }

    fn workers(&self) -> Result<Vec<WorkerProcess>, SetupError> {
        let unread = |cause: String| SetupError::Failed(format!("cannot read the master's state: {cause}"));
        let state = self.ask("/api/v1/state").map_err(|error| unread(error.to_string()))?;
        state::workers(&state).map_err(|error| unread(error.to_string()))
    }

    fn reload(&mut self) -> Result<(), SetupError> {
        self.obeyed(&["reload"]).map(drop)
    }

    fn scale(&mut self, workers: usize) -> Result<(), SetupError> {
        self.obeyed(&["scale", self.pool(), &workers.to_string()]).map(drop)
    }

    fn stop(&mut self, patience: Duration) {
        let family = Family::of(self.folder.path());
        self.master.end(patience);
        family.end(GUARDIAN);
    }
}

impl Drop for ProductSetup {
    fn drop(&mut self) {
        self.stop(PATIENCE_OF_DROP);
    }
}

/// The parameters that a master is started with.
struct Launch<'a> {
    program: &'a Path,
    setup: &'a Setup,
    way: &'a ProductWay,
    address: SocketAddr,
    nofile: Option<u64>,
    folder: &'a Path,
}

impl Launch<'_> {
    fn command(&self) -> Command {
        let mut master = command(self.program, self.folder);
        master.arg("run").args(&self.way.flags).arg("-c").arg(file(self.folder));
        master.args(["-i", &self.setup.workers.to_string(), "--listen", &self.address.to_string(), "--admin", "off"]);
        master.arg("--control").arg(control(self.folder)).args(["--log-format", "json"]);
        for option in &self.setup.options {
            master.arg("--set").arg(OsStr::new(&option.replace("{pool}", self.setup.workload.pool())));
        }
        match self.nofile {
            Some(limit) => with_open_files(master, limit),
            None => master,
        }
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("roundelay.toml")
}

fn control(folder: &Path) -> PathBuf {
    folder.join("control.sock")
}

fn write(folder: &Path, setup: &Setup, way: &ProductWay, words: &[OsString]) -> Result<(), SetupError> {
    let (path, text) = (file(folder), config::file(setup, way, words)?);
    let failed = |cause| SetupError::Failed(format!("cannot write {}: {cause}", path.display()));
    std::fs::write(&path, text).map_err(failed)
}
