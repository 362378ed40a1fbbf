//! The list of workers in rotation, published as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{SlotId, Upstream};

/// The workers in rotation at one moment, in slot order.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The workers in slot order; empty while no worker is ready.
    pub upstreams: Vec<Arc<Upstream>>,
    absent: Vec<(SlotId, u32)>,
    heaviest: u32,
    is_weighted: bool,
}

impl Snapshot {
    /// Makes a snapshot of these workers, in slot order, with their present weights.
    pub fn new(upstreams: Vec<Arc<Upstream>>) -> Self {
        Self::with_absent(upstreams, Vec::new())
    }

    /// Makes the same snapshot, and lists the slots that should have a worker in rotation and have none, each with its
    /// worker's weight.
    pub fn with_absent(upstreams: Vec<Arc<Upstream>>, absent: Vec<(SlotId, u32)>) -> Self {
        let weights = || upstreams.iter().map(|upstream| upstream.weight());
        let heaviest = weights().max().unwrap_or(0);
        let is_weighted = weights().any(|weight| weight != heaviest);
        Self { upstreams, absent, heaviest, is_weighted }
    }

    /// Returns the slots whose worker is hung, ejected or away, each with that worker's weight.
    pub fn absent(&self) -> &[(SlotId, u32)] {
        &self.absent
    }

    /// Returns the greatest weight; 0 if no worker is in rotation.
    pub fn heaviest(&self) -> u32 {
        self.heaviest
    }

    /// Returns true if the weights differ.
    pub fn is_weighted(&self) -> bool {
        self.is_weighted
    }
}

/// The way that data threads treat new clients on the public listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptState {
    /// Accept, and connect the clients to workers.
    Open,
    /// No worker is ready: accept nothing. Clients wait in the kernel's backlog.
    Hold,
    /// No worker has been ready for `hold-timeout`: accept and reset.
    Reject,
    /// The master stops: accept the clients in the backlog, then close the listener.
    Closing,
}

/// The published state of a pool: the supervisor writes it, the data threads read it.
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
    /// Returns the present snapshot. Cheap: no lock, no allocation.
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

    /// Returns the accept state, to read and to wait on.
    pub fn accept_state(&self) -> watch::Receiver<AcceptState> {
        self.accept_state.subscribe()
    }

    /// Returns true while clients are held because no worker is in rotation.
    pub fn is_held(&self) -> bool {
        *self.accept_state.borrow() == AcceptState::Hold
    }

    /// Records if every worker was stopped by command, and wakes connections that wait for a worker. Only the
    /// supervisor calls it, before it takes the last worker out of the snapshot.
    pub fn set_stopped(&self, is_stopped: bool) {
        if self.is_stopped.swap(is_stopped, Ordering::SeqCst) != is_stopped {
            self.version.send_modify(|version| *version += 1);
        }
    }

    /// Returns true if every worker was stopped by command: a connection without a worker then waits in vain.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst)
    }

    /// Returns a version that changes with each published snapshot. A connection that found no upstream waits on it.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}
