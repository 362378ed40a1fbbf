//! More clients than the master has descriptors for: again and again many clients connect and send nothing, so that all
//! others have to wait until these are gone.

use std::net::TcpStream;
use std::time::Duration;

use crate::drill::allowed::Allowed;
use crate::drill::fault_run::{FaultRun, RunError};

/// The number of silent clients: three times what the master has room for.
const SILENT: usize = 96;

/// The exit code of `roundelay status` for a pool that is degraded.
const DEGRADED: i32 = 7;

/// The longest time that a connect may take. The kernel completes it while the master waits.
const CONNECT: Duration = Duration::from_secs(5);

pub(super) fn run(fault_run: &mut FaultRun<'_>) -> Result<Allowed, RunError> {
    let workers = fault_run.workers;
    let (mut rounds, mut refused, mut said) = (0, 0, 0);
    while rounds < 2 || !fault_run.is_late(Duration::from_secs(2)) {
        let address = fault_run.target.address();
        let silent: Vec<_> = (0..SILENT).map(|_| TcpStream::connect_timeout(&address, CONNECT)).collect();
        refused += silent.iter().filter(|client| client.is_err()).count();
        fault_run.note(format!("{SILENT} clients come and say nothing"));
        fault_run.pause_between(500, 1000)?;
        if let Some(running) = fault_run.target.product() {
            said += usize::from(running.run_command(&["status"])?.code == Some(DEGRADED));
        }
        drop(silent);
        rounds += 1;
        fault_run.pause_between(500, 1000)?;
    }
    let seen = format!("{refused} of {} were", rounds * SILENT);
    fault_run.promise("no client is refused", "refused", "none", seen, refused == 0);
    if fault_run.target.product().is_some() {
        let seen = format!("{said} of {rounds} times");
        let what = "`roundelay status` answers meanwhile, and says that clients wait";
        fault_run.promise(what, "silent status", "every time", seen, said == rounds);
    }
    let serving = fault_run.target.serving()?.len();
    let seen = format!("{serving} of {workers}");
    fault_run.promise("all workers serve at the end", "workers gone", "all", seen, serving == workers);
    Ok(Allowed::nothing())
}
