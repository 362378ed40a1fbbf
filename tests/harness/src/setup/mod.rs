//! Setups: a way to distribute connections is set up with fresh workers on this machine, and ended again.
//!
//! Everything that a setup starts has a process group of its own (Ctrl-C in the terminal goes to the harness only),
//! listens on 127.0.0.1 only, writes only to a temporary folder, and ends when the setup is dropped.

mod balanced;
mod direct;
mod family;
mod haproxy;
mod nginx;
mod node_cluster;
mod pm2;
mod ports;
mod process;
mod product;
mod programs;
mod run;
mod wait;
mod workers;
mod workload;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;

pub use process::{Signal, signal};
pub use product::ProductSetup;

pub(crate) use family::is_alive;
pub(crate) use product::mode;
pub(crate) use programs::find;
pub use run::Ended;
pub use wait::Patience;

use crate::record::Origin;
use crate::subject::{Product, ProductWay, Workload};

/// Sets a way up: fresh workers, and the process in front of them, on free ports of 127.0.0.1. When this returns, the
/// setup answers.
///
/// # Errors
///
/// [`SetupError::Unable`]: the way does not work on this machine or with this workload. [`SetupError::Failed`]: it does
/// not start; with the last lines of the process that gave up.
pub fn start(product: &Product, setup: &Setup) -> Result<Box<dyn RunningSetup>, SetupError> {
    setup.way.available(&setup.workload).map_err(SetupError::Unable)?;
    match &setup.way {
        Way::Direct => Ok(Box::new(direct::Direct::start(product, setup)?)),
        Way::Product(_) => Ok(Box::new(ProductSetup::start(product, setup)?)),
        Way::Haproxy => Ok(Box::new(haproxy::start(product, setup)?)),
        Way::Nginx => Ok(Box::new(nginx::start(product, setup)?)),
        Way::NodeCluster => Ok(Box::new(node_cluster::NodeCluster::start(product, setup)?)),
        Way::Pm2 => Ok(Box::new(pm2::Pm2::start(setup)?)),
    }
}

/// Creates the folder for everything that a setup writes.
fn folder() -> Result<TempDir, SetupError> {
    let made = tempfile::Builder::new().prefix("roundelay-running-").tempdir();
    made.map_err(|cause| SetupError::Failed(format!("cannot make a folder for temporary files: {cause}")))
}

/// A way to distribute connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// One worker without a balancer.
    Direct,
    /// One of the product's.
    Product(ProductWay),
    /// HAProxy in `mode tcp`, round robin, with active health checks as frequent as the product's, in front of workers
    /// that the setup starts.
    Haproxy,
    /// nginx's stream module, round robin, in front of workers that the setup starts.
    Nginx,
    /// Node's own cluster module; only for a Node application.
    NodeCluster,
    /// pm2 in cluster mode; only for a Node application.
    Pm2,
}

/// The wanted setup.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The way.
    pub way: Way,
    /// The program that the workers run.
    pub workload: Workload,
    /// The number of workers.
    pub workers: usize,
    /// Variables that the workers get in addition to their usual ones.
    pub worker_env: BTreeMap<String, String>,
    /// Further options of the product as for `--set`, with `{pool}` for the pool's name; other ways ignore them.
    pub options: Vec<String>,
}

/// A worker's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerProcess {
    /// Its slot's name, such as `demo/1`, where the way has slots; else its pid.
    pub name: String,
    /// Its process.
    pub pid: u32,
}

/// The reason why a setup cannot be started, or does not do what it is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// It cannot work here at all: a program is missing, or the workload does not fit. The way is skipped with this
    /// reason.
    #[error("{0}")]
    Unable(String),
    /// It should have worked; with what was tried and the result.
    #[error("{0}")]
    Failed(String),
}

/// A running setup that answers. Its calls block. It is [`Send`], so that a reload can run beside the load.
pub trait RunningSetup: Send {
    /// Returns the address that clients connect to.
    fn address(&self) -> SocketAddr;
    /// Returns the processes of the master or balancer, without workers; none for [`Way::Direct`].
    fn balancer(&self) -> Vec<u32>;
    /// Returns the living workers. During a reload a slot may have two; the serving one comes first.
    ///
    /// # Errors
    ///
    /// The master does not answer.
    fn workers(&self) -> Result<Vec<WorkerProcess>, SetupError>;
    /// Replaces all workers, one after the other, in the best manner that the way has; returns when it is over.
    ///
    /// # Errors
    ///
    /// [`SetupError::Unable`] if the way has no reload; the message if it failed.
    fn reload(&mut self) -> Result<(), SetupError>;
    /// Does the same with this patience instead of the way's own.
    ///
    /// # Errors
    ///
    /// As [`RunningSetup::reload`].
    fn reload_within(&mut self, _patience: Patience<'_>) -> Result<(), SetupError> {
        self.reload()
    }
    /// Changes the number of workers.
    ///
    /// # Errors
    ///
    /// As [`RunningSetup::reload`].
    fn scale(&mut self, workers: usize) -> Result<(), SetupError>;
    /// Ends it in order, and after that time by SIGKILL. Dropping it does the same with a patience of one second.
    fn stop(&mut self, patience: Duration);
}

impl Way {
    /// Returns its name in reports.
    pub fn name(&self) -> &str {
        match self {
            Self::Direct => "direct",
            Self::Product(way) => &way.name,
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::NodeCluster => "node-cluster",
            Self::Pm2 => "pm2",
        }
    }

    /// Describes it on one line for people.
    pub fn about(&self) -> &str {
        match self {
            Self::Direct => "one worker without a balancer",
            Self::Product(way) => &way.about,
            Self::Haproxy => "HAProxy, mode tcp, round robin and active checks, before the same program",
            Self::Nginx => "nginx, stream module, round robin and passive checks, before the same program",
            Self::NodeCluster => "Node's own cluster module",
            Self::Pm2 => "pm2 in cluster mode",
        }
    }

    /// Returns its origin.
    pub fn origin(&self) -> Origin {
        match self {
            Self::Direct => Origin::Direct,
            Self::Product(_) => Origin::Product,
            Self::Haproxy | Self::Nginx | Self::NodeCluster | Self::Pm2 => Origin::Reference,
        }
    }
}
