//! Reloads to a good release, and their allowed cost.

use std::time::Duration;

use super::SLACK;
use crate::drill::allowed::Allowed;
use crate::drill::fault_run::{FaultRun, RunError};
use crate::drill::target::CommandOutcome;

/// The longest time that a reload may take: many workers, each with its full `drain-timeout`.
const RELOAD: Duration = Duration::from_secs(180);

/// The message of `roundelay reload` (with exit code 1) for a reload that was carried out and lost clients.
const LOSSY: &str = "was carried out, but";

/// The reloads into the good release so far.
#[derive(Debug, Default)]
pub(super) struct Drains {
    during: Vec<(Duration, Duration)>,
}

impl Drains {
    /// Reloads once more; returns true if it was carried out.
    pub(super) fn reload(&mut self, fault_run: &mut FaultRun<'_>) -> Result<(CommandOutcome, bool), RunError> {
        let from = fault_run.now();
        let outcome = fault_run.reload(RELOAD)?;
        self.during.push((from, fault_run.now() + SLACK));
        let is_done = is_done(&outcome, fault_run.target.is_demo());
        Ok((outcome, is_done))
    }

    /// Returns the allowed cost: nothing if the program announces that it leaves. Otherwise requests on kept
    /// connections during the reloads: each time as many as there are kept connections.
    pub(super) fn allowed(self, fault_run: &FaultRun<'_>) -> Allowed {
        let (times, kept) = (self.during.len(), fault_run.kept);
        if fault_run.target.is_demo() || times == 0 {
            return Allowed::nothing();
        }
        let s = if times == 1 { "" } else { "s" };
        let because =
            format!("requests on {kept} kept connections in {times} good reload{s}, not announced to end in time");
        Allowed::stale((times * kept) as u64, self.during, because)
    }
}

/// Returns the text of the promise that a reload is completed.
pub(super) fn words(fault_run: &FaultRun<'_>) -> &'static str {
    if fault_run.target.is_demo() {
        "exit code 0"
    } else {
        "exit code 0, or 1 for lost clients, which are judged below"
    }
}

/// Returns true if the reload was carried out. The demo announces that it leaves, so it loses no client. With another
/// program a client may write at the moment when its connection is closed; the reload reports such clients, and the
/// load counts them.
fn is_done(outcome: &CommandOutcome, is_demo: bool) -> bool {
    outcome.code == Some(0) || (!is_demo && outcome.code == Some(1) && outcome.said.contains(LOSSY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reload_with_lost_clients_counts_unless_leaving_is_announced() {
        let outcome = |code, said: &str| CommandOutcome { code, said: said.to_owned() };
        let lossy = outcome(Some(1), "done in 1.2 s\nerror: the reload of app was carried out, but 1 client was lost");
        assert!(is_done(&lossy, false) && !is_done(&lossy, true));
        assert!(is_done(&outcome(Some(0), ""), true));
        for (code, said) in [(Some(1), "error: the reload of app failed"), (None, "did not end"), (Some(6), "busy")] {
            assert!(!is_done(&outcome(code, said), false), "{said}");
        }
    }
}
