//! Computes the cost of an operation to clients: the pool's counters at its beginning and its end, and the outcomes of
//! the connections of processes that left. Pure but for reading counters.

use crate::pool::Pool;
use crate::pool::operation::{Ends, Ledger};
use crate::rotation::Upstream;
use crate::stats::{Counter, Outcome};

/// The counters of a pool at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) struct Totals {
    /// False if the workers accept: then the other counts mean nothing.
    is_observed: bool,
    /// True if the master learns how connections end.
    sees_ends: bool,
    accepted: u64,
    served: u64,
    moved: u64,
    rejected: u64,
    closed: u64,
    unanswered: u64,
    client_ended: u64,
    /// Connections that were cut while they had no worker.
    cut_unassigned: u64,
}

/// The outcomes of the connections of one or several processes that left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::supervisor) struct Closes {
    /// Ended without a loss: by both ends, by the client, or idle.
    pub(in crate::supervisor) finished: u64,
    /// Cut at the deadline, or ended by the process while the client's bytes were the last to move.
    pub(in crate::supervisor) cut: u64,
}

impl Totals {
    /// Reads the present counters.
    pub(in crate::supervisor) fn of(pool: &Pool) -> Self {
        let slots = pool.slots();
        let sum = |each: &dyn Fn(&crate::stats::SlotStats) -> u64| slots.iter().map(|slot| each(slot)).sum::<u64>();
        let closes = |outcome: Outcome| {
            let unassigned = pool.stats.unassigned[outcome as usize].get();
            unassigned + sum(&|slot| slot.closes[outcome as usize].get())
        };
        Self {
            is_observed: pool.is_observed(),
            sees_ends: pool.sees_ends(),
            accepted: pool.stats.accepted.get(),
            served: closes(Outcome::Finished),
            moved: sum(&|slot| slot.retries.get()) + pool.stats.recovered.get(),
            rejected: pool.stats.rejected.iter().map(Counter::get).sum::<u64>()
                + closes(Outcome::Unreachable)
                + closes(Outcome::NoUpstream),
            closed: closes(Outcome::Closed) + closes(Outcome::Idle) + closes(Outcome::Reclaimed),
            unanswered: closes(Outcome::Unanswered),
            cut_unassigned: pool.stats.unassigned[Outcome::Cut as usize].get(),
            client_ended: closes(Outcome::ClientReset) + closes(Outcome::ClientLeft),
        }
    }

    /// Returns the ledger of the time from `self` to `now`. `left` holds the outcomes of the processes that left in
    /// that time. `None` if nothing was observed.
    pub(in crate::supervisor) fn until(&self, now: &Totals, left: &Closes) -> Option<Ledger> {
        let ends = Ends {
            served: now.served - self.served,
            client_ended: now.client_ended - self.client_ended,
            unanswered: now.unanswered - self.unanswered,
            closed: now.closed - self.closed,
        };
        let ledger = Ledger {
            accepted: now.accepted - self.accepted,
            moved: now.moved - self.moved,
            rejected: now.rejected - self.rejected,
            cut: left.cut + now.cut_unassigned - self.cut_unassigned,
            // A reload may replace workers that do not report their ends with workers that do.
            ends: (self.sees_ends && now.sees_ends).then_some(ends),
        };
        now.is_observed.then_some(ledger)
    }
}

impl Closes {
    /// Reads the outcomes of a process's connections so far.
    pub(in crate::supervisor) fn of(upstream: &Upstream) -> Self {
        let count = |outcome: Outcome| upstream.closes[outcome as usize].get();
        let lost = [Outcome::Cut, Outcome::UpstreamReset, Outcome::UpstreamClosed];
        let well = [
            Outcome::Finished,
            Outcome::ClientReset,
            Outcome::ClientLeft,
            Outcome::Unanswered,
            Outcome::Idle,
            Outcome::Reclaimed,
            Outcome::Closed,
        ];
        Self { finished: well.map(count).iter().sum(), cut: lost.map(count).iter().sum() }
    }

    /// Returns the outcomes since `before`.
    pub(in crate::supervisor) fn since(self, before: Closes) -> Self {
        Self { finished: self.finished - before.finished, cut: self.cut - before.cut }
    }
}

impl std::ops::AddAssign for Closes {
    fn add_assign(&mut self, other: Self) {
        self.finished += other.finished;
        self.cut += other.cut;
    }
}
