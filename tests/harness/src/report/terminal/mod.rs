//! The summary in the terminal: a table for each scenario with its sentences, then those on the whole. Pure.

mod diff;
mod grid;

use anstyle::{AnsiColor, Style};
use roundelay_text::printable::escape;

pub use self::diff::changes;
use self::grid::{Column, grid};
use super::verdict::{self, Word};
use super::view::{Entry, View};
use super::{method, number};
use crate::analysis::{Analysis, Metric};
use crate::record::{Report, ScenarioRecord};

/// For each column: its head, its metric, and the order in which columns are left out if there is no room, the greatest
/// first.
const COLUMNS: [(&str, Metric, u8); 10] = [
    ("MAX/S", Metric::Rps, 2),
    ("P50", Metric::P50, 4),
    ("P99", Metric::P99, 0),
    ("P99.9", Metric::P999, 7),
    ("ERRORS", Metric::Errors, 1),
    ("LONGEST GAP", Metric::LongestGap, 2),
    ("RECOVERY", Metric::Recovery, 3),
    ("FAIRNESS", Metric::Fairness, 6),
    ("CPU/REQ", Metric::Cpu, 5),
    ("BALANCER CPU/REQ", Metric::BalancerCpu, 5),
];

/// Writes the whole report. Tables are at most `width` columns wide; sentences are wrapped by the terminal.
///
/// The text has ANSI colours, which only repeat words. Print it through `anstream`, which removes them where they
/// cannot be shown.
pub fn terminal(report: &Report, analysis: &Analysis, width: usize) -> String {
    let view = View { report, analysis };
    let mut text = String::new();
    for scenario in &report.scenarios {
        text += &head(view, scenario);
        text += &table(view, scenario, width);
        for finding in view.of_scenario(&scenario.name) {
            text += &sentence(&finding.text, finding.is_warning);
        }
        text.push('\n');
    }
    for finding in view.of_whole() {
        text += &sentence(&finding.text, false);
    }
    for warning in view.warnings() {
        text += &sentence(&warning.text, true);
    }
    text += &format!("measured on {}\n", escape(&method::machine(view)));
    text
}

fn head(view: View<'_>, scenario: &ScenarioRecord) -> String {
    let bold = Style::new().bold();
    let about = escape(scenario.about.trim_end_matches('.'));
    let rate = view.headline(scenario).map(|rate| format!(", {} offered", number::rate(rate))).unwrap_or_default();
    format!("{bold}{}{bold:#}  ({about}{rate})\n", escape(&scenario.name))
}

fn table(view: View<'_>, scenario: &ScenarioRecord, width: usize) -> String {
    let entries = view.entries(&scenario.name);
    if entries.is_empty() {
        return "nothing was measured to the end\n".to_owned();
    }
    let or_none = |value: Option<String>| value.unwrap_or_else(|| number::NONE.to_owned());
    let done = entries.iter().map(|entry| or_none(view.done(scenario, &entry.way.name).map(number::digits)));
    let mut columns = vec![
        Column::names("WAY", entries.iter().map(|entry| entry.way.name.clone())),
        Column::numbers("DONE/S", 8, done),
    ];
    for (head, metric, dispensable) in COLUMNS {
        if entries.iter().any(|entry| entry.result(metric).is_some()) {
            let cell = |entry: &Entry<'_>| or_none(entry.estimate(metric).map(|estimate| short(metric, estimate)));
            columns.push(Column::numbers(head, dispensable, entries.iter().map(cell)));
        }
    }
    let compared = entries.iter().map(|entry| match entry.result(Metric::P99) {
        Some(result) => coloured(&verdict::word(Metric::P99, result.verdict)),
        None => (number::NONE.to_owned(), Style::new()),
    });
    columns.push(Column::words("P99 IS", 9, compared));
    grid(columns, width)
}

/// Writes a value without "per second", since the head says it already.
fn short(metric: Metric, estimate: &crate::analysis::Estimate) -> String {
    let text = verdict::value(metric, estimate);
    text.strip_suffix("/s").map(str::to_owned).unwrap_or(text)
}

fn coloured(word: &Word) -> (String, Style) {
    let style = match word.class {
        "better" => AnsiColor::Green.on_default(),
        "worse" => AnsiColor::Red.on_default(),
        _ => Style::new(),
    };
    (word.text.clone(), style)
}

fn sentence(text: &str, is_warning: bool) -> String {
    let style = AnsiColor::Yellow.on_default();
    if is_warning { format!("{style}! {}{style:#}\n", escape(text)) } else { format!("{}\n", escape(text)) }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;
    use crate::analysis::analyse;
    use crate::report::planted::{WAYS, planted};

    fn stripped(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn each_scenario_has_a_line_a_way_with_the_judge_s_numbers() {
        let (report, analysis) = planted();
        let text = stripped(&terminal(&report, &analysis, 200));
        for (name, _) in WAYS {
            let lines = text.lines().filter(|line| line.split("  ").next() == Some(name));
            assert_eq!(lines.count(), report.scenarios.len(), "{name}\n{text}");
        }
        let view = View { report: &report, analysis: &analysis };
        for entry in view.entries("slow-one") {
            let p99 = verdict::value(Metric::P99, entry.estimate(Metric::P99).unwrap());
            assert!(text.contains(&p99), "{p99}");
        }
        assert!(text.contains("LONGEST GAP") && text.contains("MAX/S"));
        assert!(text.contains("! A planted warning.") && text.contains("! pm2 was skipped"), "{text}");
    }

    #[test]
    fn tables_keep_to_the_width() {
        let (report, analysis) = planted();
        for width in [40, 60, 80, 120] {
            let text = stripped(&terminal(&report, &analysis, width));
            let is_row = |line: &&str| WAYS.iter().any(|(name, _)| line.split("  ").next() == Some(*name));
            let widest = text.lines().filter(is_row).map(|line| line.width()).max().unwrap();
            assert!(widest <= width, "{width}: {widest}\n{text}");
            assert!(text.contains("P99"), "the last to go");
        }
    }

    #[test]
    fn nothing_measured_is_said() {
        let (mut report, _) = planted();
        report.is_partial = true;
        report.repetitions.clear();
        let text = stripped(&terminal(&report, &analyse(&report), 80));
        assert!(text.contains("nothing was measured to the end") && text.contains("! The comparison was interrupted"));
    }
}
