//! What a drill looks like for people: the terminal's tables, and Markdown. Pure.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::fault::Fault;
use super::outcome::{Drill, Outcome};
use super::promise::Verdict;

/// The faults that were asked for on some target, in their order.
fn played(drill: &Drill) -> impl Iterator<Item = Fault> {
    Fault::ALL.into_iter().filter(|&fault| drill.outcomes.iter().any(|outcome| outcome.fault == fault))
}

/// One fault on one target, when it is over: its verdict, what was done, each promise.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = write_outcome(&mut text, outcome);
    text
}

fn write_outcome(text: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let Outcome { target, fault, verdict, done, promises, load, took_seconds } = outcome;
    let style = style(verdict);
    write!(text, "{style}{:<8}{style:#}{:<14}{target}", verdict.name(), fault.name())?;
    match verdict {
        Verdict::Skipped(why) => return writeln!(text, "   {why}"),
        Verdict::Void(why) => writeln!(text, "   {why}")?,
        Verdict::Passed | Verdict::Failed => writeln!(text, "   {took_seconds:.1} s")?,
    }
    for line in done {
        writeln!(text, "          {line}")?;
    }
    for promise in promises {
        let mark = if promise.is_kept { "kept  " } else { "BROKEN" };
        writeln!(text, "  {mark}  {}: {} (allowed: {})", promise.what, promise.seen, promise.allowed)?;
    }
    if let Some(load) = load {
        let [p50, p99, max] = [load.p50_seconds, load.p99_seconds, load.max_seconds].map(millis);
        writeln!(text, "          {} operations, p50 {p50}, p99 {p99}, longest {max}", load.started)?;
        if *verdict == Verdict::Failed {
            for failure in load.first_failures.iter().take(3) {
                writeln!(text, "          {failure}")?;
            }
        }
    }
    Ok(())
}

/// The whole drill: a line for each fault, or where several targets were drilled a row for each fault and a column for
/// each target.
pub(crate) fn table(drill: &Drill) -> String {
    let mut text = String::new();
    let _ = write_table(&mut text, drill);
    text
}

fn write_table(text: &mut String, drill: &Drill) -> std::fmt::Result {
    let widths: Vec<_> = drill.targets.iter().map(|target| width(drill, target)).collect();
    write!(text, "{:<13}", "FAULT")?;
    for (target, width) in drill.targets.iter().zip(&widths) {
        write!(text, "  {:<width$}", target.to_uppercase())?;
    }
    trim_end(text);
    writeln!(text)?;
    for fault in played(drill) {
        write!(text, "{:<13}", fault.name())?;
        for (target, width) in drill.targets.iter().zip(&widths) {
            let (cell, style) = cell(drill, target, fault);
            let rest = width - cell.chars().count();
            write!(text, "  {style}{cell}{style:#}{:rest$}", "")?;
        }
        trim_end(text);
        writeln!(text)?;
    }
    writeln!(text, "\n{}", last_line(drill))
}

fn width(drill: &Drill, target: &str) -> usize {
    let cells = played(drill).map(|fault| cell(drill, target, fault).0.chars().count());
    cells.chain([target.chars().count()]).max().unwrap_or(0)
}

/// What stands for a fault on a target in a table: the verdict, and of a failure what was seen.
fn cell(drill: &Drill, target: &str, fault: Fault) -> (String, Style) {
    match drill.find(target, fault) {
        None => ("-".to_owned(), Style::new()),
        Some(outcome) if matches!(outcome.verdict, Verdict::Skipped(_)) => ("n/a".to_owned(), Style::new()),
        Some(outcome) => (outcome.line(), style(&outcome.verdict)),
    }
}

/// What it comes to, and how to do it again.
fn last_line(drill: &Drill) -> String {
    let product = drill.targets.first().map(String::as_str).unwrap_or_default();
    let own: Vec<_> = drill.outcomes.iter().filter(|outcome| outcome.target == product).collect();
    let count = |is: fn(&Verdict) -> bool| own.iter().filter(|outcome| is(&outcome.verdict)).count();
    let passed = count(|verdict| *verdict == Verdict::Passed);
    let bad = count(Verdict::is_bad);
    let end = if drill.is_partial { ", interrupted" } else { "" };
    format!("{product}: {passed} passed, {bad} not{end}; repeat with --seed {}", drill.seed)
}

