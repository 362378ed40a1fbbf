//! The page: everything in one file, without a script, readable on a phone, in the dark, and on paper. Pure.

mod event;
mod figures;

use askama::Template;

use self::figures::Figure;
use super::chart::palette;
use super::table::Table;
use super::verdict::{self, Shown};
use super::view::{Entry, View};
use super::{method, number};
use crate::analysis::{Analysis, Finding, Metric};
use crate::failure::{Failure, code};
use crate::record::{Report, ScenarioRecord};

/// The style sheet; the colours of the ways are put before it.
const STYLE: &str = include_str!("../../../templates/report.css");

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    style: String,
    title: String,
    subtitle: String,
    reference: Option<&'a str>,
    whole: Vec<&'a Finding>,
    warnings: Vec<&'a Finding>,
    overview_heads: Vec<&'static str>,
    scenarios: Vec<Section<'a>>,
    ways: Vec<(String, &'a str, &'a str)>,
    method: Vec<String>,
    environment: Vec<(String, String)>,
    skipped: Vec<String>,
    command: String,
    report: &'a Report,
}

/// One scenario.
struct Section<'a> {
    record: &'a ScenarioRecord,
    rates: String,
    findings: Vec<&'a Finding>,
    overview: Vec<Row>,
    /// The results of the event, if there was one.
    outcome: Option<Judgements>,
    failures: Option<Table>,
    figures: Vec<Figure>,
    /// The 99th percentile at each rate.
    by_rate: Option<Table>,
    all: Judgements,
}

/// Metrics by way.
struct Judgements {
    heads: Vec<&'static str>,
    rows: Vec<Row>,
}

/// A way's line in a table of metrics.
struct Row {
    way: String,
    class: String,
    is_reference: bool,
    /// The number of repetitions that were measured, if some are missing.
    note: Option<String>,
    cells: Vec<Option<Shown>>,
}

/// Returns the page as HTML.
///
/// # Errors
///
/// [`code::FAILED`] if the template cannot be filled in, which would be a bug.
pub fn html(report: &Report, analysis: &Analysis) -> Result<String, Failure> {
    let view = View { report, analysis };
    let page = Page {
        style: palette::css() + STYLE,
        title: format!("{} ways compared in {} scenarios", report.ways.len(), report.scenarios.len()),
        subtitle: format!(
            "roundelay {} · {} · {}",
            report.environment.version, report.environment.workload, report.environment.began
        ),
        reference: view.reference(),
        whole: view.of_whole(),
        warnings: view.warnings(),
        overview_heads: verdict::OVERVIEW.map(number::title).into(),
        scenarios: report.scenarios.iter().map(|scenario| section(view, scenario)).collect(),
        ways: report
            .ways
            .iter()
            .enumerate()
            .map(|(i, way)| (palette::class(i), way.name.as_str(), way.about.as_str()))
            .collect(),
        method: method::sentences(view),
        environment: method::environment(view),
        skipped: view.skipped(),
        command: method::command(view),
        report,
    };
    page.render().map_err(|error| Failure::new(code::FAILED, "cannot write the report as HTML").cause(error))
}

fn section<'a>(view: View<'a>, record: &'a ScenarioRecord) -> Section<'a> {
    let entries = view.entries(&record.name);
    let rows = |metrics: &[Metric]| entries.iter().map(|entry| row(view, entry, metrics)).collect::<Vec<_>>();
    let judgements = |metrics: &[Metric]| {
        // A column without any value would only take width.
        let used: Vec<Metric> = metrics
            .iter()
            .copied()
            .filter(|metric| entries.iter().any(|entry| entry.result(*metric).is_some()))
            .collect();
        Judgements { heads: used.iter().map(|metric| number::title(*metric)).collect(), rows: rows(&used) }
    };
    let has_event = record.event.is_some();
    let figures =
        if has_event { event::timelines(view, record).into_iter().collect() } else { figures::figures(view, record) };
    Section {
        record,
        rates: rates(view, record),
        findings: view.of_scenario(&record.name),
        overview: rows(&verdict::OVERVIEW),
        outcome: has_event
            .then(|| judgements(&[Metric::Errors, Metric::LongestGap, Metric::Recovery, Metric::P99, Metric::P999])),
        failures: event::failures(view, record),
        figures,
        by_rate: by_rate(view, record, &entries),
        all: judgements(&Metric::ALL),
    }
}

fn row(view: View<'_>, entry: &Entry<'_>, metrics: &[Metric]) -> Row {
    let repeat = view.report.method.repeat;
    Row {
        way: entry.way.name.clone(),
        class: palette::class(entry.number),
        is_reference: view.reference() == Some(&entry.way.name),
        note: (entry.cell.repetitions < repeat).then(|| format!("{} of {repeat} repetitions", entry.cell.repetitions)),
        cells: metrics.iter().map(|metric| verdict::shown(entry, *metric)).collect(),
    }
}

/// Returns the rates of the open loop, in a line below the scenario's name.
fn rates(view: View<'_>, record: &ScenarioRecord) -> String {
    let mut parts = Vec::new();
    if let Some(rate) = view.headline(record) {
        parts.push(format!("figures at {} requests/s", number::digits(rate)));
    }
    if let Some((rate, way)) = &record.lowest_saturation {
        parts.push(format!("lowest saturation {} requests/s ({way})", number::digits(*rate)));
    }
    parts.push(match record.requests_per_connection {
        None => "connections are kept".to_owned(),
        Some(1) => "a new connection for each request".to_owned(),
        Some(count) => format!("{count} requests per connection"),
    });
    parts.join(" · ")
}

fn by_rate(view: View<'_>, record: &ScenarioRecord, entries: &[Entry<'_>]) -> Option<Table> {
    if record.rates.len() < 2 {
        return None;
    }
    let heads: Vec<String> = record.rates.iter().map(|rate| number::rate(*rate)).collect();
    let mut table = Table::new(["way"].into_iter().chain(heads.iter().map(String::as_str)));
    for entry in entries {
        let name = &entry.way.name;
        let at = |rate: &f64| view.percentile(&record.name, name, *rate, 99.0);
        let texts = record.rates.iter().map(|rate| at(rate).map_or_else(|| number::NONE.to_owned(), number::seconds));
        table.rows.push([name.clone()].into_iter().chain(texts).collect());
    }
    Some(table)
}

#[cfg(test)]
mod tests;
