//! Summarizes the repetitions: medians with their spread, and verdicts on differences. Pure.
//!
//! [`analyse`] summarizes a report, [`diff`] compares two, and an [`Assertion`] holds or does not. No difference is
//! claimed unless [`compare`] finds it, and no sentence claims more than its verdicts.

mod assertion;
pub mod compare;
mod diff;
mod estimate;
mod findings;
mod metric;
#[cfg(test)]
pub(crate) mod planted;
mod sample;
mod timeline;

use std::collections::BTreeMap;

pub use assertion::{Assertion, AssertionError, Outcome};
pub use compare::{LEAST_REPETITIONS, Verdict, verdict};
pub use diff::{Change, Diff, diff};
pub use estimate::Estimate;
pub use metric::{Metric, format_ratio};

use crate::record::{Origin, Report, ScenarioRecord};
use sample::Sample;
pub(crate) use sample::headline;

/// A report summed up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Analysis {
    /// One cell for each way in each scenario that was measured, in the order of the plan.
    pub cells: Vec<Cell>,
    /// The verdict in plain sentences: first on the whole, then on each scenario, then the warnings.
    pub findings: Vec<Finding>,
}

/// One way in one scenario, over all repetitions.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The scenario's name.
    pub scenario: String,
    /// The way's name.
    pub way: String,
    /// The repetitions that were measured completely.
    pub repetitions: usize,
    /// The measured values; a metric that does not apply is missing.
    pub metrics: BTreeMap<Metric, MetricResult>,
    /// The metrics that the generator may have limited: in the phase of such a metric it used more than 60 % of a core
    /// or could not start all requests, in at least one repetition.
    pub generator_limited: Vec<Metric>,
}

/// A metric's value and how it compares with the reference way's (the first of the product's).
#[derive(Clone, Debug, PartialEq)]
pub struct MetricResult {
    /// The value.
    pub estimate: Estimate,
    /// The comparison.
    pub verdict: Verdict,
}

/// A sentence of the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The scenario; `None` if it is about the whole.
    pub scenario: Option<String>,
    /// True if it is a warning.
    pub is_warning: bool,
    /// The sentence, with a full stop.
    pub text: String,
}

/// Summarizes a report. A cell without a completely measured repetition is left out; the findings mention it.
pub fn analyse(report: &Report) -> Analysis {
    let samples = sample::samples(report);
    let reference = reference(report);
    let cells = samples.iter().map(|sample| cell(sample, find(&samples, sample.scenario, reference))).collect();
    Analysis { cells, findings: findings::findings(report, &samples, reference) }
}

impl Analysis {
    /// Returns the cell of a way in a scenario, by their names.
    pub fn cell(&self, scenario: &str, way: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.scenario == scenario && cell.way == way)
    }
}

/// Returns the name of the way that the others are compared with.
fn reference(report: &Report) -> Option<&str> {
    report.ways.iter().find(|way| way.origin == Origin::Product).map(|way| way.name.as_str())
}

/// Returns the sample of that way in that scenario.
fn find<'a, 'r>(samples: &'a [Sample<'r>], scenario: &ScenarioRecord, way: Option<&str>) -> Option<&'a Sample<'r>> {
    samples.iter().find(|sample| sample.scenario.name == scenario.name && Some(sample.way.name.as_str()) == way)
}

fn cell(sample: &Sample<'_>, reference: Option<&Sample<'_>>) -> Cell {
    let other = reference.filter(|reference| reference.way.name != sample.way.name);
    let result = |metric: Metric| {
        let verdict = match other {
            None => Verdict::Reference,
            // If the reference lacks such a value there are no pairs at all.
            Some(other) => sample.against(other, metric).unwrap_or(Verdict::TooFew),
        };
        Some((metric, MetricResult { estimate: sample.estimate(metric)?, verdict }))
    };
    Cell {
        scenario: sample.scenario.name.clone(),
        way: sample.way.name.clone(),
        repetitions: sample.repetitions,
        metrics: sample.values.keys().copied().filter_map(result).collect(),
        generator_limited: sample.limited(),
    }
}

#[cfg(test)]
mod tests {
    use super::planted::{Level, Planted};
    use super::*;

