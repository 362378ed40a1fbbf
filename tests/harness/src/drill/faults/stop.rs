//! SIGSTOP of a worker without SIGCONT: the master must find it by its lack of progress.

use std::time::Duration;

use super::{SLACK, broken_since, ends_show, replaced_words};
use crate::drill::allowed::Allowed;
use crate::drill::fault_run::{FaultRun, RunError, Stopped};

/// The longest time until it is found and replaced: `hang-timeout` (3 s), the time before the hang is suspected, and a
/// start, on a busy machine.
const FOUND: Duration = Duration::from_secs(15);

/// The longest time of a round that goes well. A round is not begun if it could not be finished in time.
const ROUND: Duration = Duration::from_secs(6);

pub(super) fn run(fault_run: &mut FaultRun<'_>) -> Result<Allowed, RunError> {
    let workers = fault_run.workers;
    let broken_before = fault_run.target.broken_connections()?;
    let (mut stops, mut replaced, mut slowest, mut had) = (0, 0, Duration::ZERO, 0);
    let mut during = Vec::new();
    while stops == replaced && (stops == 0 || !fault_run.is_late(ROUND)) {
        let victim = fault_run.victim()?;
        let (ended, _) = fault_run.counts();
        let from = fault_run.now();
        let stopped = Stopped::new(victim.pid)?;
        let (_, started) = fault_run.counts();
        // It held operations under way, and kept connections on which further requests come to it later.
        had += started.saturating_sub(ended) + fault_run.kept as u64;
        stops += 1;
        fault_run.note(format!("SIGSTOP to {} (pid {})", victim.name, victim.pid));
        let took = fault_run.wait_replaced(workers, victim.pid, FOUND)?;
        drop(stopped);
        during.push((from, fault_run.now() + SLACK));
        if let Some(took) = took {
            replaced += 1;
            slowest = slowest.max(took);
            fault_run.pause_between(300, 900)?;
        }
    }
    let seen = replaced_words(replaced, stops, slowest);
    fault_run.promise("a stopped worker is found and replaced", "never found", "within 15 s", seen, replaced == stops);
    let broken = broken_since(fault_run, broken_before)?;
    let (most, because) = match broken {
        // The master's own count is trusted only up to what is possible.
        Some(broken) => (broken.min(had), "connections that the stopped workers had".to_owned()),
        None => {
            (had, format!("operations under way and {} kept connections, at each of {stops} stops", fault_run.kept))
        }
    };
    Ok(Allowed::taken_along(most, during, ends_show(fault_run.target.manner), because))
}
