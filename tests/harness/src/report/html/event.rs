//! The effect of an event: the timelines of all ways, and the failures by their kinds. Pure.

use std::collections::BTreeMap;

use super::figures::Figure;
use crate::analysis::Metric;
use crate::record::{Phase, ScenarioRecord, Tick};
use crate::report::chart::{Moment, Step, Timeline, Timelines};
use crate::report::number;
use crate::report::table::Table;
use crate::report::verdict;
use crate::report::view::{Entry, View, median};

/// Returns the figure with one small chart for each way; `None` if nothing was recorded over time.
pub(crate) fn timelines(view: View<'_>, scenario: &ScenarioRecord) -> Option<Figure> {
    let event = scenario.event.as_deref()?;
    let all: Vec<Timeline> = view
        .entries(&scenario.name)
        .iter()
        .map(|entry| timeline(event, entry, &view.headline_phases(scenario, &entry.way.name)))
        .filter(|one| !one.steps.is_empty())
        .collect();
    if all.is_empty() {
        return None;
    }
    let about = "Above: 99th percentile of the answers that were due in each tenth of a second, the median of the \
                 repetitions as a line, the worst one as a thin line; a gap is a step without any answer. Below, red: \
                 failures of the worst repetition. The dashed line is the event; shaded: as long as the order took.";
    let axes = Timelines::new(&all, Tick::SECONDS, number::seconds, number::digits);
    Some(Figure {
        title: format!("Around the {event}: latency and failures over time"),
        about: about.to_owned(),
        charts: all.iter().map(|one| axes.draw(about, one)).collect(),
        table: table(&all),
    })
}

fn timeline(event: &str, entry: &Entry<'_>, phases: &[&Phase]) -> Timeline {
    let figure = |metric| entry.estimate(metric).map(|estimate| verdict::value(metric, estimate));
    let mut figures = Vec::new();
    figures.extend(figure(Metric::Errors).map(|text| format!("errors {text}")));
    figures.extend(figure(Metric::LongestGap).map(|text| format!("gap {text}")));
    figures.extend(figure(Metric::Recovery).map(|text| format!("recovery {text}")));
    let events = || phases.iter().filter_map(|phase| phase.event.as_ref());
    let moment = median(events().map(|event| event.at).collect()).map(|at| Moment {
        what: format!("{event} at {}", number::seconds(at)),
        at,
        until: median(events().filter_map(|event| event.took).collect()).map(|took| at + took),
    });
    let length = phases.iter().map(|phase| phase.timeline.len()).max().unwrap_or(0);
    Timeline {
        way: entry.number,
        label: entry.way.name.clone(),
        figures: figures.join(", "),
        steps: (0..length).map(|i| step(phases, i)).collect(),
        moment,
    }
}

fn step(phases: &[&Phase], i: usize) -> Step {
    let ticks = || phases.iter().filter_map(|phase| phase.timeline.get(i));
    let answered = || ticks().filter(|tick| tick.done > 0 && tick.p99.is_finite()).map(|tick| tick.p99);
    Step {
        p99: median(answered().collect()),
        worst: answered().reduce(f64::max),
        errors: ticks().map(|tick| tick.errors).max().unwrap_or(0) as f64,
    }
}

fn table(all: &[Timeline]) -> Table {
    let mut table = Table { heads: vec!["from".to_owned()], rows: Vec::new() };
    for one in all {
        table.heads.extend(["p99", "worst p99", "failures"].map(|head| format!("{} {head}", one.label)));
    }
    let length = all.iter().map(|one| one.steps.len()).max().unwrap_or(0);
    for i in 0..length {
        let mut row = vec![format!("{:.1} s", i as f64 * Tick::SECONDS)];
        for one in all {
            let step = one.steps.get(i).copied().unwrap_or_default();
            let text = |value: Option<f64>| value.map_or_else(|| number::NONE.to_owned(), number::seconds);
            row.extend([text(step.p99), text(step.worst), number::digits(step.errors)]);
        }
        table.rows.push(row);
    }
    table
}

/// Returns the failures of each way by kind, over all complete repetitions; `None` if no request failed.
pub(crate) fn failures(view: View<'_>, scenario: &ScenarioRecord) -> Option<Table> {
    let mut table = Table::new(["way", "failures of all repetitions, by kind"]);
    for entry in view.entries(&scenario.name) {
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for one in view.complete(&scenario.name, &entry.way.name) {
            for (kind, count) in one.phases.iter().flat_map(|phase| &phase.errors) {
                *kinds.entry(kind).or_default() += count;
            }
        }
        let texts: Vec<String> = kinds
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(kind, count)| format!("{kind} {}", number::digits(*count as f64)))
            .collect();
        if !texts.is_empty() {
            table.rows.push(vec![entry.way.name.clone(), texts.join(", ")]);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}
