//! The limits at which clients wait to be accepted, and their episodes. Pure: time comes in as an argument.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{AcceptLimit, Counter};

/// An episode is over when no client has waited for this long.
const CALM: Duration = Duration::from_secs(2);

/// The limits at which clients of one pool wait in the kernel, over all its listeners and threads.
#[derive(Debug, Default)]
pub struct AcceptLimits {
    /// Episodes since the start, by [`AcceptLimit`].
    pub episodes: [Counter; AcceptLimit::COUNT],
    seen: [Mutex<Seen>; AcceptLimit::COUNT],
}

/// The state of one limit.
#[derive(Debug, Default)]
struct Seen {
    /// Accept loops at which clients wait now.
    loops: u32,
    /// The last time that clients waited, if none wait now.
    last: Option<Instant>,
}

impl Seen {
    fn is_present(&self, now: Instant) -> bool {
        self.loops > 0 || self.last.is_some_and(|last| now.saturating_duration_since(last) < CALM)
    }
}

impl AcceptLimits {
    fn seen(&self, limit: AcceptLimit) -> MutexGuard<'_, Seen> {
        self.seen[limit as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that clients of one more accept loop wait at `limit`, until [`AcceptLimits::end`]. Returns true if an episode
    /// begins.
    pub fn begin(&self, limit: AcceptLimit, now: Instant) -> bool {
        let mut seen = self.seen(limit);
        let is_new = !seen.is_present(now);
        seen.loops += 1;
        if is_new {
            self.episodes[limit as usize].increment();
        }
        is_new
    }

    /// Records that the clients of one accept loop wait no longer.
    pub fn end(&self, limit: AcceptLimit, now: Instant) {
        let mut seen = self.seen(limit);
        (seen.loops, seen.last) = (seen.loops.saturating_sub(1), Some(now));
    }

    /// Returns true during an episode of that limit.
    pub fn is_present(&self, limit: AcceptLimit, now: Instant) -> bool {
        self.seen(limit).is_present(now)
    }

    /// Returns the most serious limit that has an episode now.
    pub fn present(&self, now: Instant) -> Option<AcceptLimit> {
        AcceptLimit::ALL.iter().copied().find(|&limit| self.is_present(limit, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_wait_again_soon_are_one_episode() {
        let (limits, start) = (AcceptLimits::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs_f64(seconds);
        let limit = AcceptLimit::OpenFiles;
        assert_eq!(limits.present(at(0.0)), None);
        assert!(limits.begin(limit, at(0.0)));
        assert!(!limits.begin(limit, at(1.0)), "a second listener");
        limits.end(limit, at(1.0));
        assert_eq!(limits.present(at(900.0)), Some(limit), "the first one's clients still wait");
        limits.end(limit, at(900.0));
        assert!(limits.is_present(limit, at(901.0)));
        assert!(!limits.begin(limit, at(901.0)));
        limits.end(limit, at(902.0));
        assert!(!limits.is_present(limit, at(904.5)));
        assert!(limits.begin(limit, at(905.0)));
        assert_eq!(limits.episodes[limit as usize].get(), 2);
    }

    #[test]
    fn most_serious_limit_is_reported() {
        let (limits, now) = (AcceptLimits::default(), Instant::now());
        for limit in [AcceptLimit::MaxConnections, AcceptLimit::OpenFiles, AcceptLimit::Exhausted] {
            limits.begin(limit, now);
            assert_eq!(limits.present(now), Some(limit));
        }
    }
}
