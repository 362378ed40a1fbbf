//! Samples the accept queue of a private endpoint, with the connections that wait in it.

use std::time::Duration;

use tokio::time::Instant;

use super::connected;
use super::sockets::SocketProgress;
use crate::os::accept_queue::{PeerId, ServerSide};
use crate::rotation::Upstream;
use crate::supervisor::slot::hang::ProgressSample;

/// The most checks of ours that may be on their way or untaken in a queue. A further one is made only when none is
/// left.
const MOST_CHECKS: usize = 64;

/// The interval at which connections in a queue that does not move are looked up, and the one if all may be checks of
/// ours.
const LOOKUP: Duration = Duration::from_millis(400);
const LOOKUP_OF_CHECKS: Duration = Duration::from_secs(2);

/// The queue as the choice of the next check needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor::worker) struct QueueState {
    /// A socket listened at the endpoint at the last look.
    pub(in crate::supervisor::worker) is_listening: bool,
    /// The length of the queue at the last look.
    pub(in crate::supervisor::worker) length: u32,
    /// True if the process may not have taken a check of ours yet.
    pub(in crate::supervisor::worker) has_own_checks: bool,
}

impl QueueState {
    /// The state of a process without a queue of its own.
    pub(in crate::supervisor::worker) const NONE: Self = Self { is_listening: true, length: 0, has_own_checks: false };
}

/// The looks at the queue of one process.
pub(super) struct QueueProgress {
    /// A socket listened at the endpoint at the last look.
    is_listening: bool,
    /// The length at the last look.
    length: u32,
    /// The addresses of checks of ours that the process may not have taken yet.
    own_checks: Vec<PeerId>,
    /// The bytes to clients at the last look.
    written: u64,
    /// The connections that the process has taken, at the last look.
    sockets: SocketProgress,
    /// The time of the next lookup of the connections in the queue, which walks through all connections of the machine.
    next_lookup: Option<Instant>,
}

impl QueueProgress {
    pub(super) fn new() -> Self {
        Self {
            is_listening: true,
            length: 0,
            own_checks: Vec::new(),
            written: 0,
            sockets: SocketProgress::default(),
            next_lookup: None,
        }
    }

    pub(super) fn state(&self) -> QueueState {
        let has_own_checks = !self.own_checks.is_empty();
        QueueState { is_listening: self.is_listening, length: self.length, has_own_checks }
    }

    /// Records if a socket listens at the endpoint.
    pub(super) fn set_listening(&mut self, is_listening: bool) {
        self.is_listening = is_listening;
    }

    /// Records that a check of ours has reached the endpoint from this address.
    pub(super) fn record_check(&mut self, check: PeerId) {
        if self.own_checks.len() < MOST_CHECKS {
            self.own_checks.push(check);
        }
    }

    /// Takes the length of the queue. Returns a sample if the length says enough, and true if the connections in the
    /// queue must be looked up.
    pub(super) fn see(&mut self, upstream: &Upstream, length: u32, now: Instant) -> (Option<ProgressSample>, bool) {
        if let Some(sample) = self.see_length(upstream, length) {
            self.sockets.forget();
            self.next_lookup = None;
            return (Some(sample), false);
        }
        // There are as many checks of ours as connections: no client waits, unless one came after a check was taken.
        let is_ours = self.own_checks.len() >= usize::try_from(length).unwrap_or(usize::MAX);
        let sample = ProgressSample { waiting: 0, in_service: Some(connected(upstream)), has_moved: false };
        let is_due = self.next_lookup.is_none_or(|at| at <= now);
        if is_due {
            self.next_lookup = Some(now + if is_ours { LOOKUP_OF_CHECKS } else { LOOKUP });
        }
        (is_ours.then_some(sample), is_due)
    }

    /// Returns a sample if the length shows that the worker makes progress or that the queue is empty; `None` if the
    /// connections must be looked up.
    fn see_length(&mut self, upstream: &Upstream, length: u32) -> Option<ProgressSample> {
        let has_shrunk = length < std::mem::replace(&mut self.length, length);
        let has_moved = self.has_written(upstream) || has_shrunk;
        if length == 0 {
            self.own_checks.clear();
        }
        let waiting = usize::try_from(length).unwrap_or(usize::MAX);
        let sample = ProgressSample { waiting, in_service: Some(connected(upstream)), has_moved };
        (length == 0 || has_moved).then_some(sample)
    }

    /// Returns true if the worker wrote to a client since the last call.
    fn has_written(&mut self, upstream: &Upstream) -> bool {
        let written = upstream.sent.get();
        std::mem::replace(&mut self.written, written) != written
    }

    /// Takes the connections that were made to the worker.
    pub(super) fn see_connections(&mut self, upstream: &Upstream, sides: &[ServerSide]) -> ProgressSample {
        let untaken = || sides.iter().filter(|side| side.inode.is_none());
        // Checks that have been taken meanwhile need not be remembered.
        self.own_checks.retain(|check| untaken().any(|side| side.peer == Some(*check)));
        let is_client = |side: &&ServerSide| side.peer.is_some_and(|peer| !self.own_checks.contains(&peer));
        let waiting = untaken().filter(is_client).count();
        let has_moved = self.sockets.see(sides.iter());
        ProgressSample { waiting, in_service: Some(connected(upstream).saturating_sub(waiting)), has_moved }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::worker::context::test_upstream;

    fn untaken(peer: u16) -> ServerSide {
        ServerSide { inode: None, peer: Some(check(peer)), bytes: Some(0), unread: 0 }
    }

    fn check(port: u16) -> PeerId {
        PeerId::Address(([127, 0, 0, 1], port).into())
    }

    #[test]
    fn queue_that_does_not_move_is_looked_up_at_intervals() {
        let (mut queue, upstream, begun) = (QueueProgress::new(), test_upstream(), Instant::now());
        assert_eq!(queue.see(&upstream, 3, begun), (None, true));
        assert_eq!(queue.see(&upstream, 3, begun + LOOKUP / 2), (None, false));
        assert_eq!(queue.see(&upstream, 3, begun + LOOKUP), (None, true));
        let (sample, is_due) = queue.see(&upstream, 2, begun + LOOKUP);
        assert!(sample.is_some_and(|sample| sample.has_moved && sample.waiting == 2) && !is_due, "{sample:?}");
        let (sample, _) = queue.see(&upstream, 0, begun + LOOKUP);
        assert!(sample.is_some_and(|sample| sample.waiting == 0), "{sample:?}");
    }

    #[test]
    fn own_checks_in_queue_are_no_waiting_clients() {
        let (mut queue, upstream, begun) = (QueueProgress::new(), test_upstream(), Instant::now());
        queue.record_check(check(1));
        let (sample, is_due) = queue.see(&upstream, 1, begun);
        assert!(sample.is_some_and(|sample| sample.waiting == 0 && !sample.has_moved) && is_due, "{sample:?}");
        assert_eq!(queue.see_connections(&upstream, &[untaken(1), untaken(2)]).waiting, 1);
        assert!(queue.state().has_own_checks);
        assert_eq!(queue.see_connections(&upstream, &[untaken(2)]).waiting, 1, "the check was taken");
        assert!(!queue.state().has_own_checks);
    }
}
