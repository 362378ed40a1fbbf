//! What a relay does when it is told something: that it is due, that its worker drains or has died, or to end.

use std::io;
use std::time::Duration;

use super::{Ending, Ends, Relay, Verdict};
use crate::net::conns::Order;
use crate::net::direction::State;
use crate::stats::Outcome;

/// After the worker's process has ended: the silence after which nothing more is expected of its socket, and how many of
/// them a client gets that does not read what is there for it.
pub(super) const ORPHAN: Duration = Duration::from_secs(1);
const ORPHAN_WAITS: u8 = 60;

impl Relay {
    pub(super) fn on_order(&mut self, order: Order, ends: &Ends<'_>) -> Option<Verdict> {
        match order {
            Order::Orphaned if !self.is_engaged && ends.upstream.is_silent() => {
                Some(Verdict::Untouched(io::ErrorKind::ConnectionReset.into()))
            }
            Order::Orphaned if self.down.is_live() => {
                self.orphaned.get_or_insert(0);
                ends.place.due_when_silent(ORPHAN);
                None
            }
            // It has said all, and nobody is left to read what the client still sends.
            Order::Orphaned if self.down.state() == State::FinSent => Some(Verdict::Deliver(Ending::Fin)),
            Order::Orphaned | Order::Recalled | Order::Reclaim => None,
            Order::Quiet(_) | Order::Cut(_) if self.owes_nothing(ends) => Some(Verdict::Ended(Outcome::Closed)),
            Order::Quiet(_) => None,
            Order::Cut(_) => Some(reset_both(ends, Outcome::Cut)),
            Order::Due if self.awaits_orphans_bytes(ends) => None,
            Order::Due if self.orphaned.is_some() && self.down.kept().is_empty() => {
                ends.upstream.reset_at_close();
                Some(self.broken(ends))
            }
            Order::Due if self.orphaned.is_some() => Some(reset_both(ends, Outcome::UpstreamReset)),
            Order::Due if self.owes() => Some(reset_both(ends, Outcome::Idle)),
            Order::Due => Some(Verdict::Ended(Outcome::Idle)),
        }
    }

    /// The worker's process has ended and the kernel closed its sockets, but it still delivers what was said. Only if
    /// nothing comes any more, something that the process left behind holds this one open.
    fn awaits_orphans_bytes(&mut self, ends: &Ends<'_>) -> bool {
        let is_over = self.down.kept().is_empty() && ends.upstream.is_silent();
        match &mut self.orphaned {
            Some(waits) if !is_over && *waits < ORPHAN_WAITS => {
                *waits += 1;
                ends.place.due_when_silent(ORPHAN);
                true
            }
            _ => false,
        }
    }

    /// Whether both sides could close now and miss nothing: no bytes on their way, no answer awaited. A client that has
    /// ended its side waits for the end of the other.
    fn owes_nothing(&self, ends: &Ends<'_>) -> bool {
        let is_awaited = self.up.state() == State::FinSent && self.down.is_live();
        let is_between = self.up.kept().is_empty() && self.down.kept().is_empty();
        // What has just arrived and was not read yet is not silence; of a side that has ended nothing is awaited.
        let is_silent =
            (!self.up.is_live() || ends.client.is_silent()) && (!self.down.is_live() || ends.upstream.is_silent());
        !self.owes && !is_awaited && is_between && is_silent
    }
}

fn reset_both(ends: &Ends<'_>, outcome: Outcome) -> Verdict {
    ends.client.reset_at_close();
    ends.upstream.reset_at_close();
    Verdict::Ended(outcome)
}
