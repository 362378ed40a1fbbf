//! What the supervisor says of a pool: plain data, published whole after every change.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::operation::{OperationKind, Report};
use crate::rotation::{AcceptState, Endpoint, SlotId};

/// The state of a slot. The same words in CLI, metrics, API and page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotState {
    /// Its process was started and has not said ready.
    Starting,
    /// In rotation.
    Ready,
    /// Serves clients and shows no sign of life meanwhile: nothing new while another worker is free.
    Busy,
    /// Failed its health checks: out of rotation, still running.
    Suspect,
    /// Replaced a moment ago: out of rotation, told nothing, and put back if the new one is no good.
    Parked,
    /// Out of rotation, finishing what it has.
    Draining,
    /// Told to end.
    Stopping,
    /// Ended; waits for its next start.
    Backoff,
    /// Ended too often; still tried again, at the longest backoff.
    Failed,
    /// Ended because it was asked to.
    Stopped,
}

impl SlotState {
    /// Every state that a slot can be in, in the order in which a process has them. A parked process is beside the one that its slot shows.
    pub const ALL: [SlotState; 9] = [
        SlotState::Starting,
        SlotState::Ready,
        SlotState::Busy,
        SlotState::Suspect,
        SlotState::Draining,
        SlotState::Stopping,
        SlotState::Backoff,
        SlotState::Failed,
        SlotState::Stopped,
    ];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            SlotState::Starting => "starting",
            SlotState::Ready => "ready",
            SlotState::Busy => "busy",
            SlotState::Suspect => "suspect",
            SlotState::Parked => "parked",
            SlotState::Draining => "draining",
            SlotState::Stopping => "stopping",
            SlotState::Backoff => "backoff",
            SlotState::Failed => "failed",
            SlotState::Stopped => "stopped",
        }
    }

    /// Returns true if it serves clients as it should: what `/readyz` counts. A busy worker does.
    pub const fn is_serving(self) -> bool {
        matches!(self, SlotState::Ready | SlotState::Busy)
    }

    /// Returns true if it has been ready and was not asked to end.
    pub const fn is_up(self) -> bool {
        matches!(self, SlotState::Ready | SlotState::Busy | SlotState::Suspect)
    }
}

/// One pool at one moment.
#[derive(Clone, Debug)]
pub struct PoolStatus {
    /// Bumped by a reload, from 1.
    pub generation: u64,
    /// The state of the public listeners.
    pub accept_state: AcceptState,
    /// True once the master was asked to stop.
    pub is_stopping: bool,
    /// The number of workers that there shall be.
    pub desired_workers: u32,
    /// The operation under way, if there is one.
    pub operation: Option<OperationKind>,
    /// The last command that was carried out.
    pub last_report: Option<Arc<Report>>,
    /// One entry a slot, in slot order.
    pub workers: Vec<WorkerStatus>,
}

/// One slot at one moment.
#[derive(Clone, Debug)]
pub struct WorkerStatus {
    /// Its number.
    pub slot: SlotId,
    /// Its state.
    pub state: SlotState,
    /// When it came to that state.
    pub since: SystemTime,
    /// The generation of its process, or of its last one.
    pub generation: u64,
    /// The process, while there is one.
    pub pid: Option<u32>,
    /// When that process was started.
    pub started: Option<SystemTime>,
    /// Its private endpoint, while there is a process.
    pub endpoint: Option<Endpoint>,
    /// The reason against it, while it is `suspect` or `busy`.
    pub reason: Option<String>,
    /// The status that it last gave of itself by `STATUS=`.
    pub status_text: Option<String>,
    /// The wait before its next start, while in `backoff` or `failed`.
    pub backoff: Option<Duration>,
    /// Starts after the first one.
    pub restarts: u64,
    /// The end of its last process.
    pub last_exit: Option<ExitStatus>,
    /// The result of the last probe.
    pub last_check: Option<CheckStatus>,
    /// Further processes in this slot: its replacement, those that are retiring.
    pub others: Vec<OtherStatus>,
}

/// A process in a slot beside the one that serves it.
#[derive(Clone, Debug)]
pub struct OtherStatus {
    /// Its state: `starting` for a replacement, `parked`, `draining` or `stopping` for one that is retiring.
    pub state: SlotState,
    /// Its generation.
    pub generation: u64,
    /// The process, once it exists.
    pub pid: Option<u32>,
    /// When it was started.
    pub started: SystemTime,
    /// The result of its last probe.
    pub last_check: Option<CheckStatus>,
    /// Connections it still has, where the master sees them.
    pub active: usize,
}

/// The end of a process.
#[derive(Clone, Debug)]
pub struct ExitStatus {
    /// In words, such as `exit code 3` or `killed by signal 9 (KILL)`.
    pub what: String,
    /// Why it was told to end, if it was; with how it ended where that was not as it was told.
    pub why: Option<String>,
    /// The code, or 128 + n for signal n.
    pub code: i32,
    /// When.
    pub at: SystemTime,
    /// The last lines it wrote, oldest first; shared, as every change publishes all of this again.
    pub last_lines: Arc<[String]>,
}

impl ExitStatus {
    /// An exit of this moment.
    pub fn new(what: String, code: i32) -> Self {
        Self { what, why: None, code, at: SystemTime::now(), last_lines: Arc::default() }
    }
}

/// The result of a probe.
#[derive(Clone, Debug)]
pub struct CheckStatus {
    /// In words, such as `ok` or `tcp 127.0.0.1:20001: connection refused`.
    pub what: String,
    /// True if it was good.
    pub is_ok: bool,
    /// The time that it took.
    pub took: Duration,
    /// When.
    pub at: SystemTime,
}

impl PoolStatus {
    /// A pool whose slots are about to be started.
    pub fn new(workers: u32) -> Self {
        let slot = |slot| WorkerStatus {
            slot: SlotId(slot),
            state: SlotState::Starting,
            since: SystemTime::now(),
            generation: 1,
            pid: None,
            started: None,
            endpoint: None,
            reason: None,
            status_text: None,
            backoff: None,
            restarts: 0,
            last_exit: None,
            last_check: None,
            others: Vec::new(),
        };
        Self {
            generation: 1,
            accept_state: AcceptState::Hold,
            is_stopping: false,
            desired_workers: workers,
            operation: None,
            last_report: None,
            workers: (0..workers).map(slot).collect(),
        }
    }

    /// The number of workers that are ready, those that are busy among them.
    pub fn ready(&self) -> usize {
        self.workers.iter().filter(|worker| worker.state.is_serving()).count()
    }
}
