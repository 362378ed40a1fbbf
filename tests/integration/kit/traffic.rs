//! Checked load that goes on while something is done to a master.

use std::time::Duration;

use roundelay_checker::{Allowance, Length, Load, Plan, Record, Session};

use super::{DEADLINE, Master, wait_until};

/// One-shot clients, and such that keep connections and do as the answers say.
pub(crate) const COOPERATIVE: &str = "one-shot=3,keep-alive=2";
/// Operations a second: enough that something is always under way, and no work for a small machine.
const RATE: f64 = 200.0;

/// Clients of a master's first pool, each answer of which is checked.
pub(crate) struct Traffic(Load);

impl Traffic {
    /// Starts clients of these kinds, as the checker names them, and waits until they are served.
    #[track_caller]
    pub(crate) fn start(master: &Master, kinds: &str) -> Self {
        Self::at(RATE, master, kinds)
    }

    /// The same, so many operations a second.
    #[track_caller]
    pub(crate) fn at(rate: f64, master: &Master, kinds: &str) -> Self {
        let load = Load::start(Plan {
            kinds: kinds.parse().unwrap(),
            rate,
            length: Length::UntilStopped,
            timeout: DEADLINE,
            connections: 8,
            session: Session { interval: Duration::from_millis(100), messages: 10 },
            upload: 1 << 18..=1 << 20,
            ..Plan::new(master.address())
        });
        let traffic = Self(load.unwrap());
        traffic.flows();
        traffic
    }

    /// Waits until fifty more operations have ended well.
    #[track_caller]
    pub(crate) fn flows(&self) {
        let enough = self.0.so_far().good() + 50;
        wait_until("the load to flow", || self.0.so_far().good() >= enough);
    }

    /// From its start until now: the clock of its failures.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Lets what is under way end; what was found.
    pub(crate) fn stop(self) -> Record {
        self.0.stop()
    }

    /// The same, and nothing may have failed.
    #[track_caller]
    pub(crate) fn lost_nothing(self) -> Record {
        let record = self.stop();
        if let Err(told) = record.analyse(&Allowance::none()) {
            panic!("{told}");
        }
        record
    }
}
