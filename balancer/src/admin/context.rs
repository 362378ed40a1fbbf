//! The data that every answer is made from.

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

/// Facts about the master.
#[derive(Clone, Debug)]
pub struct Master {
    /// The version of the running binary.
    pub version: String,
    /// When it started.
    pub started: SystemTime,
    /// The address of the admin port, if there is one.
    pub admin: Option<SocketAddr>,
    /// The limit of client connections that are open at once over all pools, if there is one.
    pub max_connections: Option<usize>,
    /// True once the master was asked to stop; set before it does anything about it.
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
    /// Registers the metrics of `pools` with `registry`; [`serve`](super::serve) answers `/metrics` from it.
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

    /// Passes the commands that come on the control socket to `commands`. Without this call every command is refused.
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
