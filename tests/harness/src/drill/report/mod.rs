//! A drill for people: tables for the terminal, and Markdown. Pure.
//!
//! It quotes output of programs; nothing of that may move the cursor.

mod markdown;

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use roundelay_text::printable::escape;

use super::fault::Fault;
use super::outcome::{Drill, Outcome};
use super::promise::Verdict;

pub(crate) use markdown::markdown;

/// Returns the faults that were run on some target, in their order.
fn run(drill: &Drill) -> impl Iterator<Item = Fault> {
    Fault::ALL.into_iter().filter(|&fault| drill.outcomes.iter().any(|outcome| outcome.fault == fault))
}

/// Writes one fault on one target when it is over: its verdict, the actions, each promise.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = write_outcome(&mut text, outcome);
    text
}

fn write_outcome(text: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let Outcome { target, fault, verdict, done, promises, load, remark, took_seconds } = outcome;
    let style = style(verdict);
    write!(text, "{style}{:<8}{style:#}{:<14}{}", verdict.name(), fault.name(), line(target))?;
    match verdict {
        Verdict::Skipped(why) => return writeln!(text, "   {}", lines(why)),
        Verdict::Void(why) => writeln!(text, "   {}", lines(why))?,
        Verdict::Passed | Verdict::Failed => writeln!(text, "   {took_seconds:.1} s")?,
    }
    for line in done {
        writeln!(text, "          {}", lines(line))?;
    }
    for promise in promises {
        let mark = if promise.is_kept { "kept  " } else { "BROKEN" };
        let [what, seen, allowed] = [&promise.what, &promise.seen, &promise.allowed].map(|text| lines(text));
        let allowed = if allowed.is_empty() { allowed } else { format!(" (allowed: {allowed})") };
        writeln!(text, "  {mark}  {what}: {seen}{allowed}")?;
    }
    if !remark.is_empty() {
        writeln!(text, "       *  {}", lines(remark))?;
    }
    if let Some(load) = load {
        let [p50, p99, max] = [load.p50_seconds, load.p99_seconds, load.max_seconds].map(millis);
        writeln!(text, "          {} operations, p50 {p50}, p99 {p99}, longest {max}", load.started)?;
        if *verdict == Verdict::Failed {
            for failure in load.first_failures.iter().take(3) {
                writeln!(text, "          {}", lines(failure))?;
            }
        }
    }
    Ok(())
}

/// Writes the whole drill: a line for each fault; with several targets a row for each fault and a column for each
/// target.
pub(crate) fn table(drill: &Drill) -> String {
    let mut text = String::new();
    let _ = write_table(&mut text, drill);
    text
}

fn write_table(text: &mut String, drill: &Drill) -> std::fmt::Result {
    let widths: Vec<_> = drill.targets.iter().map(|target| width(drill, target)).collect();
    write!(text, "{:<13}", "FAULT")?;
    for (target, width) in drill.targets.iter().zip(&widths) {
        write!(text, "  {:<width$}", line(target).to_uppercase())?;
    }
    trim_end(text);
    writeln!(text)?;
    for fault in run(drill) {
        write!(text, "{:<13}", fault.name())?;
        for (target, width) in drill.targets.iter().zip(&widths) {
            let (cell, style) = cell(drill, target, fault);
            let rest = width - cell.chars().count();
            write!(text, "  {style}{cell}{style:#}{:rest$}", "")?;
        }
        trim_end(text);
        writeln!(text)?;
    }
    writeln!(text)?;
    for note in notes(drill) {
        writeln!(text, "{note}")?;
    }
    writeln!(text, "{}", last_line(drill))
}

fn width(drill: &Drill, target: &str) -> usize {
    let cells = run(drill).map(|fault| cell(drill, target, fault).0.chars().count());
    cells.chain([target.chars().count()]).max().unwrap_or(0)
}

/// Returns the remarks that the table leaves out, each once: why faults were not run, and what good verdicts do not
/// mention.
fn notes(drill: &Drill) -> Vec<String> {
    let mut notes: Vec<(&str, String, Vec<String>)> = Vec::new();
    for outcome in &drill.outcomes {
        let (mark, why) = match &outcome.verdict {
            Verdict::Skipped(why) => ("n/a on", why),
            _ if outcome.remark.is_empty() => continue,
            _ => ("*", &outcome.remark),
        };
        let (why, target) = (format!("{}: {}", outcome.fault.name(), line(why)), line(&outcome.target));
        match notes.iter_mut().find(|(its, found, _)| *its == mark && *found == why) {
            Some((_, _, targets)) => targets.push(target),
            None => notes.push((mark, why, vec![target])),
        }
    }
    notes.into_iter().map(|(mark, why, targets)| format!("{mark} {}: {why}", targets.join(", "))).collect()
}

