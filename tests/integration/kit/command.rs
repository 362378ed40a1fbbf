//! Commands on the command line, and their results.

use std::process::Command;
use std::thread::JoinHandle;

use roundelay::api::state::{Event, OperationLine, OperationReport};

use super::{BINARY, Ended, Master, run_to_end};

/// Runs a command against the master's control socket, to its end.
#[track_caller]
pub(crate) fn run_command(master: &Master, args: &[&str]) -> Ended {
    run_to_end(&mut command(master, args))
}

/// Runs a command on a thread, while the test goes on.
pub(crate) fn running_command(master: &Master, args: &[&str]) -> JoinHandle<Ended> {
    let mut command = command(master, args);
    std::thread::spawn(move || run_to_end(&mut command))
}

/// Runs a command that must succeed and lose no client. Returns its report.
#[track_caller]
pub(crate) fn carried_out(master: &Master, args: &[&str]) -> OperationReport {
    let ended = run_command(master, &[args, &["--json"]].concat());
    assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
    let report = report(&ended);
    assert_eq!((report.result.as_str(), &report.error), ("done", &None), "{args:?}: {ended:?}");
    let lost = report.connections.map_or(0, |connections| connections.rejected + connections.cut.unwrap_or(0));
    assert_eq!(lost, 0, "{args:?}: {ended:?}");
    report
}

/// The report that a command with `--json` printed at its end.
#[track_caller]
pub(crate) fn report(ended: &Ended) -> OperationReport {
    match serde_json::from_str(&ended.stdout) {
        Ok(OperationLine { event: Event::Report(report), .. }) => report,
        other => panic!("{other:?} of {ended:?}"),
    }
}

/// A ledger in which everything was observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) accepted: u64,
    pub(crate) served: u64,
    pub(crate) moved: u64,
    pub(crate) client_ended: u64,
    pub(crate) unanswered: u64,
    pub(crate) closed: u64,
    pub(crate) rejected: u64,
    pub(crate) cut: u64,
}

impl Ledger {
    /// The number of connections that ended.
    pub(crate) fn ended(&self) -> u64 {
        self.served + self.client_ended + self.unanswered + self.closed + self.rejected + self.cut
    }
}

/// The ledger of a report; everything in it must have been observed.
#[track_caller]
pub(crate) fn ledger(report: &OperationReport) -> Ledger {
    let connections = report.connections.unwrap();
    Ledger {
        accepted: connections.accepted,
        served: connections.served.unwrap(),
        moved: connections.moved,
        client_ended: connections.client_ended.unwrap(),
        unanswered: connections.unanswered.unwrap(),
        closed: connections.closed.unwrap(),
        rejected: connections.rejected,
        cut: connections.cut.unwrap(),
    }
}

/// Checks that the command ended with this code and printed all of these words on standard error.
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
