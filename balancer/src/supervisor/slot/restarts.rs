//! The pauses between the processes of one slot: before a start, and before a replacement for memory. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::{Backoff, Next};
use crate::config;
use crate::pool::SlotState;

#[derive(Clone, Copy, Debug)]
struct Wait {
    until: Instant,
    is_failed: bool,
}

/// The exits of a slot's processes, and the pauses that follow from them.
#[derive(Debug)]
pub(super) struct Restarts {
    backoff: Backoff,
    /// The wait for the next start, if the slot waits for one.
    wait: Option<Wait>,
    /// The time at which the next process that is too big may be replaced.
    too_big_until: Option<Instant>,
    exits: u64,
}

impl Restarts {
    /// Creates the pauses of a slot without exits; `seed` is the seed of their jitter.
    pub(super) fn new(config: config::Restart, seed: u64) -> Self {
        Self { backoff: Backoff::new(config, seed), wait: None, too_big_until: None, exits: 0 }
    }

    pub(super) fn set_config(&mut self, config: config::Restart) {
        self.backoff.set_config(config);
    }

    /// Counts a process that has ended by itself or failed to start.
    pub(super) fn count_exit(&mut self) {
        self.exits += 1;
    }

    /// The number of processes that have ended by themselves or failed to start.
    pub(super) fn exits(&self) -> u64 {
        self.exits
    }

    /// Begins the wait for the start after an exit. Returns true if the start is due at once. `ready_for` is the time for
    /// which the process had been ready.
    pub(super) fn begin_wait(&mut self, ready_for: Option<Duration>, now: Instant) -> bool {
        let (wait, is_failed) = match self.backoff.exited(ready_for, now) {
            Next::After(Duration::ZERO) => return true,
            Next::After(wait) => (wait, false),
            Next::Exhausted(wait) => (wait, true),
        };
        self.wait = Some(Wait { until: now + wait, is_failed });
        false
    }

    /// Ends the wait for a start.
    pub(super) fn end_wait(&mut self) {
        self.wait = None;
    }

    /// The time of the next start, while the slot waits for it.
    pub(super) fn next_start(&self) -> Option<Instant> {
        self.wait.map(|wait| wait.until)
    }

    /// The state of a slot that waits for a start.
    pub(super) fn waiting_state(&self) -> Option<SlotState> {
        self.wait.map(|wait| if wait.is_failed { SlotState::Failed } else { SlotState::Backoff })
    }

    /// Begins the pause after a replacement for memory, as long as the one after an exit.
    pub(super) fn replaced_for_memory(&mut self, ready_for: Option<Duration>, now: Instant) {
        self.too_big_until = Some(now + self.backoff.exited(ready_for, now).wait());
    }

    /// Returns true if a process that is too big must not be replaced at `now`: replacing for memory backs off, as
    /// starting after exits does.
    pub(super) fn stays_big(&self, now: Instant) -> bool {
        self.too_big_until.is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Program;

    #[test]
    fn first_start_is_due_at_once_and_later_ones_wait() {
        let config = config::PoolConfig::new("test", Program::Demo).restart.clone();
        let (mut restarts, now) = (Restarts::new(config, 7), Instant::now());
        assert!(restarts.begin_wait(None, now));
        assert_eq!((restarts.next_start(), restarts.waiting_state()), (None, None));
        assert!(!restarts.begin_wait(None, now));
        assert!(restarts.next_start().is_some_and(|at| at > now));
        assert_eq!(restarts.waiting_state(), Some(SlotState::Backoff));
        restarts.end_wait();
        assert_eq!((restarts.next_start(), restarts.waiting_state()), (None, None));
    }

    #[test]
    fn many_exits_in_a_row_fail_the_slot() {
        let config = config::PoolConfig::new("test", Program::Demo).restart.clone();
        let (mut restarts, now) = (Restarts::new(config, 7), Instant::now());
        let failed = (0..20).find(|_| {
            restarts.begin_wait(None, now);
            restarts.waiting_state() == Some(SlotState::Failed)
        });
        assert!(failed.is_some());
    }
}
