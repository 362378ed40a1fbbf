//! What can be said of one scenario. Pure.

use super::lead::{Lead, lead};
use super::words::{best, list, name, ratio, sentence};
use crate::judge::sample::Sample;
use crate::judge::{Metric, Verdict};
use crate::record::Origin;

/// Leads, then each way against the reference, metric by metric. With an event the figures of all ways instead of leads.
pub(super) fn sentences(samples: &[&Sample<'_>], reference: Option<&str>, cores: usize) -> Vec<String> {
    let has_event = samples.iter().any(|sample| sample.scenario.event.is_some());
    let reference = samples.iter().find(|sample| Some(sample.way.name.as_str()) == reference).copied();
    let mut texts = Vec::new();
    if has_event {
        texts.extend(EVENT.iter().filter_map(|metric| figures(samples, *metric)));
    } else {
        texts.extend(super::LEADS.iter().filter_map(|metric| leader(samples, reference, *metric)));
        texts.extend(unfailing(samples));
    }
    if let Some(reference) = reference {
        let metrics = if has_event { &EVENT[..] } else { &STEADY[..] };
        let direct = samples.iter().find_map(|sample| direct(sample, reference, cores));
        texts.extend(metrics.iter().filter_map(|metric| {
            let is_told = |sample: &&&Sample<'_>| {
                let is_own = *metric == Metric::Rps && direct.is_some() && sample.way.origin == Origin::Direct;
                !is_own && sample.way.name != reference.way.name
            };
            if *metric == Metric::Errors && unfailing(samples).is_some() {
                return None;
            }
            compared(samples.iter().filter(is_told).copied(), reference, *metric)
        }));
        texts.extend(direct);
    }
    texts.iter().map(|text| sentence(text)).collect()
}

const STEADY: [Metric; 4] = [Metric::Rps, Metric::P99, Metric::BalancerCpu, Metric::Errors];
const EVENT: [Metric; 3] = [Metric::Errors, Metric::LongestGap, Metric::Recovery];

/// Who has the best value, if it can be told.
fn leader(samples: &[&Sample<'_>], reference: Option<&Sample<'_>>, metric: Metric) -> Option<String> {
    let value = |way: &str| {
        let sample = samples.iter().find(|sample| sample.way.name == way);
        let median = sample.and_then(|sample| sample.estimate(metric)).map(|estimate| estimate.median);
        median.map_or_else(String::new, |median| metric.format(median))
    };
    let (best, name) = (best(metric), name(metric));
    match lead(samples, metric)? {
        Lead::One(way) => {
            let other = reference.map(|sample| sample.way.name.as_str()).filter(|other| *other != way);
            let other = other.map_or_else(String::new, |other| format!(" ({other} {})", value(other)));
            Some(format!("{way} had the {best} {name}, {}{other}", value(way)))
        }
        Lead::Several(ways) => {
            let told: Vec<String> = ways.iter().map(|way| format!("{way} ({})", value(way))).collect();
            let told = list(told.iter().map(String::as_str));
            Some(format!("{told} had the {best} {name}, and no difference was found between them"))
        }
        Lead::Nobody(_) | Lead::Unclear => None,
    }
}

/// Whether all is well with all ways.
fn unfailing(samples: &[&Sample<'_>]) -> Option<String> {
    let has_none = |sample: &&Sample<'_>| sample.estimate(Metric::Errors).is_some_and(|errors| errors.sum() == 0.0);
    (!samples.is_empty() && samples.iter().all(has_none)).then(|| "No request failed".into())
}

/// Who differs from the reference and by how much, the best first; then who does not.
fn compared<'a>(
    others: impl Iterator<Item = &'a Sample<'a>>,
    reference: &Sample<'_>,
    metric: Metric,
) -> Option<String> {
    let mut different = Vec::new();
    let mut same = Vec::new();
    for other in others {
        match other.against(reference, metric) {
            Some(verdict @ Verdict::Different { ratio, .. }) => different.push((ratio, other, verdict)),
            Some(Verdict::NoDifference) => same.push(other.way.name.as_str()),
            Some(Verdict::TooFew | Verdict::Reference) | None => {}
        }
    }
    let sign = if metric.lower_is_better() == Some(false) { -1.0 } else { 1.0 };
    different.sort_by(|a, b| (a.0 * sign).total_cmp(&(b.0 * sign)));
    let (theirs, name) = (&reference.way.name, name(metric));
    let clauses: Vec<String> = different
        .iter()
        .enumerate()
        .map(|(i, (_, other, verdict))| {
            let way = &other.way.name;
            let verb = if metric == Metric::Errors { "are" } else { "is" };
            match (i, ratio(*verdict).filter(|_| metric != Metric::Errors)) {
                (0, Some((ratio, interval))) => format!("{name} of {way} {verb} {ratio} times {theirs}'s ({interval})"),
                (_, Some((ratio, interval))) => format!("of {way} {ratio} times ({interval})"),
                (0, None) => {
                    format!(
                        "{name} of {way} {verb} {} against {theirs}'s {}",
                        value(other, metric),
                        value(reference, metric)
                    )
                }
                (_, None) => format!("of {way} {}", value(other, metric)),
            }
        })
        .collect();
    match (clauses.is_empty(), same.is_empty()) {
        (true, true) => None,
        (true, false) => Some(format!("No difference from {theirs} found in {name}: {}", same.join(", "))),
        (false, true) => Some(clauses.join(", ")),
        (false, false) => Some(format!("{}; no difference found in {name}: {}", clauses.join(", "), same.join(", "))),
    }
}

/// The median; of errors those of all repetitions.
fn value(sample: &Sample<'_>, metric: Metric) -> String {
    let estimate = sample.estimate(metric);
    let value = estimate.map(|estimate| if metric == Metric::Errors { estimate.sum() } else { estimate.median });
    value.map_or_else(|| "-".into(), |value| metric.format(value))
}

/// One worker alone that answers more than all of them behind the reference: not a fault of the measurement.
fn direct(sample: &Sample<'_>, reference: &Sample<'_>, cores: usize) -> Option<String> {
    let verdict = sample.against(reference, Metric::Rps).filter(|verdict| verdict.is_better())?;
    if sample.way.origin != Origin::Direct {
        return None;
    }
    let (ratio, interval) = ratio(verdict)?;
    let (ours, theirs) = (value(sample, Metric::Rps), value(reference, Metric::Rps));
    Some(format!(
        "{} answers more than {}, {ours} against {theirs} ({ratio} times, {interval}): its connections have a hop less, and \
         generator, balancer and workers share the {cores} cores, so that more workers need not bring more",
        sample.way.name, reference.way.name
    ))
}

/// The figures of all ways.
fn figures(samples: &[&Sample<'_>], metric: Metric) -> Option<String> {
    let of_way = |sample: &&Sample<'_>| {
        sample.values.get(&metric)?;
        let never = match (metric, sample.unrecovered) {
            (Metric::Recovery, 1..) => {
                format!(" (not before the end in {} of {} repetitions)", sample.unrecovered, sample.repetitions)
            }
            _ => String::new(),
        };
        Some(format!("{} {}{never}", sample.way.name, value(sample, metric)))
    };
    let told: Vec<String> = samples.iter().filter_map(of_way).collect();
    let title = match metric {
        Metric::Errors => "Failed requests in all repetitions",
        Metric::LongestGap => "Longest gap without an answer, median",
        _ => "Time to recover, median",
    };
    (!told.is_empty()).then(|| format!("{title}: {}", told.join(", ")))
}
