//! The summary for a pull request: the sentences, a table for each scenario, the machine on one line. Pure.

use roundelay_text::printable::escape;

use super::verdict::{self, Shown};
use super::view::View;
use super::{method, number};
use crate::analysis::{Analysis, Metric};
use crate::record::{Report, ScenarioRecord};

const COLUMNS: [Metric; 9] = [
    Metric::Rps,
    Metric::P50,
    Metric::P99,
    Metric::Errors,
    Metric::LongestGap,
    Metric::Recovery,
    Metric::Cpu,
    Metric::BalancerCpu,
    Metric::Fairness,
];

/// Returns the report as Markdown, with tables in GitHub's form.
pub fn markdown(report: &Report, analysis: &Analysis) -> String {
    let view = View { report, analysis };
    let mut text = format!("## {} ways compared in {} scenarios\n\n", report.ways.len(), report.scenarios.len());
    for finding in view.of_whole() {
        text += &format!("- {}\n", escaped(&finding.text));
    }
    for warning in view.warnings() {
        text += &format!("- **Note:** {}\n", escaped(&warning.text));
    }
    for scenario in &report.scenarios {
        text += &section(view, scenario);
    }
    let reference = view.reference().map(|name| format!("compared with {}, ", escaped(name))).unwrap_or_default();
    text += &format!(
        "\n<sub>Medians of {} repetitions, {reference}▲ better, ▼ worse; no mark: no difference found, or not judged. \
         roundelay {} on {}.</sub>\n",
        report.method.repeat,
        escaped(&report.environment.version),
        escaped(&method::machine(view))
    );
    text
}

fn section(view: View<'_>, scenario: &ScenarioRecord) -> String {
    let mut text = format!("\n### {}\n\n{}\n\n", escaped(&scenario.name), escaped(&scenario.about));
    for finding in view.of_scenario(&scenario.name) {
        let mind = if finding.is_warning { "**Note:** " } else { "" };
        text += &format!("- {mind}{}\n", escaped(&finding.text));
    }
    let entries = view.entries(&scenario.name);
    let is_used = |metric: &Metric| entries.iter().any(|entry| entry.result(*metric).is_some());
    let columns: Vec<Metric> = COLUMNS.into_iter().filter(is_used).collect();
    let heads: String = columns.iter().map(|metric| format!(" {} |", number::title(*metric))).collect();
    text += &format!("\n| way |{heads}\n|---|{}\n", "---:|".repeat(columns.len()));
    for entry in entries {
        let cells: String =
            columns.iter().map(|metric| format!(" {} |", cell(verdict::shown(&entry, *metric)))).collect();
        text += &format!("| {} |{cells}\n", escaped(&entry.way.name));
    }
    text
}

fn cell(shown: Option<Shown>) -> String {
    match shown {
        None => number::NONE.to_owned(),
        Some(Shown { value, word, .. }) if matches!(word.class, "better" | "worse" | "differs") => {
            format!("{value} {}", word.mark)
        }
        Some(Shown { value, .. }) => value,
    }
}

/// Returns the text on one line, safe to print, with Markdown and HTML escaped.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for letter in escape(&text.replace(['\n', '\t'], " ")).chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' => safe.extend(['\\', letter]),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::planted::{WAYS, planted};

    #[test]
    fn every_table_has_a_line_a_way_of_as_many_cells_as_heads() {
        let (mut report, mut analysis) = planted();
        report.ways[2].name = "a|b\n<script>".to_owned();
        for cell in analysis.cells.iter_mut().filter(|cell| cell.way == WAYS[2].0) {
            cell.way = "a|b\n<script>".to_owned();
        }
        let text = markdown(&report, &analysis);
        assert!(!text.contains("<script"), "{text}");
        let mut lines = text.lines();
        let mut tables = 0;
        while let Some(head) = lines.by_ref().find(|line| line.starts_with("| way |")) {
            let cells = |line: &str| line.replace("\\|", "").matches('|').count();
            let table: Vec<&str> = lines.by_ref().take_while(|line| line.starts_with('|')).collect();
            assert_eq!(table.len(), 1 + WAYS.len());
            assert!(table.iter().all(|line| cells(line) == cells(head)), "{table:#?}");
            tables += 1;
        }
        assert_eq!(tables, report.scenarios.len());
        assert!(text.contains("**Note:** A planted warning."), "{text}");
    }
}