    fn report() -> Report {
        let mut planted = Planted::new(3, 6);
        for way in ["direct", "round-robin", "haproxy"] {
            planted.cell(
                "uniform",
                way,
                Level { rps: if way == "haproxy" { 1500.0 } else { 2000.0 }, ..Level::default() },
            );
            planted.event_cell("kill", way, Level::default(), 3);
        }
        planted.report()
    }

    #[test]
    fn metric_that_does_not_apply_is_missing() {
        let analysis = analyse(&report());
        let metrics =
            |scenario, way| -> Vec<Metric> { analysis.cell(scenario, way).unwrap().metrics.keys().copied().collect() };
        let latency = [Metric::P50, Metric::P90, Metric::P99, Metric::P999, Metric::Errors];
        let cost = [Metric::Cpu, Metric::BalancerCpu, Metric::WorkersCpu];
        let steady = [&[Metric::Rps][..], &latency, &cost, &[Metric::Fairness, Metric::BalancerMemory]].concat();
        assert_eq!(metrics("uniform", "haproxy"), steady);
        assert_eq!(
            metrics("uniform", "direct"),
            [&[Metric::Rps][..], &latency, &[Metric::Cpu, Metric::WorkersCpu]].concat()
        );
        let memory_and_event = [Metric::BalancerMemory, Metric::LongestGap, Metric::Recovery];
        assert_eq!(metrics("kill", "round-robin"), [&latency[..], &cost, &memory_and_event].concat());
    }

    #[test]
    fn cells_follow_the_plan_and_hold_the_planted_values() {
        let analysis = analyse(&report());
        let names: Vec<_> = analysis.cells.iter().map(|cell| (cell.scenario.as_str(), cell.way.as_str())).collect();
        let ways = ["direct", "round-robin", "haproxy"];
        let expected: Vec<_> = ["uniform", "kill"].iter().flat_map(|s| ways.map(|way| (*s, way))).collect();
        assert_eq!(names, expected);
        let of = |scenario, way, metric| &analysis.cell(scenario, way).unwrap().metrics[&metric];
        let gap = of("kill", "haproxy", Metric::LongestGap);
        assert_eq!((gap.estimate.median, gap.verdict), (0.3, Verdict::NoDifference));
        let rps = of("uniform", "haproxy", Metric::Rps);
        assert!((rps.estimate.median / 1500.0 - 1.0).abs() < 0.02, "{rps:?}");
        let Verdict::Different { is_better: false, ratio, .. } = rps.verdict else { panic!("{rps:?}") };
        assert!((ratio - 0.75).abs() < 0.02, "{rps:?}");
        assert_eq!(of("uniform", "round-robin", Metric::Rps).verdict, Verdict::Reference);
        assert_eq!(of("uniform", "haproxy", Metric::Fairness).estimate.median, 1.0);
    }

    #[test]
    fn failed_repetitions_and_their_partners_do_not_count() {
        let mut report = report();
        let fail = |report: &mut Report, way: &str, number: usize| {
            let wanted = report.repetitions.iter_mut().filter(|one| one.scenario == "uniform");
            let mut wanted = wanted.filter(|one| one.way == way && one.number == number);
            wanted.next().unwrap().failure = Some("the worker did not start".into());
        };
        fail(&mut report, "haproxy", 0);
        let analysis = analyse(&report);
        let haproxy = analysis.cell("uniform", "haproxy").unwrap();
        assert_eq!((haproxy.repetitions, haproxy.metrics[&Metric::Rps].estimate.values.len()), (5, 5));
        assert!(matches!(haproxy.metrics[&Metric::Rps].verdict, Verdict::Different { .. }), "five pairs are left");
        fail(&mut report, "round-robin", 5);
        let analysis = analyse(&report);
        let haproxy = analysis.cell("uniform", "haproxy").unwrap();
        assert_eq!(haproxy.metrics[&Metric::Rps].verdict, Verdict::TooFew, "five each, four pairs");
        (0..6).for_each(|number| fail(&mut report, "direct", number));
        assert_eq!(analyse(&report).cell("uniform", "direct"), None);
    }

    #[test]
    fn report_of_nothing_is_judged_to_nothing() {
        let analysis = analyse(&Planted::default().report());
        assert_eq!(analysis, Analysis::default());
    }
}
