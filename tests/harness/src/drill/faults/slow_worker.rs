//! One worker that runs only half of the time: it is stopped and continued again and again, whatever its program is.

use std::time::Duration;

use crate::drill::allowed::Allowed;
use crate::drill::fault_run::{FaultRun, RunError, Stopped};
use crate::drill::waits::{Pulses, most_do_not_wait};

/// The time for which it stands still, and then for which it runs.
const PULSE: Duration = Duration::from_millis(50);

/// The least number of pulses, however short the load is: two seconds of them.
const LEAST: u32 = 20;

pub(super) fn run(fault_run: &mut FaultRun<'_>) -> Result<Allowed, RunError> {
    let victim = fault_run.victim()?;
    fault_run.note(format!("{} (pid {}) is stopped and continued every 50 ms", victim.name, victim.pid));
    let mut times = 0;
    let mut pulses = Pulses::default();
    while times < LEAST || !fault_run.is_late(Duration::ZERO) {
        let stopped = Stopped::new(victim.pid)?;
        let (answers, length) = answered(fault_run)?;
        pulses.still(answers, length);
        drop(stopped);
        let (answers, length) = answered(fault_run)?;
        pulses.running(answers, length);
        times += 1;
    }
    let is_there = fault_run.target.serving()?.iter().any(|worker| worker.pid == victim.pid);
    let seen = format!("{} after {times} pulses", if is_there { "it still serves" } else { "it is gone" });
    fault_run.promise("a worker that is only slow is not replaced", "replaced", "the same process", seen, is_there);
    if fault_run.has_others() {
        fault_run.promises.extend(pulses.others_are_answered(fault_run.workers));
        let (median, usual) = (fault_run.median(), fault_run.usual);
        fault_run.promises.push(most_do_not_wait(median, usual));
    }
    Ok(Allowed::nothing())
}

/// Returns the good answers in one pulse, and its length.
fn answered(fault_run: &mut FaultRun<'_>) -> Result<(u64, Duration), RunError> {
    let (before, from) = (fault_run.good(), fault_run.now());
    fault_run.pause(PULSE)?;
    Ok((fault_run.good() - before, fault_run.now() - from))
}
