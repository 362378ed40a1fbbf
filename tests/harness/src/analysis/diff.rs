//! Compares two reports that were made at different times: shows what has changed. Pure.

use std::collections::BTreeMap;

use super::sample::{Sample, samples};
use super::{Estimate, Metric, Verdict, compare};
use crate::record::Report;

/// The cells that two reports have in common, and their changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diff {
    /// One entry for each metric that both have: first those that changed, the greatest change first; then the rest in
    /// the plan's order.
    pub changes: Vec<Change>,
    /// The scenario and way of cells that only the old report has.
    pub only_old: Vec<(String, String)>,
    /// The same for the new report.
    pub only_new: Vec<(String, String)>,
    /// The reasons why they may not be comparable, in sentences.
    pub notes: Vec<String>,
}

/// One metric of one way in one scenario, in both reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The scenario's name.
    pub scenario: String,
    /// The way's name.
    pub way: String,
    /// The metric that is compared.
    pub metric: Metric,
    /// Its value in the old report.
    pub old: Estimate,
    /// Its value in the new report.
    pub new: Estimate,
    /// The verdict on the new value against the old one. The two were not measured in pairs, so they differ if the
    /// intervals of the medians do not overlap, by more than the metric's threshold.
    pub verdict: Verdict,
}

/// Compares two reports. A cell that is not measured completely in both is not a change; it is listed by name.
pub fn diff(old: &Report, new: &Report) -> Diff {
    let (olds, news) = (samples(old), samples(new));
    let only = |these: &[Sample<'_>], those: &[Sample<'_>]| -> Vec<(String, String)> {
        let missing = these.iter().filter(|sample| find(those, sample).is_none());
        missing.map(|sample| (sample.scenario.name.clone(), sample.way.name.clone())).collect()
    };
    let both = news.iter().filter_map(|new| Some((find(&olds, new)?, new)));
    let mut changes: Vec<Change> = both
        .flat_map(|(old, new)| Metric::ALL.into_iter().filter_map(move |metric| change(old, new, metric)))
        .collect();
    changes.sort_by(|a, b| size(&b.verdict).total_cmp(&size(&a.verdict)));
    Diff { changes, only_old: only(&olds, &news), only_new: only(&news, &olds), notes: notes(old, new) }
}

/// Returns the sample of the same way in the same scenario.
fn find<'a, 'r>(samples: &'a [Sample<'r>], like: &Sample<'_>) -> Option<&'a Sample<'r>> {
    samples.iter().find(|one| one.scenario.name == like.scenario.name && one.way.name == like.way.name)
}

fn change(old: &Sample<'_>, new: &Sample<'_>, metric: Metric) -> Option<Change> {
    let (old_value, new_value) = (old.estimate(metric)?, new.estimate(metric)?);
    let verdict = compare::unpaired(&new_value, &old_value, metric);
    Some(Change {
        scenario: new.scenario.name.clone(),
        way: new.way.name.clone(),
        metric,
        old: old_value,
        new: new_value,
        verdict,
    })
}

/// Returns the distance from "no change".
fn size(verdict: &Verdict) -> f64 {
    match verdict {
        Verdict::Different { ratio, .. } => ratio.ln().abs(),
        Verdict::Reference | Verdict::TooFew | Verdict::NoDifference => 0.0,
    }
}

