//! The verdict in plain sentences. Pure.
//!
//! A sentence that calls a way better, worse, lowest or highest says what a [`Verdict`](super::Verdict) says; values
//! in them are medians, as in the tables. Between ways that do not differ from each other there is no winner. A metric
//! has as many sentences with twelve ways as with two: names are grouped, and each way's numbers are the table's
//! matter.

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

/// First of the whole, then of each scenario in the order of the plan, then what to mind.
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

/// The metrics whose leads are told: the two that people choose by.
const LEADS: [Metric; 2] = [Metric::P99, Metric::Rps];
