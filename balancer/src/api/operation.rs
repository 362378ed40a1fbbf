//! An operation in JSON: one object a line while it goes on, and the report of the last operation in the state.

use serde::{Deserialize, Serialize};

/// One line of the answer to a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationLine {
    /// Always [`OperationLine::SCHEMA`].
    pub schema: String,
    /// The pool of the event; null if it is about the master.
    pub pool: Option<String>,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

impl OperationLine {
    /// The name and version of this shape; a change that breaks readers changes it.
    pub const SCHEMA: &str = "roundelay.operation/1";
}

/// An event of an operation; the key `event` names its kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A pool's operation began.
    Began {
        /// `reload`, `scale`, `restart`, `stop`, `start` or `strategy`.
        verb: String,
        /// The generation that serves now.
        generation: u64,
        /// For a reload: the generation that it brings.
        #[serde(default)]
        next_generation: Option<u64>,
        /// The number of the pool's slots.
        slots: usize,
        /// For a reload: the number of workers that are replaced at once.
        at_once: Option<u32>,
        /// For a scaling: the number of workers before.
        workers_before: Option<u32>,
        /// For a scaling: the number of workers after.
        workers: Option<u32>,
        /// For a change of strategy: the old one.
        #[serde(default)]
        strategy_before: Option<String>,
        /// For a change of strategy: the new one.
        #[serde(default)]
        strategy: Option<String>,
    },
    /// A process is ready and in rotation.
    Ready {
        /// Its slot.
        slot: u32,
        /// The process.
        pid: u32,
        /// The process that it replaces.
        instead_of: Option<u32>,
        /// Seconds since its start.
        after_seconds: f64,
    },
    /// A process has ended after its drain.
    Ended {
        /// Its slot.
        slot: u32,
        /// The process.
        pid: u32,
        /// The way it ended, in words such as `exit code 0`.
        exit: String,
        /// Seconds since it left the rotation.
        took_seconds: f64,
        /// Connections that finished during its drain; null where they are not observed.
        finished: Option<u64>,
        /// Connections that were cut at the end of its drain.
        cut: u64,
    },
    /// A new process did not become ready.
    Failed {
        /// Its slot.
        slot: u32,
        /// The reason, in words.
        why: String,
        /// The last lines that it wrote, oldest first.
        last_lines: Vec<String>,
    },
    /// A pool's operation is over.
    Report(OperationReport),
    /// The rest of the command was not begun.
    Refused {
        /// The reason, in words.
        why: String,
        /// Advice on what to do next.
        hint: Option<String>,
    },
    /// A message was sent to the workers that could take it; this is the last event.
    Message {
        /// The number of workers that got the message.
        told: usize,
        /// All workers that the message is for.
        workers: Vec<MessageTarget>,
    },
    /// The master is stopping.
    Stopping,
    /// The master has stopped everything and ends.
    Stopped {
        /// The time that it took, in seconds.
        took_seconds: f64,
        /// Connections that finished meanwhile; null where they were not counted.
        finished: Option<u64>,
        /// Connections that were cut; null where they were not counted.
        cut: Option<u64>,
    },
    /// An event that this version does not know.
    #[serde(other)]
    Unknown,
}

/// A process that a message is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageTarget {
    /// Its slot.
    pub slot: u32,
    /// The process, if there is one.
    pub pid: Option<u32>,
    /// True if the message is in its channel; the program may not have read it yet.
    pub told: bool,
    /// The reason why it did not get the message.
    pub why: Option<String>,
}

/// The result of an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationReport {
    /// `reload`, `scale`, `restart`, `stop`, `start` or `strategy`.
    pub verb: String,
    /// `done`, `lost` (done, and clients were lost) or `failed`.
    pub result: String,
    /// The reason why it failed.
    pub error: Option<String>,
    /// The generation that serves now.
    pub generation: u64,
    /// The time that it took, in seconds.
    pub took_seconds: f64,
    /// When it ended, in Unix seconds.
    pub at: f64,
    /// Its cost for the clients; null where the workers accept by themselves, since the master does not see connections
    /// there.
    pub connections: Option<Connections>,
}

/// The connections of a pool during an operation, by the way they ended. The fields about ends are null where the
/// workers do not report ends, as with Node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Accepted.
    pub accepted: u64,
    /// Ended normally, by client and worker.
    pub served: Option<u64>,
    /// Given to another worker than the first one.
    pub moved: u64,
    /// Ended by the client while an answer was pending.
    #[serde(default)]
    pub client_ended: Option<u64>,
    /// Ended by the worker or by a drain, in a pool that has never answered a client.
    #[serde(default)]
    pub unanswered: Option<u64>,
    /// Idle and closed: by a drain, by the end of its worker, or by `idle-timeout`.
    pub closed: Option<u64>,
    /// Turned away, or not given to a worker in time. Lost.
    pub rejected: u64,
    /// Cut, or ended without an answer by a worker that was told to end. Lost. If `served` is null, this counts only
    /// connections that no worker had taken.
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