/// Notes differences between the machines, methods and rates.
fn notes(old: &Report, new: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    let machine = |report: &Report| {
        let environment = &report.environment;
        BTreeMap::from([
            ("cpu", environment.cpu.clone()),
            ("cores", environment.cores.to_string()),
            ("kernel", environment.kernel.clone()),
            ("workload", environment.workload.clone()),
        ])
    };
    let method = |report: &Report| {
        let method = &report.method;
        BTreeMap::from([
            ("workers", method.workers.to_string()),
            ("connections", method.connections.to_string()),
            ("seconds of the closed loop", method.closed_seconds.to_string()),
            ("seconds of the open loop", method.open_seconds.to_string()),
            ("rate", method.rate.map_or_else(|| "auto".into(), |rate| rate.to_string())),
            ("shares", method.shares.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")),
        ])
    };
    let pairs =
        [("Measured on another machine", machine(old), machine(new)), ("Measured otherwise", method(old), method(new))];
    for (title, old, new) in pairs {
        let differing =
            old.iter().filter_map(|(what, old)| Some((what, old, new.get(what).filter(|new| *new != old)?)));
        let told: Vec<String> = differing.map(|(what, old, new)| format!("{what} {old}, now {new}")).collect();
        if !told.is_empty() {
            notes.push(format!("{title}: {}.", told.join("; ")));
        }
    }
    notes.extend(rates(old, new));
    notes
}

/// Notes different rates of the open loop: they follow from the saturation that was found.
fn rates(old: &Report, new: &Report) -> Option<String> {
    let is_other = |a: &[f64], b: &[f64]| {
        let differ = |(a, b): (&f64, &f64)| (a - b).abs() > 0.03 * a.max(*b);
        a.len() != b.len() || a.iter().zip(b).any(differ)
    };
    let both = new.scenarios.iter().filter_map(|new| {
        let old = old.scenarios.iter().find(|old| old.name == new.name)?;
        is_other(&old.rates, &new.rates).then_some(new.name.as_str())
    });
    let names: Vec<&str> = both.collect();
    let names = names.join(", ");
    (!names.is_empty())
        .then(|| format!("Latencies are not of the same load: the rates of {names} differ by more than 3 %."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::planted::{Level, Planted};

    fn report(seed: u64, repeat: usize, rps: f64) -> Report {
        let mut planted = Planted::new(seed, repeat);
        planted.cell("uniform", "round-robin", Level { rps, ..Level::default() });
        planted.cell("uniform", "p2c", Level::default());
        planted.report()
    }

    #[test]
    fn real_change_is_found_and_comes_first_and_noise_is_none() {
        let diff = diff(&report(1, 5, 2000.0), &report(2, 5, 1700.0));
        let found: Vec<_> = diff.changes.iter().filter(|change| size(&change.verdict) > 0.0).collect();
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(diff.changes.first(), found.first().copied());
        assert_eq!((found[0].way.as_str(), found[0].metric), ("round-robin", Metric::Rps));
        let Verdict::Different { is_better: false, ratio, low, high } = found[0].verdict else { panic!("{found:?}") };
        assert!((0.82..0.88).contains(&ratio) && low < ratio && ratio < high, "{ratio} {low} {high}");
        assert!(diff.changes.len() > 10 && diff.notes.is_empty(), "{:?}", diff.notes);
    }

    #[test]
    fn cell_of_one_report_only_is_named_and_no_change() {
        let old = report(1, 5, 2000.0);
        let mut new = report(2, 5, 2000.0);
        new.repetitions.retain(|one| one.way != "p2c");
        new.ways.retain(|way| way.name != "p2c");
        let diff = diff(&old, &new);
        assert_eq!(diff.only_old, [("uniform".to_owned(), "p2c".to_owned())]);
        assert!(diff.only_new.is_empty());
        assert!(diff.changes.iter().all(|change| change.way == "round-robin"));
    }

    #[test]
    fn too_few_repetitions_give_no_verdict() {
        let diff = diff(&report(1, 4, 2000.0), &report(2, 5, 1000.0));
        assert!(diff.changes.iter().all(|change| change.verdict == Verdict::TooFew));
    }

    #[test]
    fn another_machine_another_method_and_other_rates_are_noted() {
        let old = report(1, 5, 2000.0);
        let mut new = report(2, 5, 2000.0);
        new.environment.cores = 8;
        new.method.connections = 32;
        new.scenarios[0].rates = vec![600.0, 840.0];
        assert_eq!(
            diff(&old, &new).notes,
            [
                "Measured on another machine: cores 2, now 8.",
                "Measured otherwise: connections 64, now 32.",
                "Latencies are not of the same load: the rates of uniform differ by more than 3 %.",
            ]
        );
    }
}
