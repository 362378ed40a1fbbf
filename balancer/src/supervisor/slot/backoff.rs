//! Computes the wait of a slot before its next start. Pure.
//!
//! The first exit after a good run costs nothing: the slot starts again at once. Exits in a row wait `backoff` × 2ⁿ up
//! to `backoff_max`, ±20 % so that many slots do not start in step. More than `max-exits` exits within `window` exhaust
//! the slot, whatever their cause and however long each process was ready.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Restart;

/// The share by which a wait may be longer or shorter.
const JITTER: f64 = 0.2;

/// One slot's record of its exits.
#[derive(Debug)]
pub(in crate::supervisor) struct Backoff {
    config: Restart,
    /// Exits in a row.
    streak: u32,
    /// Exits within the window, oldest first.
    recent: VecDeque<Instant>,
    chance: fastrand::Rng,
}

/// The consequence of an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum Next {
    /// Start again after this wait.
    After(Duration),
    /// Start again after this wait, and the slot counts as failed.
    Exhausted(Duration),
}

impl Next {
    pub(in crate::supervisor) fn wait(self) -> Duration {
        match self {
            Self::After(wait) | Self::Exhausted(wait) => wait,
        }
    }
}

impl Backoff {
    pub(in crate::supervisor) fn new(config: Restart, seed: u64) -> Self {
        Self { config, streak: 0, recent: VecDeque::new(), chance: fastrand::Rng::with_seed(seed) }
    }

    /// Uses this configuration from now on; the counted exits stay.
    pub(in crate::supervisor) fn set_config(&mut self, config: Restart) {
        self.config = config;
    }

    /// Counts an exit at `now` of a process that had been ready for `ready_for`.
    pub(in crate::supervisor) fn exited(&mut self, ready_for: Option<Duration>, now: Instant) -> Next {
        if ready_for.is_some_and(|time| time >= self.config.reset_after) {
            self.streak = 0;
        }
        self.recent.push_back(now);
        while self.recent.front().is_some_and(|&first| now - first > self.config.window) {
            self.recent.pop_front();
        }
        let streak = self.streak;
        self.streak = streak.saturating_add(1);
        if self.recent.len() > usize::try_from(self.config.max_exits).unwrap_or(usize::MAX) {
            return Next::Exhausted(self.jittered(self.config.backoff_max));
        }
        let Some(doublings) = streak.checked_sub(1) else {
            return Next::After(Duration::ZERO);
        };
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let wait = self.config.backoff.saturating_mul(factor).min(self.config.backoff_max);
        Next::After(self.jittered(wait))
    }

    fn jittered(&mut self, wait: Duration) -> Duration {
        wait.mul_f64(1.0 + JITTER * (2.0 * self.chance.f64() - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(backoff: &mut Backoff, exits: usize, ready_for: Option<Duration>) -> Vec<Duration> {
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..exits {
            let wait = backoff.exited(ready_for, now).wait();
            now += wait;
            waits.push(wait);
        }
        waits
    }

    #[test]
    fn first_restart_is_at_once_then_waits_double_up_to_cap() {
        let config = Restart { backoff_max: Duration::from_millis(400), ..Restart::default() };
        let waits = waits(&mut Backoff::new(config, 1), 7, None);
        assert_eq!(waits[0], Duration::ZERO);
        for (wait, ideal) in waits[1..].iter().zip([100.0, 200.0, 400.0, 400.0, 400.0, 400.0]) {
            let ratio = wait.as_secs_f64() * 1000.0 / ideal;
            assert!((0.8..=1.2).contains(&ratio), "{wait:?} for {ideal}");
        }
    }

    #[test]
    fn good_run_makes_the_next_restart_immediate() {
        let mut backoff = Backoff::new(Restart::default(), 1);
        waits(&mut backoff, 4, None);
        assert_eq!(waits(&mut backoff, 1, Some(Duration::from_secs(10))), [Duration::ZERO]);
        assert_ne!(waits(&mut backoff, 1, Some(Duration::from_secs(9))), [Duration::ZERO]);
    }

    #[test]
    fn more_than_max_exits_within_window_exhaust_backoff() {
        let config = Restart { max_exits: 3, ..Restart::default() };
        let mut backoff = Backoff::new(config, 1);
        let now = Instant::now();
        let last = (0..4).map(|_| backoff.exited(None, now)).last();
        assert!(matches!(last, Some(Next::Exhausted(wait)) if wait >= Duration::from_secs(24)), "{last:?}");
        let later = now + Duration::from_secs(61);
        assert!(matches!(backoff.exited(None, later), Next::After(_)), "the window has passed");
    }

    #[test]
    fn good_run_does_not_reset_max_exits() {
        let config = Restart { max_exits: 3, window: Duration::from_secs(3600), ..Restart::default() };
        let (mut backoff, begun) = (Backoff::new(config, 1), Instant::now());
        let ends = (1..=4).map(|n| backoff.exited(Some(Duration::from_secs(60)), begun + n * Duration::from_secs(60)));
        assert!(matches!(ends.last(), Some(Next::Exhausted(_))));
    }
}
