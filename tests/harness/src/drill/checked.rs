//! The results of the checked load of a fault. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use roundelay_checker::{Class, Record};
use serde::Serialize;

/// The results of the checked load.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Checked {
    /// Operations started.
    pub started: u64,
    /// Operations that succeeded.
    pub good: u64,
    /// Failures by class; only those that occurred.
    pub failed: BTreeMap<Class, u64>,
    /// Operations that were not started for a reason of the generator's own.
    pub not_started: u64,
    /// The median latency of successful operations, from the intended start, in seconds.
    pub p50_seconds: f64,
    /// Their 99th percentile.
    pub p99_seconds: f64,
    /// Their longest latency.
    pub max_seconds: f64,
    /// The longest time without a successful operation, in seconds.
    pub longest_silence_seconds: f64,
    /// The longest delay with which the generator started an operation, in seconds: its own weakness.
    pub longest_lag_seconds: f64,
    /// Each failure, up to a number that no drill reaches; the report shows the first in words.
    #[serde(skip)]
    pub failures: Vec<Failed>,
    /// The first failures in words.
    pub first_failures: Vec<String>,
}

/// One failed operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The class of the failure.
    pub class: Class,
    /// The time at which it was to start, from the start of the load.
    pub at: Duration,
    /// The time at which it had failed.
    pub ended: Duration,
}

impl Checked {
    /// Returns the results of a finished load.
    pub fn new(record: &Record) -> Self {
        let latency = record.latency();
        let found = Class::ALL.map(|class| (class, record.failed(class)));
        let failed = |failure: &roundelay_checker::Failure| Failed {
            class: failure.class,
            at: failure.at,
            ended: failure.ended,
        };
        Self {
            started: record.started(),
            good: record.good(),
            failed: found.into_iter().filter(|(_, count)| *count > 0).collect(),
            not_started: record.not_started() + record.open(),
            p50_seconds: latency.percentile(50.0).as_secs_f64(),
            p99_seconds: latency.percentile(99.0).as_secs_f64(),
            max_seconds: latency.max().as_secs_f64(),
            longest_silence_seconds: record.longest_silence().as_secs_f64(),
            longest_lag_seconds: record.lag().max().as_secs_f64(),
            failures: record.failures().iter().map(failed).collect(),
            first_failures: record.failures().iter().take(10).map(ToString::to_string).collect(),
        }
    }

    /// Returns the number of failures of all classes.
    pub fn failed_total(&self) -> u64 {
        self.failed.values().sum()
    }
}
