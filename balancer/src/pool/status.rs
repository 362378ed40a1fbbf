//! The status of a pool, as the supervisor sees it. Plain data, published as a whole after every change.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::operation::{OperationKind, Report};
use crate::rotation::{AcceptState, Endpoint, SlotId};

/// The state of a slot, in the same words in CLI, metrics, API and page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotState {
    /// Its process was started and is not ready yet.
    Starting,
    /// In rotation.
    Ready,
    /// Serves clients, and shows no other sign of life. Gets no new clients while another worker is free.
    Busy,
    /// Failed its health checks: out of rotation and still running.
    Suspect,
    /// Replaced a moment ago and out of rotation. The process was not told to end: it returns to the rotation if its
    /// replacement fails.
    Parked,
    /// Out of rotation, and finishes its connections.
    Draining,
    /// Told to end.
    Stopping,
    /// Ended; waits for its next start.
    Backoff,
    /// Ended too often. Still started again, with the longest backoff.
    Failed,
    /// Ended by command.
    Stopped,
}

impl SlotState {
    /// Every state of a slot, in the order in which a process passes through them. `Parked` is missing: a parked
    /// process is beside the process that its slot shows.
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

    /// Returns true if the worker serves clients as it should; `/readyz` counts these. A busy worker does.
    pub const fn is_serving(self) -> bool {
        matches!(self, SlotState::Ready | SlotState::Busy)
    }

    /// Returns true if the worker has been ready and was not asked to end.
    pub const fn is_up(self) -> bool {
        matches!(self, SlotState::Ready | SlotState::Busy | SlotState::Suspect)
    }
}

/// One pool at one moment.
#[derive(Clone, Debug)]
pub struct PoolStatus {
    /// The present generation, from 1. A reload adds 1.
    pub generation: u64,
    /// The state of the public listeners.
    pub accept_state: AcceptState,
    /// True once the master was asked to stop.
    pub is_stopping: bool,
    /// The number of workers that should run.
    pub desired_workers: u32,
    /// The operation that is running, if there is one.
    pub operation: Option<OperationKind>,
    /// The report of the last operation.
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
    /// The time at which it entered this state.
    pub since: SystemTime,
    /// The generation of its process, or of its last one.
    pub generation: u64,
    /// The process, while there is one.
    pub pid: Option<u32>,
    /// The start time of that process.
    pub started: Option<SystemTime>,
    /// Its private endpoint, while there is a process.
    pub endpoint: Option<Endpoint>,
    /// The reason for `suspect` or `busy`, while it is in one of them.
    pub reason: Option<String>,
    /// The last text that it sent with `STATUS=`.
    pub status_text: Option<String>,
    /// The wait before its next start, while in `backoff` or `failed`.
    pub backoff: Option<Duration>,
    /// Starts after the first one.
    pub restarts: u64,
    /// The exit of its last process.
    pub last_exit: Option<ExitStatus>,
    /// The result of the last probe.
    pub last_check: Option<CheckStatus>,
    /// Further processes in this slot: its replacement, and those that are retiring.
    pub others: Vec<OtherStatus>,
}

/// A process in a slot beside the one that serves it.
#[derive(Clone, Debug)]
pub struct OtherStatus {
    /// Its state: `starting` for a replacement, `parked`, `draining` or `stopping` for one that is retiring.
    pub state: SlotState,
    /// Its generation.
    pub generation: u64,
    /// The pid, once the process exists.
    pub pid: Option<u32>,
    /// The start time.
    pub started: SystemTime,
    /// The result of its last probe.
    pub last_check: Option<CheckStatus>,
    /// The connections that it still has, where the master sees them.
    pub active: usize,
}

/// The exit of a process.
#[derive(Clone, Debug)]
pub struct ExitStatus {
    /// In words, such as `exit code 3` or `killed by signal 9 (KILL)`.
    pub what: String,
    /// The reason why it was told to end, if it was. If its exit was not the one expected then, the text says how it
    /// ended.
    pub why: Option<String>,
    /// The code, or 128 + n for signal n.
    pub code: i32,
    /// The time of the exit.
    pub at: SystemTime,
    /// The last lines that it wrote, oldest first. Shared, because every change publishes the whole status again.
    pub last_lines: Arc<[String]>,
}

impl ExitStatus {
    /// Makes an exit that happened now.
    pub fn new(what: String, code: i32) -> Self {
        Self { what, why: None, code, at: SystemTime::now(), last_lines: Arc::default() }
    }
}

/// The result of a probe.
#[derive(Clone, Debug)]
pub struct CheckStatus {
    /// In words, such as `ok` or `tcp 127.0.0.1:20001: connection refused`.
    pub what: String,
    /// True if the probe succeeded.
    pub is_ok: bool,
    /// The duration of the probe.
    pub took: Duration,
    /// The time of the probe.
    pub at: SystemTime,
}

impl PoolStatus {
    /// Makes the status of a pool whose slots are about to be started.
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

    /// Returns the number of ready workers. Busy workers count.
    pub fn ready(&self) -> usize {
        self.workers.iter().filter(|worker| worker.state.is_serving()).count()
    }
}