/// The whole drill for pull requests.
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
    for fault in played(drill) {
        write!(text, "| `{}` | {} |", fault.name(), fault.about().done)?;
        for target in &drill.targets {
            let line = drill.find(target, fault).map_or_else(|| "-".to_owned(), Outcome::line);
            write!(text, " {} |", escaped(&line))?;
        }
        writeln!(text)?;
    }
    for outcome in drill.outcomes.iter().filter(|outcome| !matches!(outcome.verdict, Verdict::Skipped(_))) {
        writeln!(text, "\n## {} on {}: {}\n", outcome.fault.name(), outcome.target, outcome.verdict.name())?;
        writeln!(text, "| promise | allowed | seen | |\n|---|---|---|---|")?;
        for promise in &outcome.promises {
            let [what, allowed, seen] = [&promise.what, &promise.allowed, &promise.seen].map(|cell| escaped(cell));
            let mark = if promise.is_kept { "kept" } else { "**broken**" };
            writeln!(text, "| {what} | {allowed} | {seen} | {mark} |")?;
        }
    }
    Ok(())
}

/// As the cell of a Markdown table.
fn escaped(cell: &str) -> String {
    cell.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ").replace('<', "&lt;")
}

/// All faults, for `--list`.
pub(crate) fn list() -> String {
    let mut text = String::new();
    for fault in Fault::ALL {
        let about = fault.about();
        let _ = writeln!(
            text,
            "{}\n  done      {}\n  promised  {}\n  allowed   {}\n",
            about.name, about.done, about.promised, about.allowed
        );
    }
    text
}

fn style(verdict: &Verdict) -> Style {
    match verdict {
        Verdict::Passed => AnsiColor::Green.on_default(),
        Verdict::Failed => AnsiColor::Red.on_default().bold(),
        Verdict::Void(_) => AnsiColor::Yellow.on_default(),
        Verdict::Skipped(_) => Style::new().dimmed(),
    }
}

fn trim_end(text: &mut String) {
    text.truncate(text.trim_end().len());
}

fn millis(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::drill;
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn several_targets_stand_side_by_side() {
        let expected = "\
FAULT          PROXY   PM2
kill           passed  failed: 1 of 101 lost
full-disk      passed  n/a

proxy: 2 passed, 0 not; repeat with --seed 7
";
        assert_eq!(plain(&table(&drill())), expected);
    }

    #[test]
    fn a_fault_says_what_was_done_and_each_promise() {
        let drill = drill();
        let text = plain(&outcome(&drill.outcomes[2]));
        for line in [
            "failed  kill          pm2   11.5 s",
            "          2.13 s: SIGKILL to demo/1 (pid 71)",
            "  kept    each is replaced: 3 of 3, the slowest after 0.1 s (allowed: within 10 s)",
            "  BROKEN  operations lost: 1 of 101 lost: 1 timeout (allowed: none)",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
        }
        assert_eq!(plain(&outcome(&drill.outcomes[3])), "n/a     full-disk     pm2   it writes no logs\n");
    }

    #[test]
    fn markdown_has_a_row_for_each_fault_and_says_what_is_missing() {
        let mut drill = drill();
        drill.is_partial = true;
        drill.outcomes[2].promises[1].seen = "a|b\n<c>".to_owned();
        let text = markdown(&drill);
        for line in [
            "| `full-disk` | the workers' log is on a disk that is full | passed | n/a: it writes no logs |",
            "**Interrupted: faults are missing.**",
            "| operations lost | none | a\\|b &lt;c> | **broken** |",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
        }
    }

    #[test]
    fn the_list_has_every_fault_with_what_it_promises() {
        let text = list();
        for fault in Fault::ALL {
            let about = fault.about();
            assert!(text.contains(about.promised) && text.contains(about.allowed) && text.contains(about.name));
        }
    }
}
