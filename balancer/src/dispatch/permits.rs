//! The limit of open connections: a number, and the tasks that wait for a permit.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// A bound on open connections, shared by all data threads.
#[derive(Debug)]
pub(super) struct ConnectionLimit {
    limit: AtomicUsize,
    taken: AtomicUsize,
    freed: Notify,
}

impl ConnectionLimit {
    /// Makes a bound of `limit`; of 1 if it is 0, since no client would ever be served.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: AtomicUsize::new(limit.max(1)), taken: AtomicUsize::new(0), freed: Notify::new() }
    }

    /// Changes the bound. Permits that were taken under a higher one stay taken.
    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit.max(1), Ordering::SeqCst);
        self.freed.notify_waiters();
    }

    /// Takes a permit. Returns false if none is left.
    pub(super) fn try_take(&self) -> bool {
        let limit = self.limit.load(Ordering::SeqCst);
        let one_more = |taken| (taken < limit).then_some(taken + 1);
        self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok()
    }

    /// Gives one permit back. Looks for waiting tasks only if no permit was left.
    pub(super) fn give_back(&self) {
        // The limit is read after the return is counted: a task that waits under a new limit looked at the count
        // before.
        if self.taken.fetch_sub(1, Ordering::SeqCst) >= self.limit.load(Ordering::SeqCst) {
            self.freed.notify_waiters();
        }
    }

    /// Returns true if a permit could be taken now.
    pub(super) fn has_room(&self) -> bool {
        self.taken.load(Ordering::SeqCst) < self.limit.load(Ordering::SeqCst)
    }

    /// Resolves when a permit is given back after none was left. Enable the future before you look for a permit.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn limit_is_kept_and_a_return_wakes_waiting_tasks() {
        let limit = ConnectionLimit::new(2);
        assert!(limit.try_take() && limit.try_take());
        assert!(!limit.try_take() && !limit.has_room());
        let freed = limit.freed();
        tokio::pin!(freed);
        freed.as_mut().enable();
        limit.give_back();
        freed.await;
        assert!(limit.try_take());
    }
    #[tokio::test]
    async fn higher_limit_wakes_waiters_lower_limit_keeps_permits() {
        let limit = ConnectionLimit::new(1);
        assert!(limit.try_take());
        let freed = limit.freed();
        tokio::pin!(freed);
        freed.as_mut().enable();
        limit.set_limit(3);
        freed.await;
        assert!(limit.try_take() && limit.try_take() && !limit.try_take());
        limit.set_limit(2);
        limit.give_back();
        assert!(!limit.try_take(), "two of three are still out");
        limit.give_back();
        assert!(limit.try_take());
    }
}
