//! Limits how many workers are replaced on a suspicion at one time. Pure.
//!
//! If many workers look unhealthy, the cause is rarely the workers: it is a database that does not answer, or a full
//! disk. So at most max(1, half) workers of a pool are being replaced on a suspicion at one time, and the next only
//! after a replacement has answered. If a replacement looks unhealthy too, replacing stops: the cause is elsewhere, and
//! more processes would only add load. It continues after a pause, or as soon as one of those workers works again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

/// The pause in replacements on a suspicion after a replacement looked unhealthy too.
const PAUSE: Duration = Duration::from_secs(60);
/// A replacement counts as unhealthy if it comes under suspicion within this time plus `busy-timeout` after it was
/// ready.
const YOUNG: Duration = Duration::from_secs(60);

/// The answer to a request to replace a worker on a suspicion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    /// Replace it.
    Go,
    /// Enough are being replaced already.
    Wait,
    /// Replacements look unhealthy too: no worker is replaced on a suspicion for a while. Returned once, then `Wait`.
    Stop,
}

/// The replacements of one pool that were begun on a suspicion.
#[derive(Debug, Default)]
pub(super) struct ReplacementLimit {
    /// Slots whose replacement was begun and is not ready yet.
    under_way: BTreeSet<usize>,
    /// By slot: when its replacement was ready.
    replaced: BTreeMap<usize, Instant>,
    paused_until: Option<Instant>,
}

impl ReplacementLimit {
    /// Decides if the worker in `slot` of a pool of `workers` may be replaced now. The pause does not apply to a worker
    /// whose processes are stopped (SIGSTOP): such a worker says nothing about the others.
    pub(super) fn ask(
        &mut self,
        slot: usize,
        workers: usize,
        is_stopped: bool,
        busy_timeout: Duration,
        now: Instant,
    ) -> Permission {
        if self.paused_until.is_some_and(|until| until > now) && !is_stopped {
            return Permission::Wait;
        }
        if self.paused_until.take_if(|until| *until <= now).is_some() {
            self.replaced.clear();
        }
        let most = (workers / 2).max(1);
        let is_young = |ready: &Instant| now.saturating_duration_since(*ready) < YOUNG + busy_timeout;
        let sick = self.replaced.get(&slot).is_some_and(is_young);
        if sick && !is_stopped {
            self.paused_until = Some(now + PAUSE);
            return Permission::Stop;
        }
        if self.under_way.contains(&slot) || self.under_way.len() >= most {
            return Permission::Wait;
        }
        Permission::Go
    }

    /// Records that the replacement of the worker in `slot` has begun.
    pub(super) fn begun(&mut self, slot: usize) {
        self.under_way.insert(slot);
        self.replaced.remove(&slot);
    }

    /// Records that a process of `slot` is ready: it has answered.
    pub(super) fn ready(&mut self, slot: usize, now: Instant) {
        if self.under_way.remove(&slot) {
            self.replaced.insert(slot, now);
        }
    }

    /// Records that the replacement in `slot` did not come up and the old process serves on, or that the slot was
    /// stopped.
    pub(super) fn ended(&mut self, slot: usize) {
        self.under_way.remove(&slot);
    }

    /// Forgets slots that shall have no process any more: they were stopped, or the pool has fewer workers.
    pub(super) fn forget_stopped(&mut self, shall_run: impl Fn(usize) -> bool) {
        self.under_way.retain(|&slot| shall_run(slot));
        self.replaced.retain(|&slot, _| shall_run(slot));
    }

    /// Records that the suspect worker in `slot` works again: the cause, whatever it was, has gone.
    pub(super) fn recovered(&mut self, slot: usize) {
        if self.replaced.remove(&slot).is_some() {
            self.paused_until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Duration = Duration::from_secs(30);

    fn ask(limit: &mut ReplacementLimit, slot: usize, workers: usize, now: Instant) -> Permission {
        let permission = limit.ask(slot, workers, false, BUSY, now);
        if permission == Permission::Go {
            limit.begun(slot);
        }
        permission
    }

    #[test]
    fn limit_allows_half_of_pool_at_one_time() {
        let now = Instant::now();
        for (workers, most) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (8, 4)] {
            let mut limit = ReplacementLimit::default();
            let granted = (0..workers).filter(|&slot| ask(&mut limit, slot, workers, now) == Permission::Go);
            assert_eq!(granted.count(), most, "of {workers}");
        }
    }

    #[test]
    fn next_replacement_waits_until_last_one_has_answered() {
        let (mut limit, now) = (ReplacementLimit::default(), Instant::now());
        assert_eq!(ask(&mut limit, 0, 2, now), Permission::Go);
        assert_eq!(ask(&mut limit, 0, 2, now), Permission::Wait, "under way");
        assert_eq!(ask(&mut limit, 1, 2, now), Permission::Wait);
        limit.ready(0, now);
        assert_eq!(ask(&mut limit, 1, 2, now), Permission::Go);
        limit.ended(1);
        assert_eq!(ask(&mut limit, 1, 2, now), Permission::Go, "its replacement did not come up");
    }

    #[test]
    fn unhealthy_replacement_pauses_further_replacements() {
        let (mut limit, now) = (ReplacementLimit::default(), Instant::now());
        assert_eq!(ask(&mut limit, 0, 4, now), Permission::Go);
        limit.ready(0, now);
        let later = now + Duration::from_secs(40);
        assert_eq!(ask(&mut limit, 0, 4, later), Permission::Stop);
        assert_eq!(ask(&mut limit, 0, 4, later), Permission::Wait, "said once");
        assert_eq!(ask(&mut limit, 3, 4, later), Permission::Wait, "nor any other");
        assert_eq!(limit.ask(3, 4, true, BUSY, later), Permission::Go, "one that was stopped is not sick");
        assert_eq!(ask(&mut limit, 0, 4, later + PAUSE), Permission::Go);
        limit.ready(0, later + PAUSE);
        assert_eq!(ask(&mut limit, 0, 4, later + PAUSE), Permission::Stop);
        limit.recovered(2);
        assert_eq!(ask(&mut limit, 0, 4, later + PAUSE), Permission::Wait, "another worker says nothing");
        limit.recovered(0);
        assert_eq!(ask(&mut limit, 0, 4, later + PAUSE), Permission::Go, "it had worked again");
    }

    #[test]
    fn slot_stopped_meanwhile_frees_its_share_of_the_limit() {
        let (mut limit, now) = (ReplacementLimit::default(), Instant::now());
        assert_eq!(ask(&mut limit, 1, 2, now), Permission::Go);
        assert_eq!(ask(&mut limit, 0, 2, now), Permission::Wait);
        limit.forget_stopped(|slot| slot != 1);
        assert_eq!(ask(&mut limit, 0, 2, now), Permission::Go);
    }

    #[test]
    fn old_replacement_under_suspicion_is_replaced_again() {
        let (mut limit, now) = (ReplacementLimit::default(), Instant::now());
        ask(&mut limit, 0, 1, now);
        limit.ready(0, now);
        assert_eq!(ask(&mut limit, 0, 1, now + YOUNG + BUSY), Permission::Go);
    }
}
