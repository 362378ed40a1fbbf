//! What is said of an operation: one JSON object a line while it goes on, and the report of the last one in the state.

use serde::{Deserialize, Serialize};

/// One line of the answer to a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationLine {
    /// Always [`OperationLine::SCHEMA`].
    pub schema: String,
    /// The pool it is about; null where it is about the master.
    pub pool: Option<String>,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

impl OperationLine {
    /// The name and version of this shape; a change that breaks readers changes it.
    pub const SCHEMA: &str = "roundelay.operation/1";
}

/// An event of an operation; the key `event` names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A pool's operation began.
    Began {
        /// `reload`, `scale`, `restart`, `stop`, `start` or `strategy`.
        verb: String,
        /// The generation that serves.
        generation: u64,
        /// The number of its slots.
        slots: usize,
        /// For a reload: how many workers are replaced at once.
        at_once: Option<u32>,
        /// For a scaling: how many workers there were to be.
        workers_before: Option<u32>,
        /// For a scaling: how many there are to be.
        workers: Option<u32>,
        /// For another strategy: the present one.
        #[serde(default)]
        strategy_before: Option<String>,
        /// For another strategy: the one to come.
        #[serde(default)]
        strategy: Option<String>,
    },
    /// A process is ready and in rotation.
    Ready {
        /// Its slot.
        slot: u32,
        /// The process.
        pid: u32,
        /// The process whose place it took.
        instead_of: Option<u32>,
        /// Seconds from its start.
        after_seconds: f64,
    },
    /// A process has ended after its drain.
    Ended {
        /// Its slot.
        slot: u32,
        /// The process.
        pid: u32,
        /// The way it ended, in words.
        exit: String,
        /// Seconds from the moment it left the rotation.
        took_seconds: f64,
        /// Connections that it still finished; null where they are not observed.
        finished: Option<u64>,
        /// Connections that were cut at the end of its drain.
        cut: u64,
    },
    /// A new process did not come up.
    Failed {
        /// Its slot.
        slot: u32,
        /// Why, in words.
        why: String,
        /// The lines that it wrote last, oldest first.
        last_lines: Vec<String>,
    },
    /// A pool's operation is over.
    Report(OperationReport),
    /// The rest of the command is not begun.
    Refused {
        /// Why, in words.
        why: String,
        /// The next thing to do.
        hint: Option<String>,
    },
    /// A message was said to workers, as far as it could be; nothing follows.
    Message {
        /// The number of workers that were told.
        told: usize,
        /// All that were meant.
        workers: Vec<MessageTarget>,
    },
    /// The master is stopping.
    Stopping,
    /// The master has stopped everything and ends.
    Stopped {
        /// The time that it took, in seconds.
        took_seconds: f64,
        /// Connections that finished meanwhile; null where that was not counted.
        finished: Option<u64>,
        /// Connections that were cut; null where that was not counted.
        cut: Option<u64>,
    },
    /// Something that this version does not know.
    #[serde(other)]
    Unknown,
}

/// A process that a message was meant for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageTarget {
    /// Its slot.
    pub slot: u32,
    /// The process, if there is one.
    pub pid: Option<u32>,
    /// True if the message is on its channel; the program may not have read it yet.
    pub told: bool,
    /// Why it was not told.
    pub why: Option<String>,
}

/// The result of an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationReport {
    /// `reload`, `scale`, `restart`, `stop`, `start` or `strategy`.
    pub verb: String,
    /// `done`, `lost` (done, and clients were lost) or `failed`.
    pub result: String,
    /// Why it failed.
    pub error: Option<String>,
    /// The generation that serves now.
    pub generation: u64,
    /// The time that it took, in seconds.
    pub took_seconds: f64,
    /// When it ended, in Unix seconds.
    pub at: f64,
    /// Its cost for the clients; null where the workers accept by themselves: not observed.
    pub connections: Option<Connections>,
}

/// The connections of a pool during an operation, by their ends. The ends are null where the workers do not tell, as
/// Node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Accepted.
    pub accepted: u64,
    /// Ended as their two ends wanted.
    pub served: Option<u64>,
    /// Given to another worker than the first.
    pub moved: u64,
    /// Ended by the client while an answer was pending.
    #[serde(default)]
    pub client_ended: Option<u64>,
    /// Ended by the worker or by a drain in a pool that has never answered anybody.
    #[serde(default)]
    pub unanswered: Option<u64>,
    /// Idle, and closed so that a drain could end, or ended with its worker, or by `idle-timeout`.
    pub closed: Option<u64>,
    /// Turned away, or not placed in time. Lost.
    pub rejected: u64,
    /// Cut, or ended without the answer by a worker that was told to end. Lost. A number beside null for `served` counts only
    /// those that no worker had taken.
    pub cut: Option<u64>,
}

/// An error, as a problem document (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The mistake.
    pub detail: String,
    /// The next thing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
