//! A reload to a release that does not start, and then to the good one again.

use std::time::Duration;

use tokio::time::Instant;

use super::drains::{self, Drains};
use crate::drill::allowed::Allowed;
use crate::drill::fault_run::{FaultRun, RunError};
use crate::drill::release::{LAST_LINE, Release};
use crate::drill::target::CommandOutcome;

/// The longest time that a reload may take until its failure is known. The product is configured to wait 3 s for a
/// release that is never ready; others have their own limit, or none.
const KNOWN: Duration = Duration::from_secs(30);

pub(super) fn run(fault_run: &mut FaultRun<'_>, release: Release) -> Result<Allowed, RunError> {
    let before = pids(fault_run)?;
    let mut drains = Drains::default();
    fault_run.target.switch(release)?;
    fault_run.note("reload to the broken release");
    let begun = Instant::now();
    let outcome = fault_run.reload(KNOWN)?;
    let seen = ended(&outcome, begun.elapsed());
    let broken = outcome.code.map_or_else(|| "hangs".to_owned(), |code| format!("says {code}"));
    fault_run.promise("the reload fails", &broken, "exit code 1, within 30 s", seen, outcome.code == Some(1));
    let after = pids(fault_run)?;
    let stayed = before.iter().filter(|pid| after.contains(pid)).count();
    let seen = format!("{stayed} of {} are still there", before.len());
    fault_run.promise("the workers go on", "workers gone", "the same processes", seen, stayed == before.len());
    if release == Release::Exits {
        let is_told = outcome.said.contains(LAST_LINE);
        let seen = if is_told { "it does".to_owned() } else { format!("it says: {}", last_line(&outcome.said)) };
        fault_run.promise("the message has the program's last line", "no last line", LAST_LINE, seen, is_told);
    }
    fault_run.target.switch(Release::Good)?;
    let (what, broken) = ("the good release is accepted again", "good not taken");
    if outcome.code.is_none() {
        fault_run.promise(what, broken, drains::words(fault_run), "the last reload does not end", false);
        return Ok(drains.allowed(fault_run));
    }
    fault_run.note("reload to the good release");
    let begun = Instant::now();
    let (outcome, is_done) = drains.reload(fault_run)?;
    let mut seen = ended(&outcome, begun.elapsed());
    if outcome.code != Some(0) {
        seen += &format!(": {}", last_line(&outcome.said));
    }
    fault_run.promise(what, broken, drains::words(fault_run), seen, is_done);
    Ok(drains.allowed(fault_run))
}

/// Returns the pids of the serving processes, sorted.
pub(super) fn pids(fault_run: &FaultRun<'_>) -> Result<Vec<u32>, RunError> {
    let mut pids: Vec<_> = fault_run.target.serving()?.into_iter().map(|worker| worker.pid).collect();
    pids.sort_unstable();
    Ok(pids)
}

pub(super) fn ended(outcome: &CommandOutcome, took: Duration) -> String {
    let took = took.as_secs_f64();
    outcome
        .code
        .map_or_else(|| format!("no end within {took:.0} s"), |code| format!("exit code {code} after {took:.1} s"))
}

pub(super) fn last_line(said: &str) -> &str {
    said.lines().next_back().unwrap_or("nothing").trim()
}
