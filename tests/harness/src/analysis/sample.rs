//! Turns repetitions into the values of each metric. Pure.
//!
//! Only repetitions that were measured completely count. The *headline phase* is the open phase with the middle rate
//! (the higher one of two): loaded, but not so much that queues grow by themselves. With an event it is the only open
//! phase.

use std::collections::BTreeMap;

use super::{Estimate, Metric, Verdict, compare, timeline};
use crate::record::{Drive, Origin, Phase, Report, ScenarioRecord, WayRecord};

/// The percentiles; a cell has one only if each of its repetitions has it.
const PERCENTILES: [Metric; 4] = [Metric::P50, Metric::P90, Metric::P99, Metric::P999];
/// The part of a core above which the generator may be the limit.
const GENERATOR_SHARE: f64 = 0.6;

/// All values of one way in one scenario.
#[derive(Clone, Debug)]
pub(crate) struct Sample<'a> {
    pub(crate) scenario: &'a ScenarioRecord,
    pub(crate) way: &'a WayRecord,
    /// The values by the number of the repetition.
    pub(crate) values: BTreeMap<Metric, BTreeMap<usize, f64>>,
    /// The repetitions that were measured completely.
    pub(crate) repetitions: usize,
    /// The generator's limit in the closed loop.
    pub(crate) closed: Limit,
    /// The generator's limit in the headline phase.
    pub(crate) open: Limit,
    /// The repetitions in which the event's effect lasted until the end.
    pub(crate) unrecovered: usize,
    /// The messages of commands that failed.
    pub(crate) event_failures: Vec<&'a str>,
}

/// The degree to which the generator reached its limit in any repetition.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Limit {
    /// The largest part of a core that it used.
    pub(crate) share: f64,
    /// The requests that it could not start, in all repetitions.
    pub(crate) not_started: u64,
}

impl Limit {
    fn see(&mut self, phase: &Phase) {
        self.share = self.share.max(phase.generator_share());
        self.not_started += phase.not_started;
    }

    /// Returns true if it used too much of a core.
    pub(crate) fn is_busy(&self) -> bool {
        self.share > GENERATOR_SHARE
    }

    fn is_reached(&self) -> bool {
        self.is_busy() || self.not_started > 0
    }
}

/// Returns one sample for each way in each scenario that was measured completely at least once, in the order of the
/// plan.
pub(crate) fn samples(report: &Report) -> Vec<Sample<'_>> {
    let cells = report.scenarios.iter().flat_map(|scenario| report.ways.iter().map(move |way| (scenario, way)));
    cells.filter_map(|(scenario, way)| Sample::of(report, scenario, way)).collect()
}

impl<'a> Sample<'a> {
    fn of(report: &'a Report, scenario: &'a ScenarioRecord, way: &'a WayRecord) -> Option<Self> {
        let mut sample = Self {
            scenario,
            way,
            values: BTreeMap::new(),
            repetitions: 0,
            closed: Limit::default(),
            open: Limit::default(),
            unrecovered: 0,
            event_failures: Vec::new(),
        };
        let of_cell = |one: &&'a crate::record::Repetition| one.scenario == scenario.name && one.way == way.name;
        for one in report.repetitions.iter().filter(of_cell).filter(|one| one.failure.is_none()) {
            sample.repetitions += 1;
            if let Some(phase) = one.phases.iter().find(|phase| phase.drive == Drive::Closed) {
                sample.closed.see(phase);
                sample.keep(Metric::Rps, one.number, Some(phase.rate()));
            }
            let mut open = one.phases.iter().filter(|phase| matches!(phase.drive, Drive::Open { .. }));
            if let Some(phase) = open.nth(headline(report, scenario)) {
                sample.open.see(phase);
                sample.keep_open(one.number, phase, report.method.workers);
                sample.keep_event(one.number, phase);
            }
        }
        // The median of only the repetitions with enough answers would be too good.
        let repetitions = sample.repetitions;
        sample.values.retain(|metric, values| !PERCENTILES.contains(metric) || values.len() == repetitions);
        (sample.repetitions > 0).then_some(sample)
    }

