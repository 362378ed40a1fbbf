//! The state in JSON: the shapes that API, page and CLI share. In base units; later versions may add keys.

use serde::{Deserialize, Serialize};

pub use super::operation::{Connections, Event, MessageTarget, OperationLine, OperationReport, Problem};

/// The answer of `GET /api/v1/state`: the whole master at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// Always [`State::SCHEMA`].
    pub schema: String,
    /// The version of the running binary.
    pub version: String,
    /// The pid of the master.
    pub pid: u32,
    /// The time of its start, in Unix seconds.
    pub started: f64,
    /// True while every pool has its `min-ready` workers and the master is not stopping.
    pub is_ready: bool,
    /// True once the master was asked to stop.
    pub is_stopping: bool,
    /// The address of the admin port, if there is one.
    pub admin: Option<String>,
    /// One entry for each pool, by name.
    pub pools: Vec<PoolEntry>,
}

impl State {
    /// The name and version of this shape; a change that breaks readers changes it.
    pub const SCHEMA: &str = "roundelay.state/1";
}

/// One pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PoolEntry {
    /// Its name.
    pub name: String,
    /// Its state in one word: `ready`, `degraded`, `starting`, `stopped`, `down` or `stopping`.
    #[serde(default)]
    pub state: String,
    /// Its public addresses, with the ports that were bound.
    pub listen: Vec<String>,
    /// Its mode: the way in which connections reach workers.
    pub mode: String,
    /// The strategy that picks workers, or `kernel` where the workers accept themselves.
    pub strategy: String,
    /// The generation: 1 at first, one more with each reload.
    pub generation: u64,
    /// The configured number of workers.
    pub workers_desired: u32,
    /// The number of workers in rotation.
    pub workers_ready: u32,
    /// The state of its listeners: `open`, `hold`, `reject` or `closing`.
    pub accept_state: String,
    /// The limit at which clients wait in the kernel now or did within the last two seconds: `exhausted`, `open_files`,
    /// `worker_open_files`, `master_max_connections` or `max_connections`.
    #[serde(default)]
    pub limited_by: Option<String>,
    /// Connections accepted since start. This and the next two are null where the workers accept: the master does not
    /// see them.
    pub accepted: Option<u64>,
    /// Client connections open now.
    pub active: Option<i64>,
    /// Clients rejected since start.
    pub rejected: Option<u64>,
    /// The operation under way: `reload`, `scale`, `restart`, `stop`, `start` or `strategy`.
    #[serde(default)]
    pub operation: Option<String>,
    /// The last command that was carried out.
    #[serde(default)]
    pub last_report: Option<OperationReport>,
    /// One entry for each slot.
    pub workers: Vec<WorkerEntry>,
}

/// One slot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerEntry {
    /// Its number, from 0.
    pub slot: u32,
    /// Its state: `starting`, `ready`, `busy`, `suspect`, `draining`, `stopping`, `backoff`, `failed` or `stopped`.
    pub state: String,
    /// Seconds in that state.
    pub state_seconds: f64,
    /// The generation of its present process, or else of its last one.
    #[serde(default)]
    pub generation: u64,
    /// The pid of its process, while there is one.
    pub pid: Option<u32>,
    /// Seconds since that process was started.
    pub up_seconds: Option<f64>,
    /// Its private endpoint.
    pub endpoint: Option<String>,
    /// The reason why it is `suspect` or `busy`, while it is.
    #[serde(default)]
    pub reason: Option<String>,
    /// The status text that the worker sent last.
    pub status_text: Option<String>,
    /// The length of the present backoff in seconds.
    pub backoff_seconds: Option<f64>,
    /// The number of starts after the first one.
    pub restarts: u64,
    /// Connections given to it since the master's start. This and the next three are null where the workers accept.
    pub connections: Option<u64>,
    /// Connections open now.
    pub active: Option<u64>,
    /// Of the open connections, those whose client waits for an answer; null while the worker is out of rotation.
    #[serde(default)]
    pub waiting: Option<u64>,
    /// Its present weight; 0 while it is out of rotation.
    #[serde(default)]
    pub weight: Option<f64>,
    /// CPU seconds of its process group; null if there is none or it cannot be read.
    pub cpu_seconds: Option<f64>,
    /// Resident bytes of its process group.
    pub memory_bytes: Option<u64>,
    /// The open descriptors of that process of its group which is nearest to its limit; null if none is near it.
    #[serde(default)]
    pub open_files: Option<u64>,
    /// The limit of open files of that process.
    #[serde(default)]
    pub max_open_files: Option<u64>,
    /// The end of its previous process.
    pub last_exit: Option<Exit>,
    /// The result of the last check.
    pub last_check: Option<Check>,
    /// The process that will take its place, while it is starting.
    #[serde(default)]
    pub replacement: Option<OtherProcess>,
    /// Processes of this slot that are ending, or that are kept beside the process that replaced them.
    #[serde(default)]
    pub retiring: Vec<OtherProcess>,
}

impl WorkerEntry {
    /// Returns the further processes of its slot.
    pub fn others(&self) -> impl Iterator<Item = &OtherProcess> {
        self.replacement.iter().chain(&self.retiring)
    }
}

/// A process in a slot beside the one that serves it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OtherProcess {
    /// `starting` for a new process, `draining` or `stopping` for an old one.
    pub state: String,
    /// Its generation.
    pub generation: u64,
    /// The process, once it exists.
    pub pid: Option<u32>,
    /// Seconds since it was started.
    pub up_seconds: f64,
    /// Connections that it still has; null where the workers accept.
    pub active: Option<u64>,
    /// The result of its last check.
    #[serde(default)]
    pub last_check: Option<Check>,
}

/// The end of a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exit {
    /// The way it ended, in words such as `exit code 1`.
    pub what: String,
    /// The reason why it was told to end, if it was: `stopped by command`, `replaced by reload`, ...
    #[serde(default)]
    pub why: Option<String>,
    /// The exit code, or 128 + n for signal n.
    pub code: i32,
    /// Seconds since then.
    pub ago_seconds: f64,
    /// The last lines that it wrote, oldest first.
    pub last_lines: Vec<String>,
}

/// The result of a check.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    /// The result in words.
    pub what: String,
    /// True if it was good.
    pub is_ok: bool,
    /// The time that it took, in seconds.
    pub took_seconds: f64,
    /// Seconds since then.
    pub ago_seconds: f64,
}
