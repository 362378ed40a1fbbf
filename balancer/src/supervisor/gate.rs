//! What the public listeners do while workers come and go. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::rotation::Gate;

/// Holds clients in the backlog while no worker is there, and gives up holding after a time.
#[derive(Debug)]
pub(super) struct Keeper {
    hold_timeout: Duration,
    /// Since when there has been no worker in rotation.
    none_since: Option<Instant>,
    is_closing: bool,
}

impl Keeper {
    /// Holds for as long as this from now on.
    pub(super) fn set_hold_timeout(&mut self, hold_timeout: Duration) {
        self.hold_timeout = hold_timeout;
    }

    /// No worker yet at `now`.
    pub(super) fn new(hold_timeout: Duration, now: Instant) -> Self {
        Self { hold_timeout, none_since: Some(now), is_closing: false }
    }

    /// The master stops: the listeners are emptied and closed, whatever the workers do.
    pub(super) fn close(&mut self) {
        self.is_closing = true;
    }

    /// What the listeners do at `now`, with or without a worker in rotation.
    pub(super) fn gate(&mut self, has_workers: bool, now: Instant) -> Gate {
        if has_workers {
            self.none_since = None;
        } else {
            self.none_since.get_or_insert(now);
        }
        match self.none_since {
            _ if self.is_closing => Gate::Closing,
            None => Gate::Open,
            Some(since) if now - since >= self.hold_timeout => Gate::Refuse,
            Some(_) => Gate::Hold,
        }
    }

    /// When holding ends by itself.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        self.none_since.map(|since| since + self.hold_timeout).filter(|&at| at > now && !self.is_closing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_held_then_refused_until_a_worker_is_back() {
        let begun = Instant::now();
        let mut keeper = Keeper::new(Duration::from_secs(10), begun);
        assert_eq!(keeper.gate(false, begun), Gate::Hold);
        assert_eq!(keeper.next_deadline(begun), Some(begun + Duration::from_secs(10)));
        let late = begun + Duration::from_secs(10);
        assert_eq!(keeper.gate(false, late), Gate::Refuse);
        assert_eq!(keeper.next_deadline(late), None);
        assert_eq!(keeper.gate(true, late), Gate::Open);
        assert_eq!(keeper.gate(false, late), Gate::Hold, "a new absence is held anew");
    }

    #[test]
    fn closing_is_final() {
        let now = Instant::now();
        let mut keeper = Keeper::new(Duration::from_secs(10), now);
        keeper.close();
        assert_eq!(keeper.gate(true, now), Gate::Closing);
        assert_eq!(keeper.next_deadline(now), None);
    }
}
