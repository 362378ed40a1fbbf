//! The results of a comparison as they are stored in `report.json`: every repetition, nothing summarized. Pure.
//!
//! Schema [`SCHEMA`]. Durations are in seconds, sizes in bytes, rates per second. Within this version, fields may be
//! added; none is removed or changes its meaning.

mod histogram;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use histogram::Histogram;

/// The name and version of the schema.
pub const SCHEMA: &str = "roundelay.compare/1";

/// A whole comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// True if it was interrupted, so that cells are missing.
    pub is_partial: bool,
    /// The machine and the programs.
    pub environment: Environment,
    /// The method of measurement.
    pub method: Method,
    /// The scenarios, in the order of the plan.
    pub scenarios: Vec<ScenarioRecord>,
    /// The ways, in the order of the plan.
    pub ways: Vec<WayRecord>,
    /// The parts that were not measured, and why.
    pub skipped: Vec<Skipped>,
    /// The repetitions, in the order in which they were measured.
    pub repetitions: Vec<Repetition>,
}

/// The machine, the programs, the command.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// The time of its start, RFC 3339 UTC.
    pub began: String,
    /// The version of the binary under test.
    pub version: String,
    /// The revision of the sources in the current folder, if it is a checkout.
    pub revision: Option<String>,
    /// The whole command line of the comparison.
    pub command: Vec<String>,
    /// The program that the workers run.
    pub workload: String,
    /// The processor, as `/proc/cpuinfo` names it.
    pub cpu: String,
    /// The number of processors that may be used.
    pub cores: usize,
    /// The governor of the first processor, if it can be read.
    pub governor: Option<String>,
    /// Bytes of memory.
    pub memory: u64,
    /// Name and release of the kernel.
    pub kernel: String,
    /// Load averages (1, 5, 15 minutes) before the start.
    pub load_before: [f64; 3],
    /// The versions of other programs that took part.
    pub programs: BTreeMap<String, String>,
}

/// The method of measurement: everything that a reader needs to repeat it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Method {
    /// Workers of each way; `direct` has one.
    pub workers: usize,
    /// The clients of the closed loop, and the kept connections of the open one.
    pub connections: usize,
    /// The number of repetitions of each cell, each with fresh workers.
    pub repeat: usize,
    /// The time before each measurement in which load is not counted.
    pub warm_up_seconds: f64,
    /// Length of the closed loop.
    pub closed_seconds: f64,
    /// Length of the open loop at each rate.
    pub open_seconds: f64,
    /// Length of the open loop with an event.
    pub event_seconds: f64,
    /// The rates of the open loop, as parts of the lowest saturation of a way with several workers in the scenario.
    pub shares: Vec<f64>,
    /// The rate that the user gave instead, in requests per second.
    pub rate: Option<f64>,
    /// The time after which a request counts as failed.
    pub timeout_seconds: f64,
    /// The seed for the order of requests, and for which worker an event hits.
    pub seed: u64,
}

/// One scenario as it was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenarioRecord {
    /// Letters, digits and `-`.
    pub name: String,
    /// One line for people.
    pub about: String,
    /// The number of requests on a connection; `None` keeps it as long as it lives.
    pub requests_per_connection: Option<u32>,
    /// The event, if any: `kill`, `hang`, `reload`, `scale`, or a request.
    pub event: Option<String>,
    /// The lowest saturation that the calibration found, in requests per second, and the way that had it.
    pub lowest_saturation: Option<(f64, String)>,
    /// Rates of the open loop, rising.
    pub rates: Vec<f64>,
}

/// One way as it was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WayRecord {
    /// Letters, digits, `-` and `/`.
    pub name: String,
    /// One line for people.
    pub about: String,
    /// The origin of the way.
    pub origin: Origin,
}

/// The origin of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// One worker without a balancer.
    Direct,
    /// A way of the product.
    Product,
    /// Another balancer or manager.
    Reference,
}

/// A part that was not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The way; none means all ways.
    pub way: Option<String>,
    /// The scenario; none means all scenarios.
    pub scenario: Option<String>,
    /// The reason, in words for people.
    pub why: String,
}

