//! Operations on a running pool, their steps and their results. Plain data.
//!
//! Each operation has a ledger: it counts what the operation cost the clients. An operation that lost a client is
//! never reported as `done`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::{config, strategy};

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// New workers replace all workers, one after the other. The old ones are drained.
    Reload,
    /// The number of workers changes.
    Scale,
    /// Workers are drained and ended, then started again.
    Restart,
    /// Workers are drained and ended, and stay ended.
    Stop,
    /// Stopped workers are started.
    Start,
    /// Another strategy chooses the workers from now on. No process is touched.
    Strategy,
}

impl OperationKind {
    /// Every kind.
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

/// The slots of a pool that an operation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotRange {
    /// All slots.
    All,
    /// From the first number to the last, both included.
    Slots(u32, u32),
}

impl SlotRange {
    /// Returns true if `slot` is in the range.
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
    /// Start new workers with this configuration. Its fields that the master's start fixed (name, mode, `backlog`) have
    /// their present values.
    Reload(Arc<config::PoolConfig>),
    /// Run this number of workers, 1 to 1024.
    Scale(u32),
    /// Drain, end and start again.
    Restart(SlotRange),
    /// Drain and end, and do not start again.
    Stop(SlotRange),
    /// Start stopped workers.
    Start(SlotRange),
    /// Choose workers with this strategy from now on.
    Strategy(&'static strategy::Entry),
}

impl OperationRequest {
    /// Returns the kind of the operation.
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

/// A step of an operation, reported while the operation runs.
#[derive(Clone, Debug, PartialEq)]
pub enum OperationStep {
    /// The operation began.
    Began {
        /// The kind of the operation.
        verb: OperationKind,
        /// The generation that serves.
        generation: u64,
        /// The generation that a reload brings. Each attempt has one of its own, so it may be more than the next one.
        next_generation: Option<u64>,
        /// The number of slots that it is for.
        slots: usize,
    },
    /// A process of a slot is ready and in rotation.
    Ready {
        /// The slot.
        slot: u32,
        /// The new process.
        pid: u32,
        /// The process that it replaces, if there was one.
        instead_of: Option<u32>,
        /// The time from its start to ready.
        after: Duration,
    },
    /// A process of a slot has ended after its drain.
    Ended {
        /// The slot.
        slot: u32,
        /// The process.
        pid: u32,
        /// Its exit in words, such as `exit code 3`.
        exit: String,
        /// The time since it left the rotation.
        took: Duration,
        /// Connections that it finished while it drained, where the master sees them.
        finished: Option<u64>,
        /// Connections that were still open at the end of its drain, and were cut.
        cut: u64,
    },
    /// A new process did not become ready.
    Failed {
        /// The slot.
        slot: u32,
        /// The reason, in words.
        why: String,
        /// The last lines that it wrote, oldest first.
        last_lines: Arc<[String]>,
    },
}

/// The cost of an operation to the clients of its pool, from its beginning to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that went to another worker because the first could not take them, or that were recovered from a
    /// dead worker's queue.
    pub moved: u64,
    /// Clients that were rejected, or for which no worker was found in time. Lost.
    pub rejected: u64,
    /// Connections that the operation ended in the middle of an answer, or while the client's bytes were the last to
    /// move. They ended at a drain deadline, or a worker that was told to end closed them, or the pool was stopped
    /// before a worker took them. Lost. Without `ends` only the last of these three are known.
    pub cut: u64,
    /// The ends of the other connections. `None` where the workers do not report them, as Node's do not: not observed,
    /// which is not 0.
    pub ends: Option<Ends>,
}

/// The connections of a pool that ended during an operation, by the way they ended.
///
/// Each connection that ended meanwhile counts in one of these fields, or in [`Ledger::rejected`] or [`Ledger::cut`].
/// There is one exception: a connection that was ended by a worker that was not told to end counts nowhere. The
/// operation did not cause that end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Connections that ended as both ends wanted.
    pub served: u64,
    /// Connections that the client ended while an answer was pending.
    pub client_ended: u64,
    /// Connections that the worker or a drain ended in a pool that has never answered any client: its protocol has no
    /// answers.
    pub unanswered: u64,
    /// Idle connections, for which no response was pending. They were closed so that a drain could end, or by
    /// `idle-timeout`, or ended with their worker.
    pub closed: u64,
}

impl Ledger {
    /// Returns the number of clients that an operation of this kind lost, as far as that was observed. A stop is meant
    /// to reject new clients, so only cut connections are lost by it.
    pub fn lost(&self, verb: OperationKind) -> u64 {
        if verb == OperationKind::Stop { self.cut } else { self.rejected + self.cut }
    }

    /// Returns the number of cut connections. `None` where the master saw none but does not see how connections end:
    /// there may have been some.
    pub fn known_cut(&self) -> Option<u64> {
        (self.ends.is_some() || self.cut > 0).then_some(self.cut)
    }
}

/// The end of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The kind of the operation.
    pub verb: OperationKind,
    /// `Err` says in words why the operation was not completed. The pool is then as it was before, as far as that is
    /// possible.
    pub result: Result<(), String>,
    /// The generation that serves now.
    pub generation: u64,
    /// The duration of the operation.
    pub took: Duration,
    /// When it ended.
    pub at: SystemTime,
    /// The cost in connections. `None` where the master does not accept the connections: not observed, which is not 0.
    pub ledger: Option<Ledger>,
}

impl Report {
    /// Returns true if the operation was carried out and no client was lost, as far as that was observed.
    pub fn is_clean(&self) -> bool {
        self.result.is_ok() && self.ledger.is_none_or(|ledger| ledger.lost(self.verb) == 0)
    }
}

/// A message about an operation to the client that asked for it.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// The operation was not begun: another one is running, or the pool cannot do it. Nothing was changed. No message
    /// follows.
    Refused(String),
    /// A step of the operation.
    Step(OperationStep),
    /// The operation has ended. No message follows.
    Done(Report),
}
