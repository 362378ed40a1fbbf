//! The signs that a process withdraws by itself: it closed its channel or its servers, or said that it ends. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// The time that a worker has to exit after it closed its channel, which it does when its connections have ended.
pub(super) const END_GRACE: Duration = Duration::from_secs(1);

/// The withdrawal of one process.
#[derive(Debug, Default)]
pub(super) struct Withdrawal {
    /// The process cannot be handed connections: the time at which it is replaced, unless it has recovered or exited by
    /// then.
    unreachable_deadline: Option<Instant>,
    /// The process said by itself that it ends: the time at which it is replaced, if it still runs.
    stopping_deadline: Option<Instant>,
    /// The process has closed its channel.
    has_closed_channel: bool,
}

impl Withdrawal {
    /// Records that the process has closed its channel.
    pub(super) fn channel_closed(&mut self, now: Instant) {
        self.has_closed_channel = true;
        self.servers_closed(now);
    }

    /// Records that the process's application has closed all its servers.
    pub(super) fn servers_closed(&mut self, now: Instant) {
        self.unreachable_deadline.get_or_insert(now + END_GRACE);
    }

    /// Records that the process's application listens again.
    pub(super) fn servers_opened(&mut self) {
        if !self.has_closed_channel {
            self.unreachable_deadline = None;
        }
    }

    /// Records that the process said that it ends. Only the first time counts.
    pub(super) fn says_stopping(&mut self, deadline: Instant) {
        self.stopping_deadline.get_or_insert(deadline);
    }

    /// Returns true if the process has closed its channel.
    pub(super) fn has_closed_channel(&self) -> bool {
        self.has_closed_channel
    }

    /// Returns true if the process can be handed connections.
    pub(super) fn is_reachable(&self) -> bool {
        self.unreachable_deadline.is_none()
    }

    /// Returns true if the process could not be handed connections for too long.
    pub(super) fn is_past_unreachable_deadline(&self, now: Instant) -> bool {
        self.unreachable_deadline.is_some_and(|at| at <= now)
    }

    /// Returns true if the process said that it ends, and has had its time.
    pub(super) fn is_past_stopping_deadline(&self, now: Instant) -> bool {
        self.stopping_deadline.is_some_and(|at| at <= now)
    }

    /// The time at which the process is replaced, if it withdraws.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.unreachable_deadline.into_iter().chain(self.stopping_deadline).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opened_servers_do_not_open_a_closed_channel() {
        let (mut withdrawal, now) = (Withdrawal::default(), Instant::now());
        withdrawal.servers_closed(now);
        assert!(!withdrawal.is_reachable() && withdrawal.is_past_unreachable_deadline(now + END_GRACE));
        withdrawal.servers_opened();
        assert!(withdrawal.is_reachable() && withdrawal.next_deadline().is_none());
        withdrawal.channel_closed(now);
        withdrawal.servers_opened();
        assert!(!withdrawal.is_reachable() && withdrawal.has_closed_channel());
    }

    #[test]
    fn first_deadline_of_a_withdrawal_stays() {
        let (mut withdrawal, now) = (Withdrawal::default(), Instant::now());
        withdrawal.says_stopping(now + 3 * END_GRACE);
        withdrawal.says_stopping(now + 9 * END_GRACE);
        assert_eq!(withdrawal.next_deadline(), Some(now + 3 * END_GRACE));
        withdrawal.servers_closed(now);
        withdrawal.channel_closed(now + END_GRACE);
        assert_eq!(withdrawal.next_deadline(), Some(now + END_GRACE));
        assert!(!withdrawal.is_past_stopping_deadline(now + 2 * END_GRACE));
        assert!(withdrawal.is_past_stopping_deadline(now + 3 * END_GRACE));
    }
}
