//! What a comparison has found, as it stands in `report.json`: every repetition, nothing summed up. Pure.
//!
//! Schema [`SCHEMA`]. Durations are in seconds, sizes in bytes, rates a second. Fields may be added within the version;
//! none is removed or changes its meaning.

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
    /// It was interrupted: cells are missing.
    pub is_partial: bool,
    /// Where and of what.
    pub environment: Environment,
    /// The method of measurement.
    pub method: Method,
    /// In the order of the plan.
    pub scenarios: Vec<ScenarioRecord>,
    /// In the order of the plan.
    pub ways: Vec<WayRecord>,
    /// The parts that were not measured, and why.
    pub skipped: Vec<Skipped>,
    /// In the order in which they were measured.
    pub repetitions: Vec<Repetition>,
}

/// The machine, the programs, the command.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// When it began, RFC 3339 UTC.
    pub began: String,
    /// Of the binary under test.
    pub version: String,
    /// The revision of the sources in the current folder, if it is a checkout.
    pub revision: Option<String>,
    /// The whole command line of the comparison.
    pub command: Vec<String>,
    /// The program that the workers run.
    pub workload: String,
    /// As `/proc/cpuinfo` names it.
    pub cpu: String,
    /// Processors that may be used.
    pub cores: usize,
    /// The governor of the first processor, if it can be read.
    pub governor: Option<String>,
    /// Bytes of memory.
    pub memory: u64,
    /// Name and release of the kernel.
    pub kernel: String,
    /// Load averages (1, 5, 15 minutes) before the start.
    pub load_before: [f64; 3],
    /// Versions of other programs that took part.
    pub programs: BTreeMap<String, String>,
}

/// The method of measurement: what a reader needs to do it again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Method {
    /// Workers of each way; `direct` has one.
    pub workers: usize,
    /// Clients of the closed loop, and connections kept by the open one.
    pub connections: usize,
    /// Repetitions of each cell, each with fresh workers.
    pub repeat: usize,
    /// Load that is not counted, before each measurement.
    pub warm_up_seconds: f64,
    /// Length of the closed loop.
    pub closed_seconds: f64,
    /// Length of the open loop at each rate.
    pub open_seconds: f64,
    /// Length of the open loop in which something happens to the workers.
    pub event_seconds: f64,
    /// Rates of the open loop as parts of the lowest saturation that a way with several workers had in the scenario.
    pub shares: Vec<f64>,
    /// Given by the user instead: requests a second.
    pub rate: Option<f64>,
    /// The longest time that a request may take.
    pub timeout_seconds: f64,
    /// Decides the order of requests, and which worker something happens to.
    pub seed: u64,
}

/// One scenario as it was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenarioRecord {
    /// Letters, digits and `-`.
    pub name: String,
    /// In a line, for people.
    pub about: String,
    /// Requests of one connection; none: it is kept as long as it lives.
    pub requests_per_connection: Option<u32>,
    /// The event that happens to the workers, if anything: `kill`, `hang`, `reload`, `scale`, or a request.
    pub event: Option<String>,
    /// The lowest saturation that was found at its calibration, requests a second, and whose it was.
    pub lowest_saturation: Option<(f64, String)>,
    /// Rates of the open loop, rising.
    pub rates: Vec<f64>,
}

/// One way as it was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WayRecord {
    /// Letters, digits, `-` and `/`.
    pub name: String,
    /// In a line, for people.
    pub about: String,
    /// The owner.
    pub origin: Origin,
}

/// The origin of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// One worker and nobody before it.
    Direct,
    /// The product's.
    Product,
    /// Another balancer or manager.
    Reference,
}

/// The parts that were not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The way; none means all ways.
    pub way: Option<String>,
    /// The scenario; none means all scenarios.
    pub scenario: Option<String>,
    /// Why, in words for people.
    pub why: String,
}

/// One way in one scenario, once, with fresh workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repetition {
    /// The scenario's name.
    pub scenario: String,
    /// The way's name.
    pub way: String,
    /// From 0; the same number of all ways was measured one after the other, and can be compared in pairs.
    pub number: usize,
    /// Its phases in their order: a closed loop, then open ones with rising rates. With an event only one open loop.
    pub phases: Vec<Phase>,
    /// Why it ended before its time, if it did. What is in `phases` was measured before.
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
    /// Requests that were due and not started since too many were under way: the phase says little.
    pub not_started: u64,
    /// Of complete answers. Open loop: from the time at which the request was to be sent; closed: from its sending.
    pub latency: Histogram,
    /// The delay of a request after it was due (open loop): the generator's own part, which `latency`
    /// contains.
    pub lag: Histogram,
    /// Bytes of answers, heads included.
    pub bytes: u64,
    /// Answers by worker, where they name it; empty where none does.
    pub answers: BTreeMap<String, u64>,
    /// Time of the processors.
    pub cpu: Cpu,
    /// Resident bytes at the end of the phase.
    pub memory: Memory,
    /// Steps of [`Tick::SECONDS`], by when requests were due; only with an event.
    pub timeline: Vec<Tick>,
    /// The event that happened to the workers, if anything.
    pub event: Option<EventRecord>,
}

/// The way in which requests were sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drive {
    /// Each client sends the next request when it has the answer.
    Closed,
    /// By a fixed schedule, whatever became of earlier ones.
    Open {
        /// Requests a second.
        rate: f64,
    },
}

/// Seconds of processors, user and system together, during one phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// The master or balancer with all of its processes but the workers.
    pub balancer: f64,
    /// Of each worker process, by slot where the way has slots, else by pid.
    pub workers: BTreeMap<String, f64>,
    /// The generator's thread.
    pub generator: f64,
    /// The time that a hypervisor gave to others while this machine wanted to run (`steal` in `/proc/stat`), of all
    /// processors:
    /// what was slow then was not the server.
    #[serde(default)]
    pub stolen: f64,
}

/// Resident bytes (proportional where the kernel says so, else resident).
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
    /// Of the requests that were due in it: complete answers.
    pub done: u64,
    /// Failures.
    pub errors: u64,
    /// 99th percentile of the complete ones, seconds; 0 if there were none.
    pub p99: f64,
    /// The longest, seconds.
    pub max: f64,
}

impl Tick {
    /// The length of a step.
    pub const SECONDS: f64 = 0.1;
}

/// The event that happened to the workers under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// The action, such as `SIGKILL to demo/1 (pid 4711)`.
    pub what: String,
    /// Seconds from the start of the phase.
    pub at: f64,
    /// The time that the command took, such as a reload; none where there is nothing to wait for.
    pub took: Option<f64>,
    /// The message of the command if it failed.
    pub failure: Option<String>,
}

impl Phase {
    /// Failed requests of all classes.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// The latency that so many percent of all requests that were due do not exceed, seconds. Those that failed or were
    /// not started count as never answered: a way that loses requests does not look fast for it. None where that many
    /// were not answered, and where there were too few requests to have such a percentile: one of 99.9 needs a
    /// thousand.
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        let due = self.done + self.failed() + self.not_started;
        let answered = percent * due as f64 / self.done as f64;
        let has_enough = due as f64 * (100.0 - percent) >= 100.0 - 1e-6;
        (has_enough && answered <= 100.0).then(|| self.latency.percentile(answered))
    }

    /// Complete answers a second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.done as f64 / self.seconds } else { 0.0 }
    }

    /// The part of one core that the generator used.
    pub fn generator_share(&self) -> f64 {
        if self.seconds > 0.0 { self.cpu.generator / self.seconds } else { 0.0 }
    }
}
