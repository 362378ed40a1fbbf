//! Verdicts and findings in words and shapes, the same everywhere. Pure.

use super::number;
use super::view::{Entry, View};
use crate::analysis::{Estimate, Finding, Metric, MetricResult, Verdict};
use crate::record::Origin;

/// The metrics that are compared in the overview, in the order of its columns.
pub(crate) const OVERVIEW: [Metric; 6] =
    [Metric::Rps, Metric::P50, Metric::P99, Metric::Errors, Metric::Cpu, Metric::BalancerCpu];

/// A verdict as it is shown: shape and colour only repeat the word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// One of `better`, `worse`, `differs`, `same`, `unjudged`, `reference`.
    pub(crate) class: &'static str,
    /// A shape of one character; empty for the reference.
    pub(crate) mark: &'static str,
    /// The word, and the size of the difference.
    pub(crate) text: String,
    /// The ratio with its interval; empty if there is none.
    pub(crate) detail: String,
}

/// Returns the words for a verdict.
pub(crate) fn word(metric: Metric, verdict: Verdict) -> Word {
    let plain = |class, mark, text: &str| Word { class, mark, text: text.to_owned(), detail: String::new() };
    match verdict {
        Verdict::Reference => plain("reference", "", "reference"),
        Verdict::TooFew => plain("unjudged", "?", "not judged"),
        Verdict::NoDifference => plain("same", "=", "no difference"),
        Verdict::Different { is_better, ratio, low, high } => {
            let (class, mark) = match (metric, is_better) {
                // For this metric neither direction is better.
                (Metric::Fairness, _) => ("differs", "≠"),
                (_, true) => ("better", "▲"),
                (_, false) => ("worse", "▼"),
            };
            // There is no ratio to a reference of 0.
            if !ratio.is_finite() {
                return Word { detail: "the reference has none".to_owned(), ..plain(class, mark, class) };
            }
            let by = number::ratio(ratio);
            let detail = format!("{by} the reference ({} to {})", number::ratio(low), number::ratio(high));
            Word { class, mark, text: format!("{class} {by}"), detail }
        }
    }
}

/// A value with everything that is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The value, as [`value`] writes it.
    pub(crate) value: String,
    /// The median's 95 % interval; for errors the least and the greatest repetition, since an interval would hide one
    /// bad one.
    pub(crate) interval: String,
    /// The least and the greatest repetition.
    pub(crate) spread: String,
    /// The verdict.
    pub(crate) word: Word,
    /// True if the generator may be the limit.
    pub(crate) is_limited: bool,
}

/// Returns a metric of a way, if it applies.
pub(crate) fn shown(entry: &Entry<'_>, metric: Metric) -> Option<Shown> {
    let MetricResult { estimate, verdict } = entry.result(metric)?;
    Some(Shown {
        value: value(metric, estimate),
        interval: match metric {
            Metric::Errors => number::spread(metric, estimate),
            _ => number::interval(metric, estimate),
        },
        spread: number::spread(metric, estimate),
        word: word(metric, *verdict),
        is_limited: entry.cell.generator_limited.contains(&metric),
    })
}

/// Writes the median; for errors the sum over all repetitions.
pub(crate) fn value(metric: Metric, estimate: &Estimate) -> String {
    let value = if metric == Metric::Errors { estimate.sum() } else { estimate.median };
    metric.format(value)
}

impl<'a> View<'a> {
    /// Returns the way that the others are compared with: the product's first.
    pub(crate) fn reference(&self) -> Option<&'a str> {
        let mut ways = self.report.ways.iter();
        ways.find(|way| way.origin == Origin::Product).map(|way| way.name.as_str())
    }

    /// Returns the sentences on the whole, without warnings.
    pub(crate) fn of_whole(&self) -> Vec<&'a Finding> {
        self.analysis.findings.iter().filter(|one| one.scenario.is_none() && !one.is_warning).collect()
    }

    /// Returns the sentences on a scenario, including its warnings.
    pub(crate) fn of_scenario(&self, scenario: &str) -> Vec<&'a Finding> {
        self.analysis.findings.iter().filter(|one| one.scenario.as_deref() == Some(scenario)).collect()
    }

    /// Returns the findings that concern the whole run.
    pub(crate) fn warnings(&self) -> Vec<&'a Finding> {
        self.analysis.findings.iter().filter(|one| one.is_warning && one.scenario.is_none()).collect()
    }

    /// Returns the parts that were not measured with the reasons, on a line each.
    pub(crate) fn skipped(&self) -> Vec<String> {
        let line = |one: &crate::record::Skipped| {
            let what = match (&one.way, &one.scenario) {
                (Some(way), Some(scenario)) => format!("{way} in {scenario}"),
                (Some(way), None) => way.clone(),
                (None, Some(scenario)) => scenario.clone(),
                (None, None) => "all".to_owned(),
            };
            format!("{what}: {}", one.why)
        };
        self.report.skipped.iter().map(line).collect()
    }
}
