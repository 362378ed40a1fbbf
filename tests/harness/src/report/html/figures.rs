//! The figures of a scenario: each a chart, and the table with its numbers. Pure.

use crate::analysis::Metric;
use crate::record::{Phase, ScenarioRecord};
use crate::report::chart::{Bar, Line, Row, Said, bars, lines, stacked};
use crate::report::number;
use crate::report::table::Table;
use crate::report::verdict::{self, Shown};
use crate::report::view::{Entry, PERCENTS, View, median, shares};

/// A chart, a hint for reading it, and its numbers.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// The title of the figure.
    pub(crate) title: String,
    /// The hint for reading it.
    pub(crate) about: String,
    /// The charts; timelines have one for each way.
    pub(crate) charts: Vec<String>,
    /// The same numbers as a table.
    pub(crate) table: Table,
}

/// Returns the figures that apply, in their order.
pub(crate) fn figures(view: View<'_>, scenario: &ScenarioRecord) -> Vec<Figure> {
    let entries = view.entries(&scenario.name);
    let all = [throughput(&entries), latency(view, scenario, &entries), fairness(view, scenario, &entries)];
    all.into_iter().chain([processors(view, scenario, &entries)]).flatten().collect()
}

fn throughput(entries: &[Entry<'_>]) -> Option<Figure> {
    let mut table = Table::new(["way", "median", "95 % interval", "least\u{2013}most", "compared"]);
    let mut all = Vec::new();
    for entry in entries {
        let (Some(estimate), Some(shown)) = (entry.estimate(Metric::Rps), verdict::shown(entry, Metric::Rps)) else {
            continue;
        };
        let Shown { value, interval, spread, word, .. } = shown;
        let name = entry.way.name.clone();
        all.push(Bar {
            way: entry.number,
            said: format!("{name}: {value}, 95 % interval {interval}, least to most {spread}"),
            label: name.clone(),
            shown: value.clone(),
            value: estimate.median,
            interval: (estimate.low, estimate.high),
            spread: (estimate.least, estimate.most),
        });
        table.rows.push(vec![name, value, interval, spread, word.text]);
    }
    let title = "Saturation: answers a second";
    let about = "Closed loop. Bar: median of the repetitions; thin line: least to most; thick line: 95 % interval of the median.";
    let chart = || bars(Said { title, about }, &all, number::rate);
    (!all.is_empty()).then(|| figure(title.to_owned(), about.to_owned(), chart(), table))
}

fn latency(view: View<'_>, scenario: &ScenarioRecord, entries: &[Entry<'_>]) -> Option<Figure> {
    let rate = view.headline(scenario)?;
    let has_any = |percent: &f64| {
        entries.iter().any(|entry| view.percentile(&scenario.name, &entry.way.name, rate, *percent).is_some())
    };
    let percents: Vec<(f64, String)> =
        PERCENTS.into_iter().filter(has_any).map(|percent| (percent, number::percentile(percent))).collect();
    let mut table = Table::new(["way"].into_iter().chain(percents.iter().map(|(_, name)| name.as_str())));
    let mut all = Vec::new();
    for entry in entries {
        let name = &entry.way.name;
        let values: Vec<Option<f64>> =
            percents.iter().map(|(percent, _)| view.percentile(&scenario.name, name, rate, *percent)).collect();
        let shown: Vec<String> =
            values.iter().map(|value| value.map_or_else(|| number::NONE.to_owned(), number::seconds)).collect();
        let said: Vec<String> =
            percents.iter().zip(&shown).map(|((_, name), value)| format!("{name} {value}")).collect();
        all.push(Line {
            way: entry.number,
            label: name.clone(),
            said: format!("{name}: {}", said.join(", ")),
            is_reference: view.reference() == Some(name),
            values,
        });
        table.rows.push([name.clone()].into_iter().chain(shown).collect());
    }
    let title = format!("Latency by percentile, at {} requests/s", number::digits(rate));
    let about = "Open loop, the same rate for all. Each point is the median of the repetitions; lower is better. \
                 Thicker: what the others are compared with.";
    let chart = || lines(Said { title: &title, about }, &percents, &all, number::seconds);
    all.iter()
        .any(|line| line.values.iter().any(Option::is_some))
        .then(|| figure(title.clone(), about.to_owned(), chart(), table))
}

