//! The verdict in plain sentences. Pure.
//!
//! A sentence that calls a way better, worse, lowest or highest repeats a [`Verdict`](super::Verdict). Its values are
//! medians, as in the tables. Ways that do not differ from each other have no winner among them. The number of
//! sentences for a metric does not grow with the number of ways: names are grouped, and the table has the numbers of
//! each way.

mod against;
mod lead;
mod scenario;
#[cfg(test)]
mod tests;
mod warnings;
mod whole;
mod words;

use super::sample::Sample;
use super::{Finding, Metric};
use crate::record::Report;

/// Returns the findings about the whole, then about each scenario in the order of the plan, then the warnings.
pub(crate) fn findings(report: &Report, samples: &[Sample<'_>], reference: Option<&str>) -> Vec<Finding> {
    let by_scenario: Vec<Vec<&Sample<'_>>> = report
        .scenarios
        .iter()
        .map(|scenario| samples.iter().filter(|sample| sample.scenario.name == scenario.name).collect())
        .collect();
    let mut findings: Vec<Finding> =
        whole::sentences(&by_scenario).into_iter().map(|text| finding(None, false, text)).collect();
    for (scenario, samples) in report.scenarios.iter().zip(&by_scenario) {
        let sentences = scenario::sentences(samples, reference, report.environment.cores);
        findings.extend(sentences.into_iter().map(|text| finding(Some(&scenario.name), false, text)));
    }
    findings.extend(warnings::findings(report, samples));
    findings
}

fn finding(scenario: Option<&str>, is_warning: bool, text: String) -> Finding {
    Finding { scenario: scenario.map(str::to_owned), is_warning, text }
}

/// The metrics whose leaders are named: the two by which people choose.
const LEADS: [Metric; 2] = [Metric::P99, Metric::Rps];
