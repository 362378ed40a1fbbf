//! The search of one connection for a worker, once the first one was not the right one. Pure: time comes in.
//!
//! Relayed and handed connections search alike. A worker that failed is passed over until the rotation changes or a
//! pause is over. All tries together have one deadline, `dispatch-timeout`. The time while no worker could take the
//! connection does not count: then it waits like the clients in the backlog.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::rotation::{SlotId, Upstream};
use crate::stats::{Outcome, SlotStats};

/// The pause after which workers that failed, or had no room, are tried again. A queue that empties sends no signal.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// The state of a search.
pub(super) struct UpstreamSearch {
    /// The time at which the deadline began to run.
    since: Instant,
    /// The slots that are passed over.
    tried: Vec<SlotId>,
    /// The processes of which the supervisor was told. Each is reported once, however often it fails.
    reported: Vec<(SlotId, u64)>,
    /// The slot whose worker failed last, or was left, until the next try is counted as its retry.
    failed: Option<Arc<SlotStats>>,
}

impl UpstreamSearch {
    /// Begins a search at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, tried: Vec::new(), reported: Vec::new(), failed: None }
    }

    /// Returns the slots that are passed over.
    pub(super) fn tried(&self) -> &[SlotId] {
        &self.tried
    }

    /// Begins the deadline anew: so far no worker could take the connection.
    pub(super) fn restart(&mut self, now: Instant) {
        self.since = now;
    }

    /// Adds `time` to the deadline: a worker had the connection meanwhile and did not take it.
    pub(super) fn extend(&mut self, time: Duration) {
        self.since += time;
    }

    /// Returns the time that is left of `timeout`.
    pub(super) fn left(&self, now: Instant, timeout: Duration) -> Duration {
        timeout.saturating_sub(now.saturating_duration_since(self.since))
    }

    /// Returns the time to wait for a change of the rotation, if `left` is left. It is short if a worker is to be tried
    /// again: one that failed, or one that has no room at the moment (`is_any_full`).
    pub(super) fn pause(&self, left: Duration, is_any_full: bool) -> Duration {
        if self.tried.is_empty() && !is_any_full { left } else { left.min(RETRY_PAUSE) }
    }

    /// Allows every worker again.
    pub(super) fn try_all_again(&mut self) {
        self.tried.clear();
    }

    /// Records that the connection left a worker of this slot: the next try is a retry.
    pub(super) fn left_slot(&mut self, stats: &Arc<SlotStats>) {
        self.failed = Some(Arc::clone(stats));
    }

    /// Records that a worker did not take the connection, and passes its slot over. Returns true if the supervisor must
    /// be told: the worker `is_at_fault`, and this is the first report of the process.
    pub(super) fn failed(&mut self, upstream: &Upstream, is_at_fault: bool) -> bool {
        self.left_slot(&upstream.stats);
        self.tried.push(upstream.slot);
        let process = (upstream.slot, upstream.incarnation);
        let is_reported = is_at_fault && !self.reported.contains(&process);
        if is_reported {
            self.reported.push(process);
        }
        is_reported
    }

    /// Counts the next try as a retry of the slot that failed last. To be called before each try.
    pub(super) fn count_retry(&mut self) {
        if let Some(failed) = self.failed.take() {
            failed.retries.increment();
        }
    }

    /// Returns the outcome of a search that found no worker in time.
    pub(super) fn outcome(&self) -> Outcome {
        if self.failed.is_some() { Outcome::Unreachable } else { Outcome::NoUpstream }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::Endpoint;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn upstream(slot: u32, incarnation: u64) -> Upstream {
        Upstream::new(SlotId(slot), incarnation, Endpoint::Channel, Arc::default())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn deadline_covers_all_tries_and_no_wait_without_workers() {
        let begun = Instant::now();
        let mut search = UpstreamSearch::new(begun);
        search.failed(&upstream(0, 1), true);
        assert_eq!(search.left(begun + seconds(4), TIMEOUT), seconds(6), "a try does not prolong it");
        search.restart(begun + seconds(60));
        assert_eq!(search.left(begun + seconds(64), TIMEOUT), seconds(6));
        search.extend(seconds(3));
        assert_eq!(search.left(begun + seconds(64), TIMEOUT), seconds(9), "three seconds lay with a worker");
        assert_eq!(search.left(begun + seconds(73), TIMEOUT), Duration::ZERO);
        assert_eq!(search.left(begun + seconds(999), TIMEOUT), Duration::ZERO);
    }

    #[test]
    fn failed_worker_is_passed_over_until_all_are_allowed() {
        let mut search = UpstreamSearch::new(Instant::now());
        search.failed(&upstream(2, 1), true);
        search.failed(&upstream(0, 1), false);
        assert_eq!(search.tried(), [SlotId(2), SlotId(0)]);
        search.try_all_again();
        assert_eq!(search.tried(), []);
    }

    #[test]
    fn process_at_fault_is_reported_once() {
        let mut search = UpstreamSearch::new(Instant::now());
        let [first, second] = [upstream(0, 1), upstream(0, 2)];
        assert!(!search.failed(&first, false), "its queue was full, which is no fault");
        assert!(search.failed(&first, true));
        search.try_all_again();
        assert!(!search.failed(&first, true));
        assert!(search.failed(&second, true), "another process of the slot");
    }

    #[test]
    fn retry_is_counted_once_for_the_slot_that_failed_last() {
        let mut search = UpstreamSearch::new(Instant::now());
        let [first, second] = [upstream(0, 1), upstream(1, 1)];
        search.count_retry();
        search.failed(&first, true);
        search.failed(&second, true);
        search.count_retry();
        search.count_retry();
        search.left_slot(&first.stats);
        search.count_retry();
        assert_eq!((first.stats.retries.get(), second.stats.retries.get()), (1, 1));
    }

    #[test]
    fn pause_is_short_only_if_a_worker_is_tried_again() {
        let mut search = UpstreamSearch::new(Instant::now());
        assert_eq!(search.pause(TIMEOUT, false), TIMEOUT);
        assert_eq!(search.pause(TIMEOUT, true), RETRY_PAUSE);
        search.failed(&upstream(0, 1), true);
        assert_eq!(search.pause(TIMEOUT, false), RETRY_PAUSE);
        assert_eq!(search.pause(Duration::from_millis(1), false), Duration::from_millis(1), "the deadline is met");
    }

    #[test]
    fn fruitless_search_is_unreachable_only_after_a_failure() {
        let mut search = UpstreamSearch::new(Instant::now());
        assert_eq!(search.outcome(), Outcome::NoUpstream);
        search.failed(&upstream(0, 1), true);
        assert_eq!(search.outcome(), Outcome::Unreachable);
    }
}
