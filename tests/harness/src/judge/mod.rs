//! What the repetitions come to: medians with their spread, and whether there is a difference at all. Pure.

use std::collections::BTreeMap;

/// A report summed up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// One for each way in each scenario that was measured, in the order of the plan.
    pub cells: Vec<Cell>,
    /// The verdict in plain sentences: first one of the whole, then of each scenario, then what to mind.
    pub findings: Vec<Finding>,
}

/// One way in one scenario, over all repetitions.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The scenario's name.
    pub scenario: String,
    /// The way's name.
    pub way: String,
    /// Repetitions that were measured to the end.
    pub repetitions: usize,
    /// What was measured; a metric that does not apply is missing.
    pub metrics: BTreeMap<Metric, Judgement>,
    /// The generator used more than 60 % of a core in the phase that a metric stands for, or could not start all requests:
    /// these metrics may be the generator's limit.
    pub generator_limited: Vec<Metric>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Saturation: complete answers a second of the closed loop.
    Rps,
    /// Median latency, seconds, at the headline rate (the highest share up to 70 %, else the lowest rate).
    P50,
    /// 90th percentile there.
    P90,
    /// 99th percentile there.
    P99,
    /// 99.9th percentile there.
    P999,
    /// Failed requests there.
    Errors,
    /// Seconds of processor time that the balancer used for one answer, there.
    BalancerCpu,
    /// The same of the workers.
    WorkersCpu,
    /// Jain's index over the workers' answers (or processor time where answers name nobody), there: 1 is even.
    Fairness,
    /// Resident bytes of the balancer.
    BalancerMemory,
    /// With an event: the longest time without any complete answer, seconds, by when requests were due.
    LongestGap,
    /// With an event: from it until the last step of the timeline that is worse than before it, seconds.
    Recovery,
}

/// A metric's value and how it compares with the reference way's (the first of the product's).
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The value.
    pub estimate: Estimate,
    /// The comparison.
    pub verdict: Verdict,
}

/// A value over repetitions.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// By repetition, in their order.
    pub values: Vec<f64>,
    /// The median.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub most: f64,
    /// Lower end of the median's 95 % bootstrap interval.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// How a value compares with the reference way's in the same scenario.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// It is the reference, or there is none.
    Reference,
    /// Fewer repetitions than a verdict needs.
    TooFew,
    /// The intervals overlap, or the difference is too small to matter.
    NoDifference,
    /// It differs, by this ratio to the reference (median of pairs, and its 95 % interval).
    Different {
        /// Whether that is good.
        is_better: bool,
        /// This way's value through the reference's.
        ratio: f64,
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
}

/// A sentence of the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Of which scenario; none: of the whole.
    pub scenario: Option<String>,
    /// Whether it is a warning.
    pub is_warning: bool,
    /// Ends with a full stop.
    pub text: String,
}
