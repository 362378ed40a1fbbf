//! What may be asked of a running pool, and what came of it: plain data.
//!
//! The ledger is the point: every operation says what it cost the clients, and fails if one was lost.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::{config, strategy};

/// The kind of an operation on a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// New workers take the place of all, one after the other, the old ones drained.
    Reload,
    /// The number of workers changes.
    Scale,
    /// Workers are drained and ended, then started again.
    Restart,
    /// Workers are drained and ended, and stay so.
    Stop,
    /// Stopped workers are started.
    Start,
    /// Workers are chosen in another way from now on; no process is touched.
    Strategy,
}

impl OperationKind {
    /// Every verb.
    pub const ALL: [OperationKind; 6] = [
        OperationKind::Reload,
        OperationKind::Scale,
        OperationKind::Restart,
        OperationKind::Stop,
        OperationKind::Start,
        OperationKind::Strategy,
    ];

    /// The word in commands, metrics, logs and pages.
    pub const fn name(self) -> &'static str {
        match self {
            OperationKind::Reload => "reload",
            OperationKind::Scale => "scale",
            OperationKind::Restart => "restart",
            OperationKind::Stop => "stop",
            OperationKind::Start => "start",
            OperationKind::Strategy => "strategy",
        }
    }
}

/// Which slots of a pool are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotRange {
    /// All of them.
    All,
    /// From the first number to the last, both included.
    Slots(u32, u32),
}

impl SlotRange {
    /// Returns true if `slot` is meant.
    pub fn includes(self, slot: u32) -> bool {
        match self {
            SlotRange::All => true,
            SlotRange::Slots(first, last) => (first..=last).contains(&slot),
        }
    }
}

/// A request for an operation on a pool.
#[derive(Clone, Debug)]
pub enum OperationRequest {
    /// New workers by this configuration; those that the master's start fixed (name, mode, `backlog`) are the present ones.
    Reload(Arc<config::PoolConfig>),
    /// So many workers, 1 to 1024.
    Scale(u32),
    /// Drain, end and start again.
    Restart(SlotRange),
    /// Drain and end, and stay so.
    Stop(SlotRange),
    /// Start what is stopped.
    Start(SlotRange),
    /// Choose workers so from now on.
    Strategy(&'static strategy::Entry),
}

impl OperationRequest {
    /// Its kind.
    pub const fn verb(&self) -> OperationKind {
        match self {
            OperationRequest::Reload(_) => OperationKind::Reload,
            OperationRequest::Scale(_) => OperationKind::Scale,
            OperationRequest::Restart(_) => OperationKind::Restart,
            OperationRequest::Stop(_) => OperationKind::Stop,
            OperationRequest::Start(_) => OperationKind::Start,
            OperationRequest::Strategy(_) => OperationKind::Strategy,
        }
    }
}

/// A step of an operation, for the clients that watch it.
#[derive(Clone, Debug, PartialEq)]
pub enum OperationStep {
    /// It began.
    Began {
        /// The kind of the operation.
        verb: OperationKind,
        /// The generation that serves.
        generation: u64,
        /// The number of its slots.
        slots: usize,
    },
    /// A process of a slot is ready and in rotation.
    Ready {
        /// The slot.
        slot: u32,
        /// The new process.
        pid: u32,
        /// The process whose place it took, if there was one.
        instead_of: Option<u32>,
        /// From its start.
        after: Duration,
    },
    /// A process of a slot has ended after its drain.
    Ended {
        /// The slot.
        slot: u32,
        /// The process.
        pid: u32,
        /// The way it ended, in words.
        exit: String,
        /// From the moment it left the rotation.
        took: Duration,
        /// Connections that it still finished, where the master sees them.
        finished: Option<u64>,
        /// Connections that were open at the end of its drain and were cut.
        cut: u64,
    },
    /// A new process did not come up.
    Failed {
        /// The slot.
        slot: u32,
        /// Why, in words.
        why: String,
        /// The lines that it wrote last, oldest first.
        last_lines: Arc<[String]>,
    },
}

/// The cost of an operation for the clients of its pool, from its beginning to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections given to another worker since the first could not take them, or recovered from a dead one's queue.
    pub moved: u64,
    /// Clients rejected, or not placed in time. Lost.
    pub rejected: u64,
    /// Connections that the operation ended while the client's bytes were the last to move, or in the middle of an answer: at a
    /// drain deadline, by a worker that was told to end, or since the pool was stopped before a worker took them. Lost. Without
    /// `ends` only the last of these are known.
    pub cut: u64,
    /// The ends of the other connections; `None` where the workers do not tell, as Node's: not observed, which is not
    /// 0.
    pub ends: Option<Ends>,
}

/// The ends of a pool's connections during an operation.
///
/// Each connection that ended meanwhile is in one of these, or in [`Ledger::rejected`] or [`Ledger::cut`], but for those that a worker ended that
/// nobody told to, which are in none: that is not the operation's doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// As their two ends wanted.
    pub served: u64,
    /// By the client while an answer was pending.
    pub client_ended: u64,
    /// By the worker or a drain in a pool that has never answered anybody: its protocol knows no answers.
    pub unanswered: u64,
    /// Idle connections that were awaits no response and were closed so that a drain could end, or ended with their worker, or by
    /// `idle-timeout`.
    pub closed: u64,
}

impl Ledger {
    /// Returns how many clients an operation of this kind has lost, as far as that was observed. A stop is meant to reject those
    /// that come, so it has lost only what it cut.
    pub fn lost(&self, verb: OperationKind) -> u64 {
        if verb == OperationKind::Stop { self.cut } else { self.rejected + self.cut }
    }

    /// Returns the number of those that were cut; `None` where it is not known that there were any, and not that there were none.
    pub fn known_cut(&self) -> Option<u64> {
        (self.ends.is_some() || self.cut > 0).then_some(self.cut)
    }
}

/// The end of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The kind of the operation.
    pub verb: OperationKind,
    /// `Err` says why it did not come to its end, in words; the pool is as it was before, as far as that is possible.
    pub result: Result<(), String>,
    /// The generation that serves now.
    pub generation: u64,
    /// The time that it took.
    pub took: Duration,
    /// When it ended.
    pub at: SystemTime,
    /// Its cost; `None` where the master does not accept the connections: not observed, which is not 0.
    pub ledger: Option<Ledger>,
}

impl Report {
    /// Returns true if it was carried out and no client was lost, as far as that was observed.
    pub fn is_clean(&self) -> bool {
        self.result.is_ok() && self.ledger.is_none_or(|ledger| ledger.lost(self.verb) == 0)
    }
}

/// An answer to the client that asked for an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// It was not begun, since another operation is under way or the pool cannot do it; nothing was changed and nothing
    /// follows.
    Refused(String),
    /// Something happened.
    Step(OperationStep),
    /// It is over; nothing follows.
    Done(Report),
}
