//! The sentences about all scenarios together. Pure.

use super::lead::{Lead, lead};
use super::words::{best, list, name, sentence};
use crate::analysis::Metric;
use crate::analysis::sample::Sample;

/// The number of names that a reader can take in.
const NAMES: usize = 4;

/// Returns one sentence for each metric with leaders, and one about the events that no request noticed.
pub(super) fn sentences(by_scenario: &[Vec<&Sample<'_>>]) -> Vec<String> {
    let mut sentences: Vec<String> =
        super::LEADS.iter().filter_map(|metric| leads(by_scenario, *metric)).map(|text| sentence(&text)).collect();
    sentences.extend(unnoticed(by_scenario).map(|text| sentence(&text)));
    sentences
}

/// Names the ways that led in each scenario; scenarios with an event are not counted here.
fn leads(by_scenario: &[Vec<&Sample<'_>>], metric: Metric) -> Option<String> {
    let mut outcomes: Vec<(Lead<'_>, Vec<&str>)> = Vec::new();
    let mut scenarios = 0;
    let steady = by_scenario.iter().filter(|samples| samples.iter().all(|sample| sample.scenario.event.is_none()));
    for samples in steady {
        let (Some(first), Some(lead)) = (samples.first(), lead(samples, metric)) else { continue };
        let scenario = first.scenario.name.as_str();
        scenarios += 1;
        match outcomes.iter_mut().find(|(known, _)| *known == lead) {
            Some((_, names)) => names.push(scenario),
            None => outcomes.push((lead, vec![scenario])),
        }
    }
    // Winners come first, and of these the way that won most scenarios.
    outcomes.sort_by_key(|(lead, names)| (!matches!(lead, Lead::One(_)), std::cmp::Reverse(names.len())));
    let clauses: Vec<String> = outcomes.iter().map(|(lead, names)| clause(lead, names, scenarios, metric)).collect();
    let text = clauses.join("; ");
    // A sentence that begins with a way's name keeps the name's letters; any other one begins with a capital.
    let text = text.strip_prefix("in ").map_or(text.clone(), |rest| format!("In {rest}"));
    (!text.is_empty()).then_some(text)
}

/// Writes the scenarios that ended alike, out of all `scenarios` with a result for that metric.
fn clause(lead: &Lead<'_>, names: &[&str], scenarios: usize, metric: Metric) -> String {
    let (best, metric, told) = (best(metric), name(metric), list(names.iter().copied()));
    match lead {
        Lead::One(way) if scenarios == 1 => format!("{way} had the {best} {metric} in {told}"),
        Lead::One(way) => format!("{way} had the {best} {metric} in {} of {scenarios} scenarios ({told})", names.len()),
        Lead::Several(ways) => {
            let ways = list(ways.iter().copied());
            format!("in {told} {ways} had the {best} {metric}, and no difference was found between them")
        }
        Lead::Nobody(ways) if ways.len() > NAMES => {
            let count = ways.len();
            format!("in {told} no difference in {metric} was found between any two of the {count} ways that distribute")
        }
        Lead::Nobody(ways) => {
            format!("in {told} no difference in {metric} was found between {}", list(ways.iter().copied()))
        }
        Lead::Unclear => format!("in {told} no single way had the {best} {metric}"),
    }
}

/// Names the ways that lost no request in any scenario with an event; only ways that went through all of them count.
fn unnoticed(by_scenario: &[Vec<&Sample<'_>>]) -> Option<String> {
    let eventful: Vec<_> =
        by_scenario.iter().filter(|samples| samples.iter().any(|sample| sample.scenario.event.is_some())).collect();
    let scenarios = eventful.iter().filter_map(|samples| Some(samples.first()?.scenario.name.as_str()));
    let first = eventful.first()?;
    let is_clean = |way: &str| {
        eventful.iter().all(|samples| {
            let sample = samples.iter().find(|sample| sample.way.name == way);
            let errors = sample.and_then(|sample| sample.estimate(Metric::Errors));
            errors.is_some_and(|errors| errors.sum() == 0.0)
        })
    };
    let clean: Vec<&str> = first.iter().map(|sample| sample.way.name.as_str()).filter(|way| is_clean(way)).collect();
    let scenarios = list(scenarios);
    match clean.len() {
        0 => None,
        count if count > 1 && count == first.len() => Some(format!("No request failed with any way in {scenarios}")),
        _ => Some(format!("With {} no request failed in {scenarios}", list(clean))),
    }
}