    fn keep(&mut self, metric: Metric, number: usize, value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.values.entry(metric).or_default().insert(number, value);
        }
    }

    fn keep_open(&mut self, number: usize, phase: &Phase, workers: usize) {
        let answered = phase.done > 0;
        for (metric, percent) in PERCENTILES.into_iter().zip([50.0, 90.0, 99.0, 99.9]) {
            self.keep(metric, number, phase.percentile(percent));
        }
        self.keep(Metric::Errors, number, Some(phase.failed() as f64));
        let each = |seconds: f64| answered.then(|| seconds / phase.done as f64);
        let workers_cpu: f64 = phase.cpu.workers.values().sum();
        self.keep(Metric::Cpu, number, each(phase.cpu.balancer + workers_cpu));
        self.keep(Metric::WorkersCpu, number, each(workers_cpu));
        if self.way.origin != Origin::Direct {
            self.keep(Metric::BalancerCpu, number, each(phase.cpu.balancer));
            self.keep(Metric::BalancerMemory, number, Some(phase.memory.balancer as f64));
            // Workers that come and go cannot get even shares.
            let is_steady = self.scenario.event.is_none();
            self.keep(Metric::Fairness, number, fairness(phase, workers).filter(|_| is_steady));
        }
    }

    fn keep_event(&mut self, number: usize, phase: &'a Phase) {
        if self.scenario.event.is_none() {
            return;
        }
        self.keep(Metric::LongestGap, number, Some(timeline::longest_gap(phase)));
        if let Some(event) = &phase.event {
            let recovery = timeline::recovery(phase, event.at);
            self.keep(Metric::Recovery, number, Some(recovery.seconds));
            self.unrecovered += usize::from(!recovery.is_over);
            self.event_failures.extend(event.failure.as_deref());
        }
    }

    /// Returns the values in the order of the repetitions.
    pub(crate) fn estimate(&self, metric: Metric) -> Option<Estimate> {
        let values: Vec<f64> = self.values.get(&metric)?.values().copied().collect();
        Estimate::of(&values)
    }

    /// Compares it with another way in the same scenario, by the repetitions that both have; `None` if one of them
    /// lacks the metric.
    pub(crate) fn against(&self, other: &Self, metric: Metric) -> Option<Verdict> {
        let (ours, theirs) = (self.values.get(&metric)?, other.values.get(&metric)?);
        let pairs = ours.iter().filter_map(|(number, value)| Some((*value, *theirs.get(number)?)));
        let (ours, theirs): (Vec<f64>, Vec<f64>) = pairs.unzip();
        Some(compare::verdict(&ours, &theirs, metric))
    }

    /// Returns the metrics that the generator may have distorted. Processor time for one answer, memory and shares do
    /// not depend on it.
    pub(crate) fn limited(&self) -> Vec<Metric> {
        let limit = |metric: &Metric| match metric {
            Metric::Rps => Some(self.closed),
            Metric::P50 | Metric::P90 | Metric::P99 | Metric::P999 => Some(self.open),
            Metric::Errors | Metric::LongestGap | Metric::Recovery => Some(self.open),
            Metric::Cpu | Metric::BalancerCpu | Metric::WorkersCpu => None,
            Metric::Fairness | Metric::BalancerMemory => None,
        };
        let is_limited = |metric: &&Metric| limit(metric).is_some_and(|limit| limit.is_reached());
        self.values.keys().filter(is_limited).copied().collect()
    }
}

/// Returns the index of the headline phase among the open phases, as in [`ScenarioRecord::rates`].
pub(crate) fn headline(report: &Report, scenario: &ScenarioRecord) -> usize {
    if scenario.event.is_some() || report.method.rate.is_some() {
        return 0;
    }
    report.method.shares.len() / 2
}

/// Returns Jain's index, `(sum of x)^2 / (n * sum of x^2)` (Jain, Chiu and Hawe 1984): 1 if all have the same, 1/n if
/// one has all. A worker without any answer is missing in the phase, so n is at least `workers`. `None` if no worker
/// has any.
fn fairness(phase: &Phase, workers: usize) -> Option<f64> {
    let shares: Vec<f64> = if phase.answers.is_empty() {
        phase.cpu.workers.values().copied().collect()
    } else {
        phase.answers.values().map(|answers| *answers as f64).collect()
    };
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    let n = shares.len().max(workers) as f64;
    (squares > 0.0).then(|| shares.iter().sum::<f64>().powi(2) / (n * squares))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::planted;

    fn phase_of(answers: &[(&str, u64)], cpu: &[(&str, f64)]) -> Phase {
        let mut phase = planted::phase(Drive::Open { rate: 1.0 });
        phase.answers = answers.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        phase.cpu.workers = cpu.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect();
        phase
    }

    #[test]
    fn fairness_is_jains_index_of_answers_or_processor_time() {
        let even = phase_of(&[("a", 10), ("b", 10)], &[("a", 1.0), ("b", 9.0)]);
        assert_eq!(fairness(&even, 2), Some(1.0));
        assert_eq!(fairness(&even, 4), Some(0.5), "two of four got nothing");
        let uneven = phase_of(&[("a", 30), ("b", 10)], &[]);
        assert_eq!(fairness(&uneven, 2), Some(0.8));
        let unnamed = phase_of(&[], &[("1", 3.0), ("2", 1.0)]);
        assert_eq!(fairness(&unnamed, 2), Some(0.8));
        assert_eq!(fairness(&phase_of(&[], &[]), 2), None);
    }

    #[test]
    fn percentile_that_one_repetition_lacks_is_none_of_the_cell() {
        let mut planted = planted::Planted::new(1, 5);
        planted.cell("uniform", "round-robin", planted::Level::default());
        let mut report = planted.report();
        let has = |report: &Report, metric| samples(report)[0].values.contains_key(&metric);
        assert!(has(&report, Metric::P50) && has(&report, Metric::P99));
        for phase in &mut report.repetitions[3].phases {
            // A twentieth of the requests that were due.
            phase.not_started = phase.done / 19 + 1;
        }
        assert!(has(&report, Metric::P50) && !has(&report, Metric::P99) && !has(&report, Metric::P999));
        assert_eq!(samples(&report)[0].repetitions, 5);
    }

    #[test]
    fn headline_is_the_share_in_the_middle() {
        let mut report = planted::Planted::default().report();
        let scenario = planted::scenario("uniform", None);
        for (shares, expected) in [(vec![0.2, 0.35, 0.5], 1), (vec![0.2, 0.5], 1), (vec![0.35], 0), (vec![], 0)] {
            report.method.shares = shares.clone();
            assert_eq!(headline(&report, &scenario), expected, "{shares:?}");
        }
        report.method.shares = vec![0.5, 0.7];
        report.method.rate = Some(100.0);
        assert_eq!(headline(&report, &scenario), 0, "one rate, given by the user");
    }
}
