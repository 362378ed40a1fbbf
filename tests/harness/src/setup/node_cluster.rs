//! Node's own cluster module, with a primary of ours: what an application gets without any process manager.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use super::family::Family;
use super::process::{PATIENCE_OF_DROP, Process, command};
use super::wait::{Patience, until_within};
use super::workload::filled;
use super::{RunningSetup, Setup, SetupError, WorkerProcess, family, folder, ports};
use crate::subject::Product;

/// The primary; its head describes its commands and its output.
const PRIMARY: &str = include_str!("primary.js");
/// The longest time that the workers may take until all of them listen.
const START: Duration = Duration::from_secs(15);
/// The longest time that a reload may take: each old worker may take five seconds to finish.
const COMMAND: Duration = Duration::from_secs(120);

/// The primary and its workers.
#[derive(Debug)]
pub(super) struct NodeCluster {
    address: SocketAddr,
    primary: Process,
    /// The pipe for commands to the primary.
    commands: ChildStdin,
    folder: TempDir,
}

impl NodeCluster {
    /// Starts them; when this returns, all workers listen.
    pub(super) fn start(product: &Product, setup: &Setup) -> Result<Self, SetupError> {
        ports::trying_again(|| Self::try_start(product, setup))
    }

    fn try_start(product: &Product, setup: &Setup) -> Result<Self, SetupError> {
        let words = setup.workload.words(product);
        let [node, arguments @ ..] = words.as_slice() else {
            return Err(SetupError::Unable("the program to run has no words".to_owned()));
        };
        let (folder, address) = (folder()?, ports::address()?);
        let script = folder.path().join("primary.js");
        let failed = |cause| SetupError::Failed(format!("cannot write {}: {cause}", script.display()));
        std::fs::write(&script, PRIMARY).map_err(failed)?;
        let mut command = command(node, folder.path());
        command.arg(&script).arg(setup.workers.to_string());
        command.args(arguments.iter().map(|argument| filled(argument, address.port()))).envs(&setup.worker_env);
        command.env("PORT", address.port().to_string()).env("HOST", "127.0.0.1").stdin(Stdio::piped());
        let mut primary = Process::spawn(command, folder.path(), "primary")?;
        let deaf = || SetupError::Failed("Node's primary has no standard input".to_owned());
        let commands = primary.take_stdin().ok_or_else(deaf)?;
        let running = Self { address, primary, commands, folder };
        running.wait_event("ready", 0, Patience::of(START))?;
        Ok(running)
    }

    /// Returns how often the primary has reported that event so far.
    fn said(&self, event: &str) -> usize {
        #[derive(Deserialize)]
        struct Line {
            event: String,
        }
        let lines = self.primary.stdout();
        lines
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &Line| line.event == event)
            .count()
    }

    fn wait_event(&self, event: &str, before: usize, patience: Patience<'_>) -> Result<(), SetupError> {
        let failed = |what: String| Err(SetupError::Failed(format!("{what}; {}", self.primary.last_words())));
        let failures = self.said("failed");
        let looked = until_within(patience, || match self.primary.exit() {
            Some(exit) => Some(failed(format!("Node's primary ended before it was {event} ({exit})"))),
            None if self.said("failed") > failures => {
                Some(failed(format!("Node's primary was not {event}: a new worker ended")))
            }
            None => (self.said(event) > before).then_some(Ok(())),
        });
        looked.unwrap_or_else(|| failed(format!("Node's primary was not {event}: the command {patience}")))
    }

    fn run_command(&mut self, command: &str, event: &str, patience: Patience<'_>) -> Result<(), SetupError> {
        let before = self.said(event);
        let told = writeln!(self.commands, "{command}");
        told.map_err(|cause| SetupError::Failed(format!("cannot tell Node's primary to {command}: {cause}")))?;
        self.wait_event(event, before, patience)
    }
}

/// Returns the workers of a primary of Node's cluster: it gives each a number in the environment.
pub(super) fn workers_of(primary: u32) -> Vec<WorkerProcess> {
    let mut pids = family::children(primary);
    pids.retain(|&pid| family::has_variable(pid, "NODE_UNIQUE_ID"));
    pids.into_iter().map(|pid| WorkerProcess { name: pid.to_string(), pid }).collect()
}

impl RunningSetup for NodeCluster {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn balancer(&self) -> Vec<u32> {
        vec![self.primary.pid()]
    }

    fn workers(&self) -> Result<Vec<WorkerProcess>, SetupError> {
        Ok(workers_of(self.primary.pid()))
    }

    fn reload(&mut self) -> Result<(), SetupError> {
        self.reload_within(Patience::of(COMMAND))
    }

    fn reload_within(&mut self, patience: Patience<'_>) -> Result<(), SetupError> {
        self.run_command("reload", "reloaded", patience)
    }

    fn scale(&mut self, workers: usize) -> Result<(), SetupError> {
        self.run_command(&format!("scale {workers}"), "scaled", Patience::of(COMMAND))
    }

    fn stop(&mut self, patience: Duration) {
        let family = Family::of(self.folder.path());
        self.primary.end(patience);
        family.end(Duration::ZERO);
    }
}

impl Drop for NodeCluster {
    fn drop(&mut self) {
        self.stop(PATIENCE_OF_DROP);
    }
}
