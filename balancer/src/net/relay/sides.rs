//! The two sides of a relay, which it is lent for one poll; its result; and the resets that end it.

use std::io;
use std::time::Duration;

use super::ClientEnd;
use crate::net::open_connections::Registration;
use crate::net::stream::Stream;
use crate::rotation::Lease;
use crate::stats::Outcome;

/// The end of a relay.
#[derive(Debug)]
pub(crate) enum RelayEnd {
    /// The connection has ended. Close both sides: those that must see a reset will.
    Ended(Outcome),
    /// The worker's side has ended, and all its bytes were written to the client's socket. A
    /// [`Delivery`](super::Delivery) does the rest.
    Deliver(ClientEnd),
    /// The upstream broke before a byte or an end went either way. Another may be tried.
    Untouched(io::Error),
}

/// The two sides of a relay and their registration among the thread's connections.
pub(crate) struct Sides<'a> {
    pub(crate) client: &'a mut Stream,
    pub(crate) upstream: &'a mut Stream,
    pub(crate) registration: &'a Registration,
    /// The hold on the worker at the other end of `upstream`. It counts as waiting while the client waits for that
    /// worker.
    pub(crate) lease: &'a mut Lease,
    /// Silence allowed once one direction has ended.
    pub(crate) half_closed: Duration,
}

/// Bytes written in one poll, a preamble not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// To the worker.
    pub(crate) up: u64,
    /// To the client.
    pub(crate) down: u64,
    /// True if anything was read or written at all.
    pub(crate) any: bool,
}

/// The result of one round each way.
pub(super) enum RelayRound {
    Idle,
    Again,
    Over(RelayEnd),
}

/// Ends the connection with a reset for the client: the worker broke off.
pub(super) fn reset_client(sides: &Sides<'_>) -> RelayEnd {
    sides.client.reset_at_close();
    RelayEnd::Ended(Outcome::UpstreamReset)
}

/// Ends the connection with a reset for the worker: the client broke off.
pub(super) fn reset_upstream(sides: &Sides<'_>) -> RelayEnd {
    sides.upstream.reset_at_close();
    RelayEnd::Ended(Outcome::ClientReset)
}

/// Ends the connection with a reset for both sides.
pub(super) fn reset_both(sides: &Sides<'_>, outcome: Outcome) -> RelayEnd {
    sides.client.reset_at_close();
    sides.upstream.reset_at_close();
    RelayEnd::Ended(outcome)
}