/// One way in one scenario, measured once, with fresh workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repetition {
    /// The scenario's name.
    pub scenario: String,
    /// The way's name.
    pub way: String,
    /// The number, from 0. The same number of all ways was measured one right after the other, so these can be compared
    /// in pairs.
    pub number: usize,
    /// Its phases in order: a closed loop, then open ones with rising rates. With an event there is only one open loop.
    pub phases: Vec<Phase>,
    /// The reason why it ended early, if it did. The `phases` were measured before.
    pub failure: Option<String>,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// The way in which requests were sent.
    pub drive: Drive,
    /// The time during which requests were started.
    pub seconds: f64,
    /// Requests started.
    pub started: u64,
    /// Complete answers of status 200 to 399.
    pub done: u64,
    /// Requests that failed, by class (the checker's names, such as `reset_midway`).
    pub errors: BTreeMap<String, u64>,
    /// Requests that were due but not started, since too many were under way: then the phase proves little.
    pub not_started: u64,
    /// The latencies of complete answers. Open loop: from the time at which the request was due; closed: from its
    /// sending.
    pub latency: Histogram,
    /// The delay of requests after they were due (open loop): the generator's own part, which `latency` includes.
    pub lag: Histogram,
    /// Bytes of answers, including heads.
    pub bytes: u64,
    /// Answers by worker, if they name it; else empty.
    pub answers: BTreeMap<String, u64>,
    /// The processor time.
    pub cpu: Cpu,
    /// Resident bytes at the end of the phase.
    pub memory: Memory,
    /// The timeline in steps of [`Tick::SECONDS`], by when requests were due; only with an event.
    pub timeline: Vec<Tick>,
    /// The event that happened to the workers, if any.
    pub event: Option<EventRecord>,
}

/// The way in which requests were sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drive {
    /// Each client sends the next request when it has the answer.
    Closed,
    /// Requests start by a fixed schedule, whatever became of earlier ones.
    Open {
        /// Requests per second.
        rate: f64,
    },
}

/// Processor seconds, user and system together, during one phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// The master or balancer, with all of its processes except the workers.
    pub balancer: f64,
    /// Each worker's process, by slot if the way has slots, else by pid.
    pub workers: BTreeMap<String, f64>,
    /// The generator's thread.
    pub generator: f64,
    /// The time that a hypervisor gave to others while this machine wanted to run (`steal` in `/proc/stat`), over all
    /// processors. If it is high, a slow result is not the server's fault.
    #[serde(default)]
    pub stolen: f64,
}

/// Bytes of memory (the proportional set size if the kernel reports it, else the resident one).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Of the balancer's processes.
    pub balancer: u64,
    /// Of all workers.
    pub workers: u64,
}

/// One step of a timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// Complete answers to the requests that were due in it.
    pub done: u64,
    /// Failures.
    pub errors: u64,
    /// 99th percentile of the complete answers in seconds; 0 if there were none.
    pub p99: f64,
    /// The longest latency in seconds.
    pub max: f64,
}

impl Tick {
    /// The length of a step.
    pub const SECONDS: f64 = 0.1;
}

/// The event that happened to the workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// The action, such as `SIGKILL to demo/1 (pid 4711)`.
    pub what: String,
    /// Seconds from the start of the phase.
    pub at: f64,
    /// The time that the command took, such as a reload; `None` if there is nothing to wait for.
    pub took: Option<f64>,
    /// The message of the command if it failed.
    pub failure: Option<String>,
}

impl Phase {
    /// Returns the number of failed requests of all classes.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Returns the latency in seconds that `percent` of all due requests do not exceed. Requests that failed or were
    /// not started count as never answered, so that a way does not look fast because it loses requests. `None` if that
    /// many were not answered, or if there were too few requests for such a percentile: 99.9 needs a thousand.
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        let due = self.done + self.failed() + self.not_started;
        let answered = percent * due as f64 / self.done as f64;
        let has_enough = due as f64 * (100.0 - percent) >= 100.0 - 1e-6;
        (has_enough && answered <= 100.0).then(|| self.latency.percentile(answered))
    }

    /// Returns the complete answers per second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.done as f64 / self.seconds } else { 0.0 }
    }

    /// Returns the part of one core that the generator used.
    pub fn generator_share(&self) -> f64 {
        if self.seconds > 0.0 { self.cpu.generator / self.seconds } else { 0.0 }
    }
}
