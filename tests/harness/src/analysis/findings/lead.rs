//! Finds the way that leads, if one does. Pure.

use crate::analysis::sample::Sample;
use crate::analysis::{LEAST_REPETITIONS, Metric, Verdict};
use crate::record::Origin;

/// The ways with the best value of a metric in a scenario. `direct` does not take part: it distributes nothing.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Lead<'a> {
    /// One is better than all others.
    One(&'a str),
    /// Some do not differ from each other, and each is better than all others.
    Several(Vec<&'a str>),
    /// No two differ.
    Nobody(Vec<&'a str>),
    /// Some differ, but there is no clear group of best ones.
    Unclear,
}

/// Returns the lead; `None` if fewer than two ways have enough repetitions, or the metric has no better end.
pub(super) fn lead<'a>(samples: &[&'a Sample<'_>], metric: Metric) -> Option<Lead<'a>> {
    let lower_is_better = metric.lower_is_better()?;
    let is_enough = |sample: &Sample<'_>| sample.values.get(&metric).is_some_and(|all| all.len() >= LEAST_REPETITIONS);
    let mut ranked: Vec<(&Sample<'_>, f64)> = samples
        .iter()
        .filter(|sample| sample.way.origin != Origin::Direct && is_enough(sample))
        .filter_map(|sample| Some((*sample, sample.estimate(metric)?.median)))
        .collect();
    if ranked.len() < 2 {
        return None;
    }
    ranked.sort_by(|a, b| if lower_is_better { a.1.total_cmp(&b.1) } else { b.1.total_cmp(&a.1) });
    let ranked: Vec<&Sample<'_>> = ranked.into_iter().map(|(sample, _)| sample).collect();
    let compared = |a: &Sample<'_>, b: &Sample<'_>| a.against(b, metric);
    let (first, others) = ranked.split_first()?;
    let behind = others.iter().position(|other| compared(first, other).is_some_and(|verdict| verdict.is_better()));
    let (group, rest) = ranked.split_at(behind.map_or(ranked.len(), |behind| behind + 1));
    let are_alike = group
        .iter()
        .enumerate()
        .all(|(i, a)| group.iter().skip(i + 1).all(|b| compared(a, b) == Some(Verdict::NoDifference)));
    let are_ahead =
        group.iter().all(|a| rest.iter().all(|b| compared(a, b).is_some_and(|verdict| verdict.is_better())));
    let names =
        || samples.iter().filter(|s| group.iter().any(|g| g.way.name == s.way.name)).map(|s| s.way.name.as_str());
    Some(match (are_alike && are_ahead, group.len(), rest.len()) {
        (false, ..) => Lead::Unclear,
        (true, 1, _) => Lead::One(&first.way.name),
        (true, _, 0) => Lead::Nobody(names().collect()),
        (true, ..) => Lead::Several(names().collect()),
    })
}
