//! The surroundings of a pool's workers, and those of one process, which its parts are given.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::listener_owner::LoggedOwners;
use super::log_limit::LogLimit;
use crate::config;
use crate::pool::Pool;
use crate::rotation::{SlotId, Upstream};
use crate::supervisor::{DataPath, Input, Resources, WorkerEvent};

/// The surroundings that all workers of a pool share.
pub(in crate::supervisor) struct Context {
    pub(in crate::supervisor) pool: Arc<Pool>,
    pub(in crate::supervisor) resources: Arc<Resources>,
    pub(in crate::supervisor) data_path: Arc<dyn DataPath>,
    pub(in crate::supervisor) inputs: mpsc::UnboundedSender<Input>,
    /// Messages about private ports that were logged already.
    pub(in crate::supervisor) logged_owners: LoggedOwners,
    /// The recent log lines of causes that workers can repeat without end.
    pub(in crate::supervisor) log_limit: Mutex<LogLimit>,
}

impl Context {
    /// Returns `pool/slot`.
    pub(super) fn name_of(&self, slot: SlotId) -> String {
        format!("{}/{slot}", self.pool.name)
    }

    /// Returns a function that sends events of an incarnation from another task or thread.
    pub(super) fn reporter(
        &self,
        slot: SlotId,
        incarnation: u64,
    ) -> impl Fn(WorkerEvent) + Send + Sync + Clone + 'static {
        let (inputs, slot) = (self.inputs.clone(), slot.index());
        move |event| {
            let _ = inputs.send(Input::Worker { slot, incarnation, event });
        }
    }

    /// Returns true if a cause that this worker can repeat without end was already logged a few times within the
    /// minute. The first line after that says how many were left out.
    pub(super) fn is_log_limited(&self, slot: SlotId, cause: &'static str) -> bool {
        let mut log_limit = self.log_limit.lock().unwrap_or_else(PoisonError::into_inner);
        match log_limit.ask(slot.index(), cause, Instant::now()) {
            Some(0) => false,
            Some(left_out) => {
                tracing::warn!(worker = %self.name_of(slot), cause, left_out, "log lines were left out");
                false
            }
            None => true,
        }
    }
}

/// One process as its parts see it: its identity, its fixed properties, and the surroundings of its pool.
pub(super) struct ProcessContext {
    /// The surroundings that it shares with all workers of its pool.
    pub(super) shared: Arc<Context>,
    /// The configuration that the process was started with.
    pub(super) config: Arc<config::PoolConfig>,
    pub(super) generation: u64,
    pub(super) upstream: Arc<Upstream>,
    pub(super) started: SystemTime,
    pub(super) launched: Instant,
    pid: Option<u32>,
}

impl ProcessContext {
    /// Creates the context of a process that is being started at `now` and has no pid yet.
    pub(super) fn new(
        shared: Arc<Context>,
        config: Arc<config::PoolConfig>,
        generation: u64,
        upstream: Arc<Upstream>,
        now: Instant,
    ) -> Self {
        Self { shared, config, generation, upstream, started: SystemTime::now(), launched: now, pid: None }
    }

    /// The slot of the process.
    pub(super) fn slot(&self) -> SlotId {
        self.upstream.slot
    }

    /// The incarnation that the process is.
    pub(super) fn incarnation(&self) -> u64 {
        self.upstream.incarnation
    }

    /// Returns `pool/slot`.
    pub(super) fn name(&self) -> String {
        self.shared.name_of(self.slot())
    }

    /// The pid of the process, which is also its process group; `None` until it was forked.
    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Records that the process was forked.
    pub(super) fn forked(&mut self, pid: u32) {
        self.pid = Some(pid);
    }

    /// Returns a function that sends events of this process from another task or thread.
    pub(super) fn reporter(&self) -> impl Fn(WorkerEvent) + Send + Sync + Clone + 'static {
        self.shared.reporter(self.slot(), self.incarnation())
    }

    /// Returns true if a cause that this worker can repeat without end was already logged a few times within the
    /// minute.
    pub(super) fn is_log_limited(&self, cause: &'static str) -> bool {
        self.shared.is_log_limited(self.slot(), cause)
    }
}

/// Returns the upstream of a process that listens nowhere.
#[cfg(test)]
pub(super) fn test_upstream() -> Upstream {
    Upstream::new(SlotId(0), 1, crate::rotation::Endpoint::Inherited, Arc::default())
}
