//! The reaction of a relay to a [`WakeReason`]: it is due, its worker drains or has died, or it must end.

use std::io;
use std::time::Duration;

use super::sides::reset_both;
use super::{ClientEnd, Relay, RelayEnd, Sides};
use crate::net::open_connections::WakeReason;
use crate::net::relay::direction::State;
use crate::stats::Outcome;

/// The silence after which nothing more is expected from the socket of a worker whose process has ended.
pub(super) const AFTER_EXIT: Duration = Duration::from_secs(1);
/// The number of those waits for a client that does not read the bytes that are there for it.
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
            // The worker has said all, and no process is left to read the client's bytes.
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

    /// Returns true while the last bytes of an ended worker may still come. The kernel has closed its sockets and
    /// delivers what it had sent. If nothing comes any more, a process that it left behind holds this socket open.
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
        // Bytes that have arrived and were not read yet are no silence. A side that has ended is not looked at.
        let is_silent =
            (!self.up.is_live() || sides.client.is_silent()) && (!self.down.is_live() || sides.upstream.is_silent());
        !self.awaiting_response && !is_awaited && is_between && is_silent
    }
}
