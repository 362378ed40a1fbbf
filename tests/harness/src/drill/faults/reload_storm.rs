//! Rolling reloads one right after the other: no client may notice.

use std::time::Duration;

use tokio::time::Instant;

use super::drains::{self, Drains};
use super::release::{ended, last_line, pids};
use crate::drill::allowed::Allowed;
use crate::drill::fault_run::{FaultRun, RunError};

/// The least number of reloads, however short the load is.
const LEAST: usize = 2;

pub(super) fn run(fault_run: &mut FaultRun<'_>) -> Result<Allowed, RunError> {
    let mut drains = Drains::default();
    let (mut reloads, mut done, mut renewed, mut slowest) = (0, 0, 0, Duration::ZERO);
    let mut said = String::new();
    let mut before = pids(fault_run)?;
    let workers = before.len();
    while reloads < LEAST || !fault_run.is_late(Duration::from_secs(1)) {
        let begun = Instant::now();
        let (outcome, is_done) = drains.reload(fault_run)?;
        let took = begun.elapsed();
        slowest = slowest.max(took);
        reloads += 1;
        done += usize::from(is_done);
        if outcome.code != Some(0) && said.is_empty() {
            said = format!("; {}: {}", ended(&outcome, took), last_line(&outcome.said));
        }
        let after = pids(fault_run)?;
        renewed += usize::from(after.len() == workers && after.iter().all(|pid| !before.contains(pid)));
        before = after;
        fault_run.pause(Duration::ZERO)?;
        if outcome.code.is_none() {
            break;
        }
    }
    fault_run.note(format!("{reloads} reloads, the slowest {:.2} s", slowest.as_secs_f64()));
    let seen = format!("{done} of {reloads}{said}");
    fault_run.promise("every reload is carried out", "reload fails", drains::words(fault_run), seen, done == reloads);
    let seen = format!("{renewed} of {reloads} times");
    fault_run.promise("all workers are new ones", "old workers", "every time", seen, renewed == reloads);
    Ok(drains.allowed(fault_run))
}