fn fairness(view: View<'_>, scenario: &ScenarioRecord, entries: &[Entry<'_>]) -> Option<Figure> {
    let found: Vec<(&Entry<'_>, Vec<f64>)> = entries
        .iter()
        .map(|entry| (entry, shares(&view.headline_phases(scenario, &entry.way.name))))
        .filter(|(_, shares)| shares.len() > 1)
        .collect();
    let most = found.iter().map(|(_, shares)| shares.len()).max()?;
    let ranks: Vec<String> = (1..=most).map(|rank| format!("worker {rank}")).collect();
    let mut table = Table::new(["way"].into_iter().chain(ranks.iter().map(String::as_str)).chain(["fairness"]));
    let mut all = Vec::new();
    for (entry, shares) in found {
        let name = &entry.way.name;
        let texts: Vec<String> = shares.iter().map(|share| number::percent(*share)).collect();
        let index = entry
            .estimate(Metric::Fairness)
            .map_or_else(|| number::NONE.to_owned(), |estimate| verdict::value(Metric::Fairness, estimate));
        let missing = vec![number::NONE.to_owned(); most - texts.len()];
        table.rows.push([vec![name.clone()], texts.clone(), missing, vec![index.clone()]].concat());
        let said = format!("{name}: {}; fairness {index}", texts.join(", "));
        all.push(Row { way: entry.number, label: name.clone(), shown: index, said, parts: shares });
    }
    let title = "Share of the answers by worker";
    let about = "Each piece is a worker, in each repetition the busiest first. Where answers do not say whose \
                 they are, it is the workers' processor time. At the right the fairness (Jain's index): 1 is even.";
    let chart = stacked(Said { title, about }, &[], &all, number::percent);
    Some(figure(title.to_owned(), about.to_owned(), chart, table))
}

fn processors(view: View<'_>, scenario: &ScenarioRecord, entries: &[Entry<'_>]) -> Option<Figure> {
    let names = ["balancer", "workers", "generator"];
    let mut table = Table::new(["way", names[0], names[1], names[2], "all"]);
    let mut all = Vec::new();
    for entry in entries {
        let name = &entry.way.name;
        let phases = view.headline_phases(scenario, name);
        let generator = median(phases.iter().map(|phase| an_answer(phase)).collect());
        let of = |metric| entry.estimate(metric).map(|estimate| estimate.median);
        let parts = [of(Metric::BalancerCpu), of(Metric::WorkersCpu), generator];
        let sum: f64 = parts.iter().flatten().sum();
        if parts.iter().flatten().next().is_none() {
            continue;
        }
        let texts = parts.map(|part| part.map_or_else(|| number::NONE.to_owned(), number::seconds));
        let total = number::seconds(sum);
        table.rows.push([vec![name.clone()], texts.to_vec(), vec![total.clone()]].concat());
        let said =
            format!("{name}: balancer {}, workers {}, generator {}; {total} in all", texts[0], texts[1], texts[2]);
        let parts = parts.map(|part| part.unwrap_or(0.0)).to_vec();
        all.push(Row { way: entry.number, label: name.clone(), shown: total, said, parts });
    }
    let title = "CPU time of one answer";
    let about = "Processor time through complete answers, at the headline rate; lower is better. The balancer's part is \
                 what the way itself costs. At the right the sum.";
    let chart = || stacked(Said { title, about }, &names, &all, number::seconds);
    (!all.is_empty()).then(|| figure(title.to_owned(), about.to_owned(), chart(), table))
}

fn an_answer(phase: &Phase) -> f64 {
    if phase.done > 0 { phase.cpu.generator / phase.done as f64 } else { f64::NAN }
}

fn figure(title: String, about: String, chart: String, table: Table) -> Figure {
    Figure { title, about, charts: vec![chart], table }
}
