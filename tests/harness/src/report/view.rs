//! Selects the content of tables and charts: the phase that the figures stand for, and the values of each cell. Pure.

use crate::analysis::{self, Analysis, Cell, Estimate, Metric, MetricResult};
use crate::record::{Drive, Phase, Repetition, Report, ScenarioRecord, WayRecord};

/// The percentiles of the latency charts.
pub(crate) const PERCENTS: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];

/// A report with its verdict.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// The measurements.
    pub(crate) report: &'a Report,
    /// The result.
    pub(crate) analysis: &'a Analysis,
}

/// A way in a scenario.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// Its index among all ways of the report, which decides its colour.
    pub(crate) number: usize,
    /// The way.
    pub(crate) way: &'a WayRecord,
    /// The figures of the way in that scenario.
    pub(crate) cell: &'a Cell,
}

impl<'a> View<'a> {
    /// Returns the ways that have a verdict in the scenario, in the report's order.
    pub(crate) fn entries(&self, scenario: &str) -> Vec<Entry<'a>> {
        let ways = self.report.ways.iter().enumerate();
        let entry = |(number, way): (usize, &'a WayRecord)| {
            self.analysis.cell(scenario, &way.name).map(|cell| Entry { number, way, cell })
        };
        ways.filter_map(entry).collect()
    }

    /// Returns the repetitions that were measured completely.
    pub(crate) fn complete(&self, scenario: &str, way: &str) -> Vec<&'a Repetition> {
        let all = self.report.repetitions.iter();
        all.filter(|one| one.scenario == scenario && one.way == way && one.failure.is_none()).collect()
    }

    /// Returns their open phases at that rate, in the order of repetitions.
    pub(crate) fn phases_at(&self, scenario: &str, way: &str, rate: f64) -> Vec<&'a Phase> {
        let is_it = |phase: &&Phase| match phase.drive {
            Drive::Closed => false,
            Drive::Open { rate: its } => (its - rate).abs() <= rate.abs() * 1e-6,
        };
        let complete = self.complete(scenario, way);
        complete.iter().filter_map(|one| one.phases.iter().find(is_it)).collect()
    }

    /// Returns their phases at the headline rate.
    pub(crate) fn headline_phases(&self, scenario: &ScenarioRecord, way: &str) -> Vec<&'a Phase> {
        self.headline(scenario).map(|rate| self.phases_at(&scenario.name, way, rate)).unwrap_or_default()
    }

    /// Returns the rate that the figures of the scenario stand for, in requests per second; `None` if no rate was
    /// found.
    pub(crate) fn headline(&self, scenario: &ScenarioRecord) -> Option<f64> {
        scenario.rates.get(analysis::headline(self.report, scenario)).copied()
    }

    /// Returns the complete answers per second at the headline rate, the median of the repetitions.
    pub(crate) fn done(&self, scenario: &ScenarioRecord, way: &str) -> Option<f64> {
        median(self.headline_phases(scenario, way).iter().map(|phase| phase.rate()).collect())
    }

    /// Returns the latency that `percent` of the requests do not exceed at that rate: the median of the repetitions.
    /// `None` if a repetition has no such percentile; see [`Phase::percentile`].
    pub(crate) fn percentile(&self, scenario: &str, way: &str, rate: f64, percent: f64) -> Option<f64> {
        let phases = self.phases_at(scenario, way, rate);
        median(phases.iter().map(|phase| phase.percentile(percent)).collect::<Option<_>>()?)
    }
}

impl<'a> Entry<'a> {
    /// Returns the result of a metric, if it applies.
    pub(crate) fn result(&self, metric: Metric) -> Option<&'a MetricResult> {
        self.cell.metrics.get(&metric)
    }

    /// Returns its value, if it applies.
    pub(crate) fn estimate(&self, metric: Metric) -> Option<&'a Estimate> {
        self.result(metric).map(|result| &result.estimate)
    }
}

/// Returns the middle one of the finite values, or the mean of the middle two.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(*upper);
    }
    values.get(values.len() / 2 - 1).map(|lower| f64::midpoint(*lower, *upper))
}

/// Returns the shares of the workers, the busiest first, from 0 to 1: the mean over the phases, by rank. The mean by
/// name would hide that each repetition favoured another worker.
pub(crate) fn shares(phases: &[&Phase]) -> Vec<f64> {
    let named: Vec<Vec<f64>> = phases.iter().map(|phase| ranked(phase)).filter(|shares| !shares.is_empty()).collect();
    let ranks = named.iter().map(Vec::len).max().unwrap_or(0);
    let of_rank = |rank: usize| named.iter().filter_map(|shares| shares.get(rank)).sum::<f64>() / named.len() as f64;
    (0..ranks).map(of_rank).collect()
}

fn ranked(phase: &Phase) -> Vec<f64> {
    // As for the fairness in `analysis`: if answers name no worker, by the workers' processor time.
    let mut parts: Vec<f64> = if phase.answers.is_empty() {
        phase.cpu.workers.values().copied().filter(|seconds| seconds.is_finite()).collect()
    } else {
        phase.answers.values().map(|count| *count as f64).collect()
    };
    let total: f64 = parts.iter().sum();
    if total <= 0.0 {
        return Vec::new();
    }
    parts.sort_by(|a, b| b.total_cmp(a));
    parts.iter().map(|part| part / total).collect()
}