/// Returns the cell of a fault and a target.
fn cell(drill: &Drill, target: &str, fault: Fault) -> (String, Style) {
    match drill.find(target, fault) {
        None => ("-".to_owned(), Style::new()),
        Some(outcome) if matches!(outcome.verdict, Verdict::Skipped(_)) => (outcome.cell(), Style::new()),
        Some(outcome) => (line(&outcome.cell()), style(&outcome.verdict)),
    }
}

/// Returns the total of the drill, and the command that repeats it.
fn last_line(drill: &Drill) -> String {
    let product = drill.targets.first().map(String::as_str).unwrap_or_default();
    let own: Vec<_> = drill.outcomes.iter().filter(|outcome| outcome.target == product).collect();
    let count = |is: fn(&Verdict) -> bool| own.iter().filter(|outcome| is(&outcome.verdict)).count();
    let passed = count(|verdict| *verdict == Verdict::Passed);
    let bad = count(Verdict::is_bad);
    let end = if drill.is_partial { ", interrupted" } else { "" };
    format!("{product}: {passed} passed, {bad} not{end}; repeat with --seed {}", drill.seed)
}

/// Describes all faults, for `--list`.
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

/// Returns a text on one line, without characters that could move the cursor.
pub(crate) fn line(text: &str) -> String {
    escape(text.trim_end().replace("\r\n", " ").replace(['\n', '\t'], " ").as_str())
}

/// Returns the same on several lines, with all but the first indented.
fn lines(text: &str) -> String {
    let lines = text.trim_end().lines().map(|one| escape(&one.replace('\t', "  ")));
    lines.collect::<Vec<_>>().join("\n            ")
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

    fn uncoloured(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn several_targets_stand_side_by_side() {
        let expected = "\
FAULT          PROXY   PM2
kill           passed  failed: 1 of 101 lost
full-disk      passed  n/a

n/a on pm2: full-disk: it writes no logs
proxy: 2 passed, 0 not; repeat with --seed 7
";
        assert_eq!(uncoloured(&table(&drill())), expected);
    }

    #[test]
    fn fault_says_what_was_done_and_each_promise() {
        let drill = drill();
        let text = uncoloured(&outcome(&drill.outcomes[2]));
        for line in [
            "failed  kill          pm2   11.5 s",
            "          2.13 s: SIGKILL to demo/1 (pid 71)",
            "  kept    each is replaced: 3 of 3, the slowest after 0.1 s (allowed: within 10 s)",
            "  BROKEN  operations lost: 1 of 101 lost: 1 timeout (allowed: none)",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
        }
        assert_eq!(uncoloured(&outcome(&drill.outcomes[3])), "n/a     full-disk     pm2   it writes no logs\n");
    }

    #[test]
    fn program_output_keeps_lines_and_cannot_move_the_cursor() {
        let evil = "it wrote:\n\tone\u{1b}[2J\r\u{202e}two";
        let mut drill = drill();
        let failed = &mut drill.outcomes[2];
        failed.done[0] = evil.to_owned();
        failed.promises[0].seen = evil.to_owned();
        failed.promises[0].broken = evil.to_owned();
        failed.promises[0].is_kept = false;
        failed.promises[1].is_kept = true;
        failed.load.as_mut().unwrap().first_failures = vec![evil.to_owned()];
        drill.outcomes[3].verdict = Verdict::Skipped(evil.to_owned());
        let told: String = drill.outcomes.iter().map(outcome).chain([table(&drill), markdown(&drill)]).collect();
        // The colours are ours.
        let told = uncoloured(&told);
        assert!(!told.contains(|c: char| c != '\n' && (c.is_control() || c == '\u{202e}')), "{told:?}");
        assert!(told.contains("it wrote:\n              one\\u{1b}[2J\\r\\u{202e}two"), "{told:?}");
    }

    #[test]
    fn shared_remark_stands_once_below_the_table() {
        let mut drill = drill();
        for outcome in &mut drill.outcomes[1..] {
            outcome.verdict = Verdict::Passed;
            outcome.fault = Fault::MasterKill;
            outcome.remark = "it is not started again".to_owned();
        }
        let text = uncoloured(&table(&drill));
        assert!(text.contains("master-kill    passed*  passed*\n"), "{text}");
        assert!(text.contains("\n* proxy, pm2, pm2: master-kill: it is not started again\n"), "{text}");
    }

    #[test]
    fn list_has_every_fault_with_what_it_promises() {
        let text = list();
        for fault in Fault::ALL {
            let about = fault.about();
            assert!(text.contains(about.promised) && text.contains(about.allowed) && text.contains(about.name));
        }
    }
}
