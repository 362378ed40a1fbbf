//! The target of a drill: a setup, with what a drill needs in addition: broken releases, counters, the death of the
//! master.

use std::net::SocketAddr;

use tempfile::TempDir;
use tokio::time::Instant;

use super::fault::Manner;
use super::full_disk::FullDisk;
use super::release::{NodeReleases, Release, broken};
use crate::setup::{self, Patience, ProductSetup, RunningSetup, Setup, SetupError, Signal, Way, WorkerProcess};
use crate::subject::{Product, Workload};

/// A target that can be drilled, not yet started.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) way: Way,
    pub(crate) workload: Workload,
    pub(crate) workers: usize,
}

/// The start options that a fault needs.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    /// Further options of the product.
    pub(crate) options: Vec<String>,
    /// The limit of descriptors for the master.
    pub(crate) nofile: Option<u64>,
    /// True if its log is on a full disk.
    pub(crate) full_disk: bool,
}

/// A target that is set up and answers. Dropping it ends it.
pub(crate) struct Target {
    pub(crate) manner: Manner,
    /// True if the connections from one address go to several workers.
    pub(crate) is_spread: bool,
    running: Running,
    workload: Workload,
    product: Product,
    node: Option<NodeReleases>,
    pub(crate) disk: Option<FullDisk>,
    /// Dropped after the setup, whose processes use it.
    _folder: TempDir,
}

enum Running {
    Product(Box<ProductSetup>),
    Other(Box<dyn RunningSetup>),
}

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandOutcome {
    /// Its exit code, or 0 or 1 for a target without a command line; `None` if it did not end in time.
    pub(crate) code: Option<i32>,
    /// The message, if it failed.
    pub(crate) said: String,
}

impl Candidate {
    /// Returns the way in which connections get to its workers.
    pub(crate) fn manner(&self) -> Manner {
        let Way::Product(way) = &self.way else {
            return if self.way == Way::Direct { Manner::Direct } else { Manner::NodeCluster };
        };
        let is_node = self.workload.node_file().is_some();
        match setup::mode(&way.flags) {
            "handoff" => Manner::Handoff,
            "shared" => Manner::Accepting { has_heartbeat: self.workload == Workload::Demo || is_node },
            "reuseport" => Manner::Accepting { has_heartbeat: self.workload == Workload::Demo },
            _ => Manner::Proxy,
        }
    }

