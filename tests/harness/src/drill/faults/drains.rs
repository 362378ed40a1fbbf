//! Reloads into a good release, and what they may cost.

use std::time::Duration;

use super::SLACK;
use crate::drill::allowed::Allowed;
use crate::drill::fault_run::{FaultRun, RunError};
use crate::drill::target::CommandOutcome;

/// The longest time that a reload may take: many workers, each with its whole `drain-timeout`.
const RELOAD: Duration = Duration::from_secs(180);

/// The message of `roundelay reload`, with exit code 1, of a reload that was carried out and lost clients.
const LOSSY: &str = "was carried out, but";

/// The reloads into the good release so far.
#[derive(Debug, Default)]
pub(super) struct Drains {
    during: Vec<(Duration, Duration)>,
}

impl Drains {
    /// One more, and whether it was carried out.
    pub(super) fn reload(&mut self, fault_run: &mut FaultRun<'_>) -> Result<(CommandOutcome, bool), RunError> {
        let from = fault_run.now();
        let outcome = fault_run.reload(RELOAD)?;
        self.during.push((from, fault_run.now() + SLACK));
        let is_done = is_done(&outcome, fault_run.target.is_demo());
        Ok((outcome, is_done))
    }

    /// The allowed cost: nothing where the program announces that it leaves; else requests on kept connections while
    /// they lasted, as many as such connections there are, each time.
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

/// Returns the words of a promise that a completed reload keeps.
pub(super) fn words(fault_run: &FaultRun<'_>) -> &'static str {
    if fault_run.target.is_demo() {
        "exit code 0"
    } else {
        "exit code 0, or 1 for lost clients, which are judged below"
    }
}

/// Returns true if it was carried out. The demo announces that it leaves, and loses nobody; of another program a client
/// may write at the moment at which its connection is closed, and the reload says so: such clients are counted by the
/// load.
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
