//! A drill as Markdown, for pull requests. Pure.

use std::fmt::Write;

use super::{line, notes, run};
use crate::drill::outcome::{Drill, Outcome};
use crate::drill::promise::Verdict;

/// Returns the whole drill as Markdown, for pull requests.
pub(crate) fn markdown(drill: &Drill) -> String {
    let mut text = String::new();
    let _ = write_markdown(&mut text, drill);
    text
}

fn write_markdown(text: &mut String, drill: &Drill) -> std::fmt::Result {
    let Drill { version, workload, workers, rate, length_seconds, seed, .. } = drill;
    writeln!(text, "# Drill\n")?;
    writeln!(
        text,
        "roundelay {version}, {workers} workers of {}, {rate} operations a second for {length_seconds} s or more, seed \
         {seed}.",
        escaped(workload)
    )?;
    if drill.is_partial {
        writeln!(text, "\n**Interrupted: faults are missing.**")?;
    }
    writeln!(text, "\n| fault | what is done | {} |", drill.targets.join(" | "))?;
    writeln!(text, "|---|---|{}", "---|".repeat(drill.targets.len()))?;
    for fault in run(drill) {
        write!(text, "| `{}` | {} |", fault.name(), fault.about().done)?;
        for target in &drill.targets {
            let cell = drill.find(target, fault).map_or_else(|| "-".to_owned(), Outcome::cell);
            write!(text, " {} |", escaped(&cell))?;
        }
        writeln!(text)?;
    }
    for note in notes(drill) {
        writeln!(text, "\n{}", escaped(&note))?;
    }
    for outcome in drill.outcomes.iter().filter(|outcome| !matches!(outcome.verdict, Verdict::Skipped(_))) {
        writeln!(text, "\n## {} on {}: {}\n", outcome.fault.name(), outcome.target, outcome.verdict.name())?;
        if let Verdict::Void(why) = &outcome.verdict {
            writeln!(text, "{}\n", escaped(why))?;
        }
        writeln!(text, "| promise | allowed | seen | |\n|---|---|---|---|")?;
        for promise in &outcome.promises {
            let [what, allowed, seen] = [&promise.what, &promise.allowed, &promise.seen].map(|cell| escaped(cell));
            let mark = if promise.is_kept { "kept" } else { "**broken**" };
            writeln!(text, "| {what} | {allowed} | {seen} | {mark} |")?;
        }
    }
    Ok(())
}

/// Escapes a text for a cell of a Markdown table.
fn escaped(cell: &str) -> String {
    let marked = ['\\', '|', '*'].into_iter().fold(line(cell), |text, mark| text.replace(mark, &format!("\\{mark}")));
    marked.replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::outcome::tests::drill;

    #[test]
    fn markdown_has_a_row_for_each_fault_and_says_what_is_missing() {
        let mut drill = drill();
        drill.is_partial = true;
        drill.outcomes[2].promises[1].seen = "a|b\n<c>\u{1b}[2J*".to_owned();
        let text = markdown(&drill);
        for line in [
            "| `full-disk` | the workers' log is on a full disk | passed | n/a |",
            "n/a on pm2: full-disk: it writes no logs",
            "**Interrupted: faults are missing.**",
            "| operations lost | none | a\\|b &lt;c>\\\\u{1b}[2J\\* | **broken** |",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
        }
    }
}
