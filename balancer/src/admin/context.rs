//! What every answer is made from.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use prometheus::Registry;
use tokio::sync::mpsc;

use super::commands::CommandRequest;
use super::metrics::MetricsCollector;
use super::requests::Requests;
use super::usage::Sampler;
use crate::pool::Pool;

/// Facts of the master.
#[derive(Clone, Debug)]
pub struct Master {
    /// The version of the running binary.
    pub version: String,
    /// When it started.
    pub started: SystemTime,
    /// Where the admin port listens, if it does.
    pub admin: Option<SocketAddr>,
    /// Client connections that may be open at once over all pools, if that is limited.
    pub max_connections: Option<usize>,
    /// Set once it was asked to stop, before it does anything about it.
    pub is_stopping: Arc<AtomicBool>,
}

/// The state that the handlers share.
pub struct Context {
    pub(super) source: Arc<Source>,
    pub(super) registry: Registry,
    pub(super) commands: Option<mpsc::Sender<CommandRequest>>,
}

/// The one source that API, metrics and page read, so that they cannot disagree.
pub(super) struct Source {
    pub(super) master: Master,
    pub(super) pools: Vec<Arc<Pool>>,
    pub(super) requests: Requests,
    pub(super) sampler: Sampler,
}

impl Context {
    /// Registers the metrics of `pools` with `registry`, which [`serve`](super::serve) answers `/metrics` from.
    ///
    /// # Errors
    ///
    /// If `registry` already holds a metric of one of our names.
    pub fn new(master: Master, mut pools: Vec<Arc<Pool>>, registry: Registry) -> Result<Self, prometheus::Error> {
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        let source = Source { master, pools, requests: Requests::default(), sampler: Sampler::default() };
        let source = Arc::new(source);
        registry.register(Box::new(MetricsCollector::new(Arc::clone(&source))?))?;
        Ok(Self { source, registry, commands: None })
    }

    /// Passes the commands that come on the control socket to `commands`; without this all are refused.
    #[must_use]
    pub fn with_commands(mut self, commands: mpsc::Sender<CommandRequest>) -> Self {
        self.commands = Some(commands);
        self
    }
}

impl Source {
    /// Returns true if the master was asked to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.master.is_stopping.load(Ordering::SeqCst) || self.pools.iter().any(|pool| pool.status.load().is_stopping)
    }
}
