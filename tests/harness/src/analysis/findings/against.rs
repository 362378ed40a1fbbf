//! One sentence that compares all other ways with the reference in one metric, however many there are. Pure.

use super::words::{less_or_more, list, name, ratio};
use crate::analysis::sample::Sample;
use crate::analysis::{Metric, Verdict, format_ratio};

/// The number of names that a reader can take in. For a larger group only the count is written; the table has the
/// values.
const NAMES: usize = 3;

/// Writes the ways that differ, better ones first, with the range of their ratios; then the ways without a difference.
/// `None` if no way has a verdict.
pub(super) fn against(others: &[&Sample<'_>], reference: &Sample<'_>, metric: Metric) -> Option<String> {
    let mut less = Vec::new();
    let mut more = Vec::new();
    let mut same = Vec::new();
    let mut are_all_judged = true;
    for other in others {
        match other.against(reference, metric) {
            Some(verdict @ Verdict::Different { ratio, .. }) if ratio < 1.0 => less.push((*other, verdict)),
            Some(verdict @ Verdict::Different { .. }) => more.push((*other, verdict)),
            Some(Verdict::NoDifference) => same.push(other.way.name.as_str()),
            Some(Verdict::TooFew | Verdict::Reference) => are_all_judged = false,
            // A metric that does not apply to a way is not mentioned for it.
            None => {}
        }
    }
    let (less_word, more_word) = less_or_more(metric);
    let mut groups = [(less_word, less), (more_word, more)];
    if metric.lower_is_better() == Some(false) {
        groups.reverse();
    }
    let theirs = format!("{}'s {}", reference.way.name, value(reference, metric));
    let mut clauses: Vec<String> = Vec::new();
    for (word, group) in groups.iter().filter(|(_, group)| !group.is_empty()) {
        let than = if clauses.is_empty() { format!(" than {theirs}") } else { String::new() };
        let names = list(group.iter().map(|(other, _)| other.way.name.as_str()));
        clauses.push(format!("{word}{than} with {names} ({})", range(group, metric)));
    }
    match (clauses.is_empty(), same.len(), are_all_judged) {
        (true, 0, _) => return None,
        (false, 0, _) => {}
        (true, 2.., true) => clauses.push(format!("no difference from {theirs} found with any other way")),
        (true, ..) => clauses.push(format!("no difference from {theirs} found with {}", list(same))),
        (false, count, true) if count > NAMES => {
            clauses.push(format!("no difference found with the {count} others"));
        }
        (false, ..) => clauses.push(format!("no difference found with {}", list(same))),
    }
    Some(format!("{}: {}", name(metric), clauses.join("; ")))
}

/// Writes the ratio and interval of one way, or the range of the ratios of several; or the values if there are no
/// ratios.
fn range(group: &[(&Sample<'_>, Verdict)], metric: Metric) -> String {
    let ratios: Option<Vec<_>> = group.iter().map(|(_, verdict)| ratio(*verdict)).collect();
    let ends = |mut values: Vec<f64>, format: &dyn Fn(f64) -> String| {
        values.sort_by(f64::total_cmp);
        let mut ends =
            [values.first(), values.last()].map(|end| end.map_or_else(String::new, |end| format(*end))).to_vec();
        ends.dedup();
        ends.join(" to ")
    };
    match (ratios.as_deref(), group) {
        (Some([(ratio, interval)]), _) => format!("{ratio} times, {interval}"),
        (Some(_), _) => {
            let ratio = |verdict: &Verdict| if let Verdict::Different { ratio, .. } = verdict { *ratio } else { 1.0 };
            format!("{} times", ends(group.iter().map(|(_, verdict)| ratio(verdict)).collect(), &format_ratio))
        }
        (None, _) => {
            let medians = group.iter().filter_map(|(other, _)| Some(other.estimate(metric)?.median));
            ends(medians.collect(), &|median| metric.format(median))
        }
    }
}

/// Writes the median.
pub(super) fn value(sample: &Sample<'_>, metric: Metric) -> String {
    sample.estimate(metric).map_or_else(|| "-".into(), |estimate| metric.format(estimate.median))
}
