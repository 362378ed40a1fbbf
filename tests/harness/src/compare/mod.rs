//! `roundelay compare` and `roundelay report`: carry out the whole plan, and print the result.

pub mod args;
mod campaign;
mod choice;
mod progress;

use std::io::Write;
use std::path::Path;

use crate::analysis::{self, Analysis, Assertion};
use crate::failure::{Failure, code};
use crate::interrupt::Interrupt;
use crate::limits;
use crate::plan;
use crate::record::Report;
use crate::report;
use crate::subject::Product;

use args::{CompareArgs, ReportArgs};
use campaign::Campaign;
use choice::Choice;
use progress::{left, say};

/// Compares, writes the report, and prints a summary. Returns the exit code.
///
/// # Errors
///
/// The request cannot be fulfilled, nothing could be measured, or the report cannot be written.
pub fn run(args: &CompareArgs, product: &Product) -> Result<u8, Failure> {
    let own = match &args.scenario_file {
        None => Vec::new(),
        Some(path) => {
            let failed = |cause: String| {
                Failure::new(code::USAGE, format!("cannot read the scenarios in {}", path.display())).cause(cause)
            };
            let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
            plan::read_file(&text).map_err(failed)?
        }
    };
    if args.list {
        return Ok(list(args, product, &own));
    }
    // Checked before an hour of measuring, not after it.
    let baseline = args.baseline.as_deref().map(report::load).transpose()?;
    if let Some(path) = args.baseline.as_deref().filter(|path| is_same(path, &args.out.join("report.json"))) {
        let error = format!("the baseline {} would be overwritten by the new report", path.display());
        return Err(Failure::new(code::USAGE, error).hint("choose another folder with --out"));
    }
    let choice = Choice::new(args, product, own, args.seed.unwrap_or_else(|| fastrand::u64(..1 << 32)))?;
    report::prepare(&args.out)?;
    let interrupt = Interrupt::watch()?;
    limits::raise_open_files();
    say(&heading(&choice));
    let found = Campaign::new(&choice, product, &interrupt).run();
    if found.repetitions.iter().all(|one| one.failure.is_some()) {
        return nothing(&found);
    }
    let analysis = analysis::analyse(&found);
    tell(&report::terminal(&found, &analysis, width()));
    let written = report::write(&args.out, &found, &analysis)?;
    let names: Vec<_> = written.iter().map(|path| path.display().to_string()).collect();
    say(&format!("wrote {}", names.join("  ")));
    if let Some(baseline) = &baseline {
        tell(&report::changes(&analysis::diff(baseline, &found), width()));
    }
    let code = assert(&args.assertions, &analysis);
    Ok(if found.is_partial { code::INTERRUPTED } else { code })
}

/// Writes the pages of a report again, or prints the changes between two. Returns the exit code.
///
/// # Errors
///
/// A file is not a report, or the pages cannot be written.
pub fn show(args: &ReportArgs) -> Result<u8, Failure> {
    let reports = args.files.iter().map(|path| report::load(path)).collect::<Result<Vec<Report>, _>>()?;
    let Some(last) = reports.last() else {
        return Err(Failure::new(code::USAGE, "no report was named"));
    };
    let analysis = analysis::analyse(last);
    match reports.as_slice() {
        [old, new] => tell(&report::changes(&analysis::diff(old, new), width())),
        _ => tell(&report::terminal(last, &analysis, width())),
    }
    if let Some(folder) = &args.out {
        let written = report::write(folder, last, &analysis)?;
        let names: Vec<_> = written.iter().map(|path| path.display().to_string()).collect();
        say(&format!("wrote {}", names.join("  ")));
    }
    Ok(assert(&args.assertions, &analysis))
}

/// Returns the error for a comparison that measured nothing: there is no report to write.
fn nothing(found: &Report) -> Result<u8, Failure> {
    if found.is_partial {
        say("interrupted before anything was measured: no report is written");
        return Ok(code::INTERRUPTED);
    }
    // The last way that was tried tells most: ways that cannot run here come first in the list.
    let skipped = found.skipped.iter().filter(|skipped| skipped.way.is_some()).map(|skipped| &skipped.why);
    let why = found.repetitions.iter().filter_map(|one| one.failure.as_ref()).chain(skipped.rev()).next();
    Err(Failure::new(code::FAILED, "nothing could be measured")
        .cause(why.map_or("there was nothing to do", String::as_str))
        .hint("run the program by itself; --path names what it is asked for, --timeout how long it may take"))
}

fn heading(choice: &Choice) -> String {
    let method = &choice.method;
    let many = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    format!(
        "{} × {} × {} · {} · {} · about {}",
        many(choice.ways.len(), "way"),
        many(choice.scenarios.len(), "scenario"),
        many(method.repeat, "repetition"),
        many(method.workers, "worker"),
        many(method.connections, "connection"),
        left(choice.estimate()),
    )
}

fn is_same(a: &Path, b: &Path) -> bool {
    let [a, b] = [a, b].map(std::fs::canonicalize);
    a.is_ok_and(|a| b.is_ok_and(|b| a == b))
}

/// Prints the outcome of each assertion on a line. Returns the exit code.
fn assert(assertions: &[Assertion], analysis: &Analysis) -> u8 {
    let mut all_hold = true;
    for assertion in assertions {
        let outcome = assertion.outcome(analysis);
        all_hold &= outcome.as_ref().is_ok_and(|outcome| outcome.holds);
        match outcome {
            Ok(outcome) => say(&outcome.to_string()),
            Err(why) => say(&format!("does not hold: {assertion}: {why}")),
        }
    }
    if all_hold { code::OK } else { code::ASSERTION }
}

fn list(args: &CompareArgs, product: &Product, own: &[plan::Scenario]) -> u8 {
    let ways = choice::all_ways(product);
    let scenarios = plan::scenarios(&args.path);
    let ways: Vec<_> = ways.iter().map(|way| (way.name(), way.about())).collect();
    let scenarios: Vec<_> =
        scenarios.iter().chain(own).map(|scenario| (scenario.name.as_str(), scenario.about.as_str())).collect();
    let width = ways.iter().chain(&scenarios).map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = |entries: &[(&str, &str)]| -> String {
        entries.iter().map(|(name, about)| format!("  {name:<width$}  {about}\n")).collect()
    };
    tell(&format!("ways\n{}scenarios\n{}", lines(&ways), lines(&scenarios)));
    code::OK
}

/// Returns the columns of the terminal; elsewhere enough for all columns of a table.
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(160)
}

/// Prints the answer to standard output. If that is closed, the files and the exit code still show the result.
fn tell(text: &str) {
    let _ = write!(anstream::stdout(), "{text}");
}
