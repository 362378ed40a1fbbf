//! SIGKILL of random workers, each after the one before was replaced.

use std::time::Duration;

use super::{SLACK, broken_since, ends_show, replaced_words};
use crate::drill::allowed::Allowed;
use crate::drill::fault_run::{FaultRun, RunError};
use crate::setup::{Signal, is_alive, signal};

/// The least number of kills, however short the load is.
const LEAST: u64 = 3;

/// The longest time that a replacement may take, including the program's own start.
const REPLACED: Duration = Duration::from_secs(10);

pub(super) fn run(fault_run: &mut FaultRun<'_>) -> Result<Allowed, RunError> {
    let workers = fault_run.workers;
    let broken_before = fault_run.target.broken_connections()?;
    let (mut kills, mut replaced, mut slowest, mut under_way) = (0, 0, Duration::ZERO, 0);
    let mut during = Vec::new();
    while kills == replaced && (kills < LEAST || !fault_run.is_late(Duration::from_secs(1))) {
        let victim = fault_run.victim()?;
        let (ended, _) = fault_run.counts();
        let from = fault_run.now();
        signal(victim.pid, Signal::KILL)?;
        // When the process is a zombie, its connections have ended.
        fault_run.waiting.wait(Duration::from_secs(5), || (!is_alive(victim.pid)).then_some(()))?;
        let (_, started) = fault_run.counts();
        under_way += started.saturating_sub(ended);
        during.push((from, fault_run.now() + SLACK));
        kills += 1;
        fault_run.note(format!("SIGKILL to {} (pid {})", victim.name, victim.pid));
        if let Some(took) = fault_run.wait_replaced(workers, victim.pid, REPLACED)? {
            replaced += 1;
            slowest = slowest.max(took);
            fault_run.pause_between(200, 800)?;
        }
    }
    let seen = replaced_words(replaced, kills, slowest);
    fault_run.promise("each killed worker is replaced", "not replaced", "within 10 s", seen, replaced == kills);
    let broken = broken_since(fault_run, broken_before)?;
    let (most, what) = match broken {
        // The master's own count is trusted only up to what is possible.
        Some(broken) => (broken.min(under_way + kills * fault_run.kept as u64), "that were open on"),
        None => (under_way, "that were under way at the end of"),
    };
    let because = format!("connections {what} the {kills} killed workers");
    Ok(Allowed::taken_along(most, during, ends_show(fault_run.target.manner), because))
}
