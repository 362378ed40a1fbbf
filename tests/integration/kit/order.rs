//! Orders on the command line, and what came of them.

use std::process::Command;
use std::thread::JoinHandle;

use roundelay::admin::view::{Event, Line, Report};

use super::{BINARY, Ended, Master, run_to_end};

/// A command that orders something on the master's control socket, to its end.
#[track_caller]
pub(crate) fn order(master: &Master, args: &[&str]) -> Ended {
    run_to_end(&mut command(master, args))
}

/// The same while the test goes on.
pub(crate) fn ordering(master: &Master, args: &[&str]) -> JoinHandle<Ended> {
    let mut command = command(master, args);
    std::thread::spawn(move || run_to_end(&mut command))
}

/// An order that is carried out, and by which no client is lost; its report.
#[track_caller]
pub(crate) fn carried_out(master: &Master, args: &[&str]) -> Report {
    let ended = order(master, &[args, &["--json"]].concat());
    assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
    let report = report(&ended);
    assert_eq!((report.result.as_str(), &report.error), ("done", &None), "{args:?}: {ended:?}");
    let lost = report.connections.map_or(0, |connections| connections.refused + connections.cut);
    assert_eq!(lost, 0, "{args:?}: {ended:?}");
    report
}

/// What an order with `--json` printed at its end.
#[track_caller]
pub(crate) fn report(ended: &Ended) -> Report {
    match serde_json::from_str(&ended.stdout) {
        Ok(Line { event: Event::Report(report), .. }) => report,
        other => panic!("{other:?} of {ended:?}"),
    }
}

/// It ends with this code and says all of these words on standard error.
#[track_caller]
pub(crate) fn says(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "`{word}` in:\n{}", ended.stderr);
    }
}

fn command(master: &Master, args: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(args).env("ROUNDELAY_CONTROL", &master.control).current_dir(master.dir());
    command
}
