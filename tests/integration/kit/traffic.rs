//! Checked load that goes on while the test does something to a master.

use std::time::Duration;

use roundelay_checker::{Allowance, Length, Load, Plan, Record, Session};

use super::{DEADLINE, Master, wait_until};

/// One-shot clients, and clients that keep their connections and close them when an answer says so.
pub(crate) const COOPERATIVE: &str = "one-shot=3,keep-alive=2";
/// Operations a second: enough that some are always in flight, and little work for a small machine.
const RATE: f64 = 200.0;

/// Clients of a master's first pool; each answer is checked.
pub(crate) struct Traffic(Load);

impl Traffic {
    /// Starts clients of these kinds, as the checker names them, and waits until they are served.
    #[track_caller]
    pub(crate) fn start(master: &Master, kinds: &str) -> Self {
        Self::at(RATE, master, kinds)
    }

    /// Starts clients at that many operations a second.
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

    /// The time since the start: the clock of its failures.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Lets the operations in flight end. Returns the record.
    pub(crate) fn stop(self) -> Record {
        self.0.stop()
    }

    /// Stops the load; no operation may have failed.
    #[track_caller]
    pub(crate) fn lost_nothing(self) -> Record {
        let record = self.stop();
        if let Err(told) = record.analyse(&Allowance::none()) {
            panic!("{told}");
        }
        record
    }
}
