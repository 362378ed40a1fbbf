//! The JSON shapes shared by API, page and CLI. Base units; unknown keys may appear in later versions.

use serde::{Deserialize, Serialize};

pub use super::operation::{Connections, Event, MessageTarget, OperationLine, OperationReport, Problem};

/// `GET /api/v1/state`: the whole master at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// Always [`State::SCHEMA`].
    pub schema: String,
    /// The version of the running binary.
    pub version: String,
    /// The master's process.
    pub pid: u32,
    /// When it started, in Unix seconds.
    pub started: f64,
    /// True while every pool has its `min-ready` workers and the master is not stopping.
    pub is_ready: bool,
    /// True once it was asked to stop.
    pub is_stopping: bool,
    /// Where the admin port listens, if it does.
    pub admin: Option<String>,
    /// One entry a pool, by name.
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
    /// Its state, in a word: `ready`, `degraded`, `starting`, `stopped`, `down` or `stopping`.
    #[serde(default)]
    pub state: String,
    /// Its public addresses as bound.
    pub listen: Vec<String>,
    /// The way in which connections reach workers.
    pub mode: String,
    /// Which worker is chosen: a strategy's name, or `kernel` where the workers accept.
    pub strategy: String,
    /// Bumped by a reload, from 1.
    pub generation: u64,
    /// Workers configured.
    pub workers_desired: u32,
    /// Workers in rotation.
    pub workers_ready: u32,
    /// The state of its listeners: `open`, `hold`, `reject` or `closing`.
    pub accept_state: String,
    /// The limit at which clients wait in the kernel now, or did within two seconds: `exhausted`, `open_files`,
    /// `worker_open_files`, `master_max_connections` or `max_connections`.
    #[serde(default)]
    pub limited_by: Option<String>,
    /// Connections accepted since start. This and the next two are null where the workers accept: not observed.
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
    /// One entry a slot.
    pub workers: Vec<WorkerEntry>,
}

/// One slot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerEntry {
    /// Its number, from 0.
    pub slot: u32,
    /// `starting`, `ready`, `busy`, `suspect`, `draining`, `stopping`, `backoff`, `failed` or `stopped`.
    pub state: String,
    /// Seconds in that state.
    pub state_seconds: f64,
    /// The generation of its process, or of its last one.
    #[serde(default)]
    pub generation: u64,
    /// The process, while there is one.
    pub pid: Option<u32>,
    /// Seconds since that process was started.
    pub up_seconds: Option<f64>,
    /// Its private endpoint.
    pub endpoint: Option<String>,
    /// The reason against it, while it is `suspect` or `busy`.
    #[serde(default)]
    pub reason: Option<String>,
    /// The status that it last gave of itself.
    pub status_text: Option<String>,
    /// Seconds of the present backoff.
    pub backoff_seconds: Option<f64>,
    /// Starts after the first one.
    pub restarts: u64,
    /// Connections given to it since the master's start. This and the next three are null where the workers accept.
    pub connections: Option<u64>,
    /// Connections open now.
    pub active: Option<u64>,
    /// Those of them whose client waits for its answer, while it is in rotation.
    #[serde(default)]
    pub waiting: Option<u64>,
    /// Its present weight beside the others; 0 while it is out of rotation.
    #[serde(default)]
    pub weight: Option<f64>,
    /// CPU seconds of its process group, while there is one and it can be read.
    pub cpu_seconds: Option<f64>,
    /// Resident bytes of its process group.
    pub memory_bytes: Option<u64>,
    /// Descriptors that the process of its group has open which may open the fewest more; null if there are few.
    #[serde(default)]
    pub open_files: Option<u64>,
    /// The number of files that the process may have open.
    #[serde(default)]
    pub max_open_files: Option<u64>,
    /// The end of its last process.
    pub last_exit: Option<Exit>,
    /// The result of the last check.
    pub last_check: Option<Check>,
    /// The process that is to take its place, while it is being started.
    #[serde(default)]
    pub replacement: Option<OtherProcess>,
    /// Processes of this slot that are ending, or that are kept beside the one that took their place.
    #[serde(default)]
    pub retiring: Vec<OtherProcess>,
}

impl WorkerEntry {
    /// The further processes of its slot.
    pub fn others(&self) -> impl Iterator<Item = &OtherProcess> {
        self.replacement.iter().chain(&self.retiring)
    }
}

/// A process in a slot beside the one that serves it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OtherProcess {
    /// `starting` for one that comes, `draining` or `stopping` for one that goes.
    pub state: String,
    /// Its generation.
    pub generation: u64,
    /// The process, once it exists.
    pub pid: Option<u32>,
    /// Seconds since it was started.
    pub up_seconds: f64,
    /// Connections it still has; null where the workers accept.
    pub active: Option<u64>,
    /// The result of its last check.
    #[serde(default)]
    pub last_check: Option<Check>,
}

/// The end of a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exit {
    /// In words.
    pub what: String,
    /// Why it was told to end, if it was: `stopped by command`, `replaced by reload`, ...
    #[serde(default)]
    pub why: Option<String>,
    /// The code, or 128 + n for signal n.
    pub code: i32,
    /// Seconds ago.
    pub ago_seconds: f64,
    /// The last lines it wrote, oldest first.
    pub last_lines: Vec<String>,
}

/// The result of a check.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    /// In words.
    pub what: String,
    /// True if it was good.
    pub is_ok: bool,
    /// The time that it took, in seconds.
    pub took_seconds: f64,
    /// Seconds ago.
    pub ago_seconds: f64,
}
