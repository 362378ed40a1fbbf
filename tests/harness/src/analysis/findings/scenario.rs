//! The sentences about one scenario: few, however many ways there are; the table has the rest. Pure.

use super::against::{against, value};
use super::lead::{Lead, lead};
use super::words::{best, list, name, sentence};
use crate::analysis::Metric;
use crate::analysis::sample::Sample;
use crate::record::Origin;

/// The metrics that are compared in a scenario without an event; the next list is for one with an event.
const STEADY: [Metric; 3] = [Metric::Rps, Metric::P99, Metric::Cpu];
const EVENT: [Metric; 2] = [Metric::LongestGap, Metric::Recovery];

/// Returns the failed ways; then the leaders, unless there is an event; then all ways against the reference, by metric.
pub(super) fn sentences(samples: &[&Sample<'_>], reference: Option<&str>, cores: usize) -> Vec<String> {
    let has_event = samples.iter().any(|sample| sample.scenario.event.is_some());
    let reference = samples.iter().find(|sample| Some(sample.way.name.as_str()) == reference).copied();
    let mut texts: Vec<String> = failed(samples).into_iter().collect();
    if !has_event {
        texts.extend(super::LEADS.iter().filter_map(|metric| leader(samples, reference, *metric)));
    }
    if let Some(reference) = reference {
        let is_other = |sample: &&Sample<'_>| sample.way.name != reference.way.name;
        let others: Vec<_> = samples.iter().copied().filter(is_other).collect();
        let metrics = if has_event { &EVENT[..] } else { &STEADY[..] };
        let is_told = |metric: &&Metric| samples.iter().any(|sample| is_above_0(sample, **metric));
        texts.extend(metrics.iter().filter(is_told).filter_map(|metric| against(&others, reference, *metric)));
        texts.extend(others.iter().find_map(|sample| direct(sample, reference, cores)));
    }
    texts.extend(unrecovered(samples));
    texts.iter().map(|text| sentence(text)).collect()
}

/// Returns true if there is something to report, such as a gap or a recovery.
fn is_above_0(sample: &Sample<'_>, metric: Metric) -> bool {
    sample.estimate(metric).is_some_and(|estimate| estimate.most > 0.0)
}

/// Names the ways with failed requests and counts them; `None` if no request failed.
fn failed(samples: &[&Sample<'_>]) -> Option<String> {
    let counted: Vec<_> =
        samples.iter().filter_map(|sample| Some((sample, sample.estimate(Metric::Errors)?.sum()))).collect();
    let failed = counted.iter().filter(|(_, sum)| *sum > 0.0);
    let told: Vec<_> =
        failed.map(|(sample, sum)| format!("{} {}", sample.way.name, Metric::Errors.format(*sum))).collect();
    match (counted.len(), told.len()) {
        (0, _) => None,
        (_, 0) => Some("No request failed".into()),
        (all, some) => {
            let others = if some < all { "; none with any other way" } else { "" };
            Some(format!("Failed requests in all repetitions: {}{others}", told.join(", ")))
        }
    }
}

/// Names the way with the best value, if it is clear.
fn leader(samples: &[&Sample<'_>], reference: Option<&Sample<'_>>, metric: Metric) -> Option<String> {
    let of_way = |way: &str| {
        let sample = samples.iter().find(|sample| sample.way.name == way);
        sample.map_or_else(String::new, |sample| value(sample, metric))
    };
    let (best, name) = (best(metric), name(metric));
    match lead(samples, metric)? {
        Lead::One(way) => {
            let other = reference.map(|sample| sample.way.name.as_str()).filter(|other| *other != way);
            let other = other.map_or_else(String::new, |other| format!(" ({other} {})", of_way(other)));
            Some(format!("{way} had the {best} {name}, {}{other}", of_way(way)))
        }
        Lead::Several(ways) => {
            let told: Vec<String> = ways.iter().map(|way| format!("{way} ({})", of_way(way))).collect();
            let told = list(told.iter().map(String::as_str));
            Some(format!("{told} had the {best} {name}, and no difference was found between them"))
        }
        Lead::Nobody(_) | Lead::Unclear => None,
    }
}

/// Notes that one worker alone answers more than all workers behind the reference, which is not a mistake of the
/// measurement.
fn direct(sample: &Sample<'_>, reference: &Sample<'_>, cores: usize) -> Option<String> {
    let is_it = sample.way.origin == Origin::Direct;
    let is_ahead = sample.against(reference, Metric::Rps).is_some_and(|verdict| verdict.is_better());
    (is_it && is_ahead).then(|| {
        format!(
            "{} answers more since its connections have a hop less, and generator, balancer and workers share the {cores} \
             cores, so that more workers need not bring more",
            sample.way.name
        )
    })
}

/// The ways on which the event still had an effect at the end.
fn unrecovered(samples: &[&Sample<'_>]) -> Option<String> {
    let told: Vec<String> = samples
        .iter()
        .filter(|sample| sample.unrecovered > 0)
        .map(|sample| format!("{} in {} of {}", sample.way.name, sample.unrecovered, sample.repetitions))
        .collect();
    (!told.is_empty()).then(|| format!("Not recovered at the end of a repetition: {}", told.join(", ")))
}