    /// Returns true if the connections from one address go to several workers. With a hash of the address they do not:
    /// then all clients of the drill belong to one worker.
    fn is_spread(&self, options: &[String]) -> bool {
        let flags: &[String] = if let Way::Product(way) = &self.way { &way.flags } else { &[] };
        !flags.iter().chain(options).any(|word| word.contains("source-hash"))
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// As [`setup::start`].
    pub(crate) fn start(&self, product: &Product, wish: Wish) -> Result<Target, SetupError> {
        let made = tempfile::Builder::new().prefix("roundelay-drill-").tempdir();
        let folder = made.map_err(|cause| SetupError::Failed(format!("cannot make a temporary folder: {cause}")))?;
        let node = NodeReleases::new(&self.workload, folder.path())?;
        let mut setup = Setup {
            way: self.way.clone(),
            workload: self.workload.clone(),
            workers: self.workers,
            worker_env: std::collections::BTreeMap::new(),
            options: wish.options,
        };
        let is_spread = self.is_spread(&setup.options);
        let mut disk = None;
        let running = match &self.way {
            Way::Product(way) => {
                let mut program = product.clone();
                if wish.full_disk {
                    let full = FullDisk::new(product, folder.path())?;
                    let takes_node = setup::mode(&way.flags) != "proxy" && self.workload.node_file().is_some();
                    setup.options.extend(full.options(takes_node));
                    setup.workload = Workload::Command(full.flood(&words(&self.workload, product)));
                    program.program = full.program();
                    disk = Some(full);
                }
                Running::Product(Box::new(ProductSetup::start_with(&program, &setup, wish.nofile)?))
            }
            _ => {
                if let Some(node) = &node {
                    setup.workload = node.workload(&self.workload);
                }
                Running::Other(setup::start(product, &setup)?)
            }
        };
        let (manner, workload) = (self.manner(), self.workload.clone());
        Ok(Target { manner, is_spread, running, workload, product: product.clone(), node, disk, _folder: folder })
    }
}

fn words(workload: &Workload, product: &Product) -> Vec<String> {
    workload.words(product).iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

impl Target {
    fn running(&self) -> &dyn RunningSetup {
        match &self.running {
            Running::Product(running) => running.as_ref(),
            Running::Other(running) => running.as_ref(),
        }
    }

    /// Returns the product's setup; `None` for another target.
    pub(crate) fn product(&self) -> Option<&ProductSetup> {
        match &self.running {
            Running::Product(running) => Some(running),
            Running::Other(_) => None,
        }
    }

    /// Returns the address that clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.running().address()
    }

    /// Returns true if the worker is the demo, which announces when it leaves.
    pub(crate) fn is_demo(&self) -> bool {
        self.workload == Workload::Demo
    }

    /// Returns the serving workers: for the product those that it reports as ready, for others the living processes.
    pub(crate) fn serving(&self) -> Result<Vec<WorkerProcess>, SetupError> {
        match &self.running {
            Running::Product(running) => running.ready(),
            Running::Other(running) => running.workers(),
        }
    }

    /// Replaces all workers, and returns the result.
    ///
    /// # Errors
    ///
    /// The target has no reload.
    pub(crate) fn reload(&mut self, patience: Patience<'_>) -> Result<CommandOutcome, SetupError> {
        let begun = Instant::now();
        let ended = match &mut self.running {
            Running::Product(running) => running.run_command_within(&["reload"], patience).map(|ended| {
                let said = [ended.stdout, ended.stderr].concat().trim().to_owned();
                CommandOutcome { code: ended.code, said }
            }),
            Running::Other(running) => {
                running.reload_within(patience).map(|()| CommandOutcome { code: Some(0), said: String::new() })
            }
        };
        match ended {
            Err(SetupError::Failed(said)) => {
                let is_late = begun.elapsed() >= patience.longest;
                Ok(CommandOutcome { code: (!is_late).then_some(1), said })
            }
            other => other,
        }
    }

    /// Switches to the release that the next reload starts.
    pub(crate) fn switch(&self, release: Release) -> Result<(), SetupError> {
        if let Some(node) = &self.node {
            node.switch(release)?;
        }
        let Running::Product(running) = &self.running else {
            return match self.node {
                Some(_) => Ok(()),
                None => Err(SetupError::Unable("only of a Node application can a release be broken here".to_owned())),
            };
        };
        let good = words(&self.workload, &self.product);
        running.write_config(&match (release, &self.node) {
            (Release::Good, _) => good,
            (_, Some(node)) => words(&node.workload(&self.workload), &self.product),
            (_, None) => broken(release),
        })
    }

    /// Returns the connections so far that a worker's end has broken; `None` if the master does not see connections.
    pub(crate) fn broken_connections(&self) -> Result<Option<u64>, SetupError> {
        match (&self.running, self.manner) {
            (Running::Product(running), Manner::Proxy) => broken_connections(running).map(Some),
            _ => Ok(None),
        }
    }

    /// Sends SIGKILL to the process in front of the workers.
    pub(crate) fn kill_master(&mut self) -> Result<u32, SetupError> {
        match &mut self.running {
            Running::Product(running) => {
                running.kill_master();
                Ok(running.master_pid())
            }
            Running::Other(running) => {
                let none = || SetupError::Unable("there is no master".to_owned());
                let pid = running.balancer().first().copied().ok_or_else(none)?;
                setup::signal(pid, Signal::KILL)?;
                Ok(pid)
            }
        }
    }

    /// Starts another master at the same address; only for the product. False if this target cannot.
    pub(crate) fn restart(&mut self) -> Result<bool, SetupError> {
        match &mut self.running {
            Running::Product(running) => running.restart().map(|()| true),
            Running::Other(_) => Ok(false),
        }
    }
}

/// Reads the counter of connections that a worker's end has broken, from the control socket.
fn broken_connections(running: &ProductSetup) -> Result<u64, SetupError> {
    let failed = |cause: std::io::Error| SetupError::Failed(format!("cannot read the master's metrics: {cause}"));
    let text = running.ask("/metrics").map_err(failed)?;
    let series = text.lines().filter(|line| {
        line.starts_with("roundelay_connection_closes_total{") && line.contains("reason=\"upstream_reset\"")
    });
    let values = series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(values.sum::<f64>() as u64)
}
