//! The disk of the workers' log is full: they write much, and none of it can be stored.

use std::time::Duration;

use crate::drill::allowed::Allowed;
use crate::drill::fault_run::{FaultRun, RunError};
use crate::setup::ProductSetup;

/// The master's message about it.
const SAID: &str = "cannot write the workers' log";

/// The longest time for the workers to write their 4 MiB each, and for the master to report the full disk.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn run(fault_run: &mut FaultRun<'_>) -> Result<Allowed, RunError> {
    let workers = fault_run.workers;
    fault_run.note("each worker begins to write 4 MiB to its standard output");
    let Some(disk) = &fault_run.target.disk else { return Err(RunError::Unable("there is no full disk".to_owned())) };
    disk.go()?;
    let all = fault_run.waiting.wait(PATIENCE, || (disk.through(workers) == workers).then_some(()))?;
    let through = disk.through(workers);
    let seen = format!("{through} of {workers} got rid of theirs");
    fault_run.promise("workers are not blocked", "blocked", "20 s for it", seen, all.is_some());
    let is_said = |fault_run: &FaultRun<'_>| fault_run.target.product().map_or(0, times_said);
    fault_run.waiting.wait(PATIENCE, || (is_said(fault_run) > 0).then_some(()))?;
    while !fault_run.is_late(Duration::ZERO) {
        fault_run.pause(Duration::from_millis(50))?;
    }
    let said = is_said(fault_run);
    let seen = if said == 1 { "once".to_owned() } else { format!("{said} times") };
    fault_run.promise("the master says that it cannot write", "not said once", "once", seen, said == 1);
    Ok(Allowed::nothing())
}

fn times_said(running: &ProductSetup) -> usize {
    running.stderr().matches(SAID).count()
}
