//! Decides the accept state of the public listeners while workers come and go, or are stopped by command. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::rotation::AcceptState;

/// Holds clients in the backlog while no worker is in rotation, and rejects them after a time.
#[derive(Debug)]
pub(in crate::supervisor) struct HoldTimer {
    /// The time since which no worker has been in rotation.
    none_since: Option<Instant>,
    is_closing: bool,
    was_stopped: bool,
}

impl HoldTimer {
    /// Creates a timer for a pool that has no worker yet at `now`.
    pub(in crate::supervisor) fn new(now: Instant) -> Self {
        Self { none_since: Some(now), is_closing: false, was_stopped: false }
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
        hold_timeout: Duration,
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
            Some(since) if now - since >= hold_timeout => AcceptState::Reject,
            Some(_) => AcceptState::Hold,
        }
    }

    /// The time at which the hold ends by itself.
    pub(in crate::supervisor) fn next_deadline(&self, hold_timeout: Duration, now: Instant) -> Option<Instant> {
        let is_held = !self.is_closing && !self.was_stopped;
        self.none_since.map(|since| since + hold_timeout).filter(|&at| at > now && is_held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(10);

    #[test]
    fn clients_are_held_then_rejected_until_a_worker_is_back() {
        let begun = Instant::now();
        let mut hold_timer = HoldTimer::new(begun);
        assert_eq!(hold_timer.accept_state(false, false, HOLD, begun), AcceptState::Hold);
        assert_eq!(hold_timer.next_deadline(HOLD, begun), Some(begun + HOLD));
        let late = begun + HOLD;
        assert_eq!(hold_timer.accept_state(false, false, HOLD, late), AcceptState::Reject);
        assert_eq!(hold_timer.next_deadline(HOLD, late), None);
        assert_eq!(hold_timer.accept_state(true, false, HOLD, late), AcceptState::Open);
        assert_eq!(hold_timer.accept_state(false, false, HOLD, late), AcceptState::Hold, "a new absence is held anew");
    }

    #[test]
    fn stopped_pool_rejects_at_once_and_holds_again_when_started() {
        let begun = Instant::now();
        let mut hold_timer = HoldTimer::new(begun);
        assert_eq!(hold_timer.accept_state(true, false, HOLD, begun), AcceptState::Open);
        assert_eq!(hold_timer.accept_state(true, true, HOLD, begun), AcceptState::Open, "while one still serves");
        assert_eq!(hold_timer.accept_state(false, true, HOLD, begun), AcceptState::Reject);
        assert_eq!(hold_timer.next_deadline(HOLD, begun), None);
        let late = begun + Duration::from_secs(60);
        assert_eq!(hold_timer.accept_state(false, false, HOLD, late), AcceptState::Hold);
        assert_eq!(hold_timer.next_deadline(HOLD, late), Some(late + HOLD));
    }

    #[test]
    fn closing_state_is_final() {
        let now = Instant::now();
        let mut hold_timer = HoldTimer::new(now);
        hold_timer.close();
        assert_eq!(hold_timer.accept_state(true, false, HOLD, now), AcceptState::Closing);
        assert_eq!(hold_timer.next_deadline(HOLD, now), None);
    }
}
