//! The published list of workers in rotation, whole or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{SlotId, Upstream};

/// The workers in rotation at one moment, in slot order.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// In slot order; empty while no worker is ready.
    pub upstreams: Vec<Arc<Upstream>>,
    absent: Vec<(SlotId, u32)>,
    heaviest: u32,
    is_weighted: bool,
}

impl Snapshot {
    /// These workers, in slot order, with the weights they have now.
    pub fn new(upstreams: Vec<Arc<Upstream>>) -> Self {
        Self::with_absent(upstreams, Vec::new())
    }

    /// The same beside slots that should have a worker in rotation and have none, with what it would weigh.
    pub fn with_absent(upstreams: Vec<Arc<Upstream>>, absent: Vec<(SlotId, u32)>) -> Self {
        let weights = || upstreams.iter().map(|upstream| upstream.weight());
        let heaviest = weights().max().unwrap_or(0);
        let is_weighted = weights().any(|weight| weight != heaviest);
        Self { upstreams, absent, heaviest, is_weighted }
    }

    /// The slots whose worker is hung, ejected or away, with what it would weigh.
    pub fn absent(&self) -> &[(SlotId, u32)] {
        &self.absent
    }

    /// The greatest weight; 0 if there is nobody.
    pub fn heaviest(&self) -> u32 {
        self.heaviest
    }

    /// Returns true if the weights differ.
    pub fn is_weighted(&self) -> bool {
        self.is_weighted
    }
}

/// The action of the data threads on the public listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptState {
    /// Accept and hand on.
    Open,
    /// No worker is ready: accept nothing, clients wait in the kernel's backlog.
    Hold,
    /// No worker has been ready for `hold-timeout`: accept and reset.
    Reject,
    /// The master stops: accept what the backlog holds, then close the listener.
    Closing,
}

/// Where the supervisor publishes and the data threads read.
#[derive(Debug)]
pub struct Rotation {
    snapshot: ArcSwap<Snapshot>,
    accept_state: watch::Sender<AcceptState>,
    version: watch::Sender<u64>,
    is_stopped: AtomicBool,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            snapshot: ArcSwap::default(),
            accept_state: watch::Sender::new(AcceptState::Hold),
            version: watch::Sender::new(0),
            is_stopped: AtomicBool::new(false),
        }
    }
}

impl Rotation {
    /// The present snapshot. Cheap: no lock, no allocation.
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Replaces the snapshot, then wakes the tasks that wait for a change. Only the supervisor calls it.
    pub fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        self.version.send_modify(|version| *version += 1);
    }

    /// Replaces the accept state. Only the supervisor calls it.
    pub fn set_accept_state(&self, accept_state: AcceptState) {
        self.accept_state.send_if_modified(|now| std::mem::replace(now, accept_state) != accept_state);
    }

    /// The present accept state, to read and to wait on.
    pub fn accept_state(&self) -> watch::Receiver<AcceptState> {
        self.accept_state.subscribe()
    }

    /// Returns true if clients are held now, since no worker is there for them.
    pub fn is_held(&self) -> bool {
        *self.accept_state.borrow() == AcceptState::Hold
    }

    /// Says if every worker was stopped by command, and wakes connections that wait for one. Only the supervisor calls it,
    /// before it takes the last worker out of the snapshot.
    pub fn set_stopped(&self, is_stopped: bool) {
        if self.is_stopped.swap(is_stopped, Ordering::SeqCst) != is_stopped {
            self.version.send_modify(|version| *version += 1);
        }
    }

    /// True if every worker was stopped by command: a connection without a worker waits in vain.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst)
    }

    /// Changes each time a snapshot is published: for a connection that found no upstream and waits for one.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}
