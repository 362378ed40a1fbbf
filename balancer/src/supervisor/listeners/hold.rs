//! Decides the accept state of the public listeners while workers come and go, or are stopped by command. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::rotation::AcceptState;

/// Holds clients in the backlog while no worker is in rotation, and rejects them after a time.
#[derive(Debug)]
pub(in crate::supervisor) struct HoldTimer {
    hold_timeout: Duration,
    /// The time since which no worker has been in rotation.
    none_since: Option<Instant>,
    is_closing: bool,
    was_stopped: bool,
}

impl HoldTimer {
    /// Sets the hold timeout for the present hold and later ones.
    pub(in crate::supervisor) fn set_hold_timeout(&mut self, hold_timeout: Duration) {
        self.hold_timeout = hold_timeout;
    }

    /// Creates a timer for a pool that has no worker yet at `now`.
    pub(in crate::supervisor) fn new(hold_timeout: Duration, now: Instant) -> Self {
        Self { hold_timeout, none_since: Some(now), is_closing: false, was_stopped: false }
    }

    /// Records that the master stops: the listeners are emptied and closed, with or without workers.
    pub(in crate::supervisor) fn close(&mut self) {
        self.is_closing = true;
    }

    /// Returns the accept state of the listeners at `now`, with or without a worker in rotation. If all workers were
    /// stopped by command, none will come: clients are rejected at once, and held anew when a worker is started.
    pub(in crate::supervisor) fn accept_state(
        &mut self,
        has_workers: bool,
        is_stopped: bool,
        now: Instant,
    ) -> AcceptState {
        let was_stopped = std::mem::replace(&mut self.was_stopped, is_stopped);
        if has_workers {
            self.none_since = None;
        } else if was_stopped && !is_stopped {
            self.none_since = Some(now);
        } else {
            self.none_since.get_or_insert(now);
        }
        match self.none_since {
            _ if self.is_closing => AcceptState::Closing,
            None => AcceptState::Open,
            Some(_) if is_stopped => AcceptState::Reject,
            Some(since) if now - since >= self.hold_timeout => AcceptState::Reject,
            Some(_) => AcceptState::Hold,
        }
    }

    /// The time at which the hold ends by itself.
    pub(in crate::supervisor) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let is_held = !self.is_closing && !self.was_stopped;
        self.none_since.map(|since| since + self.hold_timeout).filter(|&at| at > now && is_held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_held_then_rejected_until_a_worker_is_back() {
        let begun = Instant::now();
        let mut hold_timer = HoldTimer::new(Duration::from_secs(10), begun);
        assert_eq!(hold_timer.accept_state(false, false, begun), AcceptState::Hold);
        assert_eq!(hold_timer.next_deadline(begun), Some(begun + Duration::from_secs(10)));
        let late = begun + Duration::from_secs(10);
        assert_eq!(hold_timer.accept_state(false, false, late), AcceptState::Reject);
        assert_eq!(hold_timer.next_deadline(late), None);
        assert_eq!(hold_timer.accept_state(true, false, late), AcceptState::Open);
        assert_eq!(hold_timer.accept_state(false, false, late), AcceptState::Hold, "a new absence is held anew");
    }

    #[test]
    fn stopped_pool_rejects_at_once_and_holds_again_when_started() {
        let begun = Instant::now();
        let mut hold_timer = HoldTimer::new(Duration::from_secs(10), begun);
        assert_eq!(hold_timer.accept_state(true, false, begun), AcceptState::Open);
        assert_eq!(hold_timer.accept_state(true, true, begun), AcceptState::Open, "while one still serves");
        assert_eq!(hold_timer.accept_state(false, true, begun), AcceptState::Reject);
        assert_eq!(hold_timer.next_deadline(begun), None);
        let late = begun + Duration::from_secs(60);
        assert_eq!(hold_timer.accept_state(false, false, late), AcceptState::Hold);
        assert_eq!(hold_timer.next_deadline(late), Some(late + Duration::from_secs(10)));
    }

    #[test]
    fn closing_state_is_final() {
        let now = Instant::now();
        let mut hold_timer = HoldTimer::new(Duration::from_secs(10), now);
        hold_timer.close();
        assert_eq!(hold_timer.accept_state(true, false, now), AcceptState::Closing);
        assert_eq!(hold_timer.next_deadline(now), None);
    }
}
