//! The changes between two comparisons. Pure.

use anstyle::Style;

use super::coloured;
use roundelay_text::printable::escape;

use super::grid::{Column, grid};
use crate::analysis::{Change, Diff, Verdict};
use crate::report::verdict;

/// Writes the differences as a table, the greatest change first, at most `width` columns wide. Below it stand the
/// number of equal figures, the cells that only one report has, and the reasons why the two may not be comparable.
/// Colours as in [`super::terminal()`].
pub fn changes(diff: &Diff, width: usize) -> String {
    let is_different = |change: &&Change| matches!(change.verdict, Verdict::Different { .. });
    let (different, rest): (Vec<&Change>, Vec<&Change>) = diff.changes.iter().partition(is_different);
    let (unjudged, same): (Vec<&Change>, Vec<&Change>) =
        rest.into_iter().partition(|change| change.verdict == Verdict::TooFew);
    let mut text = String::new();
    match (different.is_empty(), same.is_empty()) {
        (false, _) => text += &grid(columns(&different), width),
        (true, false) => text += "no change was found\n",
        (true, true) => {}
    }
    text += &format!("figures without a change: {}\n", same.len());
    if !unjudged.is_empty() {
        text += &format!("figures not judged, too few repetitions: {}\n", unjudged.len());
    }
    for (which, cells) in [("old", &diff.only_old), ("new", &diff.only_new)] {
        for (scenario, way) in cells {
            text += &format!("only in the {which} report: {} in {}\n", escape(way), escape(scenario));
        }
    }
    for note in &diff.notes {
        text += &super::sentence(note, true);
    }
    text
}

fn columns(changes: &[&Change]) -> Vec<Column> {
    let names = |of: &dyn Fn(&Change) -> String| changes.iter().map(|change| of(change)).collect::<Vec<_>>();
    let words = |of: &dyn Fn(&Change) -> String| {
        names(of).into_iter().map(|text| (text, Style::new())).collect::<Vec<(String, Style)>>()
    };
    vec![
        Column::names("SCENARIO", names(&|change| change.scenario.clone())),
        Column::names("WAY", names(&|change| change.way.clone())),
        Column::words("METRIC", 0, words(&|change| change.metric.name().to_owned())),
        Column::numbers("OLD", 2, names(&|change| verdict::value(change.metric, &change.old))),
        Column::numbers("NEW", 1, names(&|change| verdict::value(change.metric, &change.new))),
        Column::words(
            "NOW",
            0,
            changes.iter().map(|change| coloured(&verdict::word(change.metric, change.verdict))).collect::<Vec<_>>(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Estimate, Metric};

    fn change(way: &str, old: f64, new: f64, verdict: Verdict) -> Change {
        Change {
            scenario: "uniform".into(),
            way: way.into(),
            metric: Metric::P99,
            old: Estimate::of(&[old; 5]).unwrap(),
            new: Estimate::of(&[new; 5]).unwrap(),
            verdict,
        }
    }

    fn stripped(diff: &Diff) -> String {
        anstream::adapter::strip_str(&changes(diff, 80)).to_string()
    }

    #[test]
    fn changes_are_listed_and_the_rest_is_counted() {
        let worse = Verdict::Different { is_better: false, ratio: 1.5, low: 1.4, high: 1.6 };
        let diff = Diff {
            changes: vec![
                change("direct", 0.002, 0.003, worse),
                change("nginx", 0.002, 0.002, Verdict::NoDifference),
                change("haproxy", 0.002, 0.002, Verdict::TooFew),
            ],
            only_old: vec![("kill".into(), "pm2\u{1b}[2J".into())],
            only_new: vec![],
            notes: vec!["Measured otherwise: workers 2, now 4.".into()],
        };
        let expected = "SCENARIO  WAY     METRIC   OLD   NEW  NOW\n\
                        uniform   direct  p99     2 ms  3 ms  worse 1.50×\n\
                        figures without a change: 1\n\
                        figures not judged, too few repetitions: 1\n\
                        only in the old report: pm2\\u{1b}[2J in kill\n\
                        ! Measured otherwise: workers 2, now 4.\n";
        assert_eq!(stripped(&diff), expected);
    }

    #[test]
    fn no_change_is_said() {
        let diff = Diff { changes: vec![change("direct", 0.1, 0.1, Verdict::NoDifference)], ..Diff::default() };
        assert_eq!(stripped(&diff), "no change was found\nfigures without a change: 1\n");
    }
}
