//! SIGKILL of the master: none of its processes stays, and the next master can start at once.

use std::net::TcpListener;
use std::time::Duration;

use tokio::time::Instant;

use super::release::pids;
use crate::drill::allowed::Allowed;
use crate::drill::fault_run::{FaultRun, RunError};
use crate::setup::is_alive;

/// The longest time that workers may live after it.
const GONE: Duration = Duration::from_secs(5);

pub(super) fn run(fault_run: &mut FaultRun<'_>) -> Result<Allowed, RunError> {
    let workers = pids(fault_run)?;
    fault_run.pause_between(500, 1500)?;
    let (ended, _) = fault_run.counts();
    let from = fault_run.now();
    let pid = fault_run.target.kill_master()?;
    fault_run.note(format!("SIGKILL to the master (pid {pid})"));
    let begun = Instant::now();
    let left = |fault_run: &FaultRun<'_>| {
        let workers = workers.iter().filter(|&&pid| is_alive(pid)).count();
        workers.max(fault_run.target.product().map_or(0, |running| running.leftovers().len()))
    };
    let gone = fault_run.waiting.wait(GONE, || (left(fault_run) == 0).then(|| begun.elapsed()))?;
    let seen = match gone {
        Some(took) => format!("after {:.2} s", took.as_secs_f64()),
        None => format!("{} processes are left", left(fault_run)),
    };
    fault_run.promise("all its processes are gone", "left behind", "within 5 s", seen, gone.is_some());
    // Binds the address and releases it at once.
    let bound = TcpListener::bind(fault_run.target.address()).map(drop);
    let seen = bound.as_ref().map_or_else(ToString::to_string, |()| "it is".to_owned());
    fault_run.promise("the port is free", "port taken", "at once then", seen, bound.is_ok());
    let begun = Instant::now();
    let (what, broken) = ("a new master starts on the same port", "no new master");
    let to = match fault_run.target.restart() {
        Ok(true) => {
            fault_run.note("a new master serves");
            let seen = format!("ready {:.2} s after its start", begun.elapsed().as_secs_f64());
            fault_run.promise(what, broken, "at the first try", seen, true);
            Some(fault_run.now())
        }
        Ok(false) => {
            fault_run.remark =
                "it is not started again there: this only means that its processes are gone and the port is free"
                    .to_owned();
            fault_run.is_over = true;
            None
        }
        Err(error) => {
            fault_run.promise(what, broken, "at the first try", error.to_string(), false);
            None
        }
    };
    let (_, started) = fault_run.counts();
    Ok(match to {
        Some(to) => {
            let gap = (to - from).as_secs_f64();
            let because = format!("requests that were under way, or due in the {gap:.2} s without a master");
            Allowed::outage(Some(started.saturating_sub(ended)), (from, to), because)
        }
        None => {
            let because = "requests that were under way, and all later ones: no server is left".to_owned();
            Allowed::outage(None, (from, Duration::MAX), because)
        }
    })
}
