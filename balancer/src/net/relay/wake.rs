//! What a relay does when it is told something: that it is due, that its worker drains or has died, or to end.

use std::io;
use std::time::Duration;

use super::sides::reset_both;
use super::{ClientEnd, Relay, RelayEnd, Sides};
use crate::net::open_connections::WakeReason;
use crate::net::relay::direction::State;
use crate::stats::Outcome;

/// After the worker's process has ended: the silence after which nothing more is expected of its socket, and how many
/// of them a client gets that does not read what is there for it.
pub(super) const AFTER_EXIT: Duration = Duration::from_secs(1);
const MOST_EXIT_WAITS: u8 = 60;

impl Relay {
    pub(super) fn on_wake(&mut self, reason: WakeReason, sides: &Sides<'_>) -> Option<RelayEnd> {
        match reason {
            WakeReason::WorkerExited if !self.is_engaged && sides.upstream.is_silent() => {
                Some(RelayEnd::Untouched(io::ErrorKind::ConnectionReset.into()))
            }
            WakeReason::WorkerExited if self.down.is_live() => {
                self.exit_waits.get_or_insert(0);
                sides.registration.due_when_silent(AFTER_EXIT);
                None
            }
            // It has said all, and nobody is left to read what the client still sends.
            WakeReason::WorkerExited if self.down.state() == State::FinSent => Some(RelayEnd::Deliver(ClientEnd::Fin)),
            WakeReason::WorkerExited | WakeReason::Recalled | WakeReason::Reclaim => None,
            WakeReason::CloseIfIdle(_) | WakeReason::Abort(_) if self.is_idle(sides) => {
                Some(RelayEnd::Ended(Outcome::Closed))
            }
            WakeReason::CloseIfIdle(_) => None,
            WakeReason::Abort(_) => Some(reset_both(sides, Outcome::Cut)),
            WakeReason::TimedOut if self.awaits_last_bytes(sides) => None,
            WakeReason::TimedOut if self.exit_waits.is_some() && self.down.kept().is_empty() => {
                sides.upstream.reset_at_close();
                Some(self.broken(sides))
            }
            WakeReason::TimedOut if self.exit_waits.is_some() => Some(reset_both(sides, Outcome::UpstreamReset)),
            WakeReason::TimedOut if self.awaiting_response() => Some(reset_both(sides, Outcome::Idle)),
            WakeReason::TimedOut => Some(RelayEnd::Ended(Outcome::Idle)),
        }
    }

    /// The worker's process has ended and the kernel closed its sockets, but it still delivers what was said. Only if
    /// nothing comes any more, something that the process left behind holds this one open.
    fn awaits_last_bytes(&mut self, sides: &Sides<'_>) -> bool {
        let is_over = self.down.kept().is_empty() && sides.upstream.is_silent();
        match &mut self.exit_waits {
            Some(waits) if !is_over && *waits < MOST_EXIT_WAITS => {
                *waits += 1;
                sides.registration.due_when_silent(AFTER_EXIT);
                true
            }
            _ => false,
        }
    }

    /// Returns true if both sides could close now and miss nothing: no bytes on their way, no answer awaited. A client
    /// that has ended its side waits for the end of the other.
    fn is_idle(&self, sides: &Sides<'_>) -> bool {
        let is_awaited = self.up.state() == State::FinSent && self.down.is_live();
        let is_between = self.up.kept().is_empty() && self.down.kept().is_empty();
        // What has just arrived and was not read yet is not silence; of a side that has ended nothing is awaited.
        let is_silent =
            (!self.up.is_live() || sides.client.is_silent()) && (!self.down.is_live() || sides.upstream.is_silent());
        !self.awaiting_response && !is_awaited && is_between && is_silent
    }
}
