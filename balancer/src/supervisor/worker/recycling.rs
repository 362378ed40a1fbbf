//! Detects reasons to replace a process that serves well: its age, a missing socket path. One call of `lstat`, and no
//! other look outside.

use tokio::time::{Duration, Instant};

use crate::rotation::Endpoint;

/// The times of one process's replacement.
#[derive(Debug, Default)]
pub(super) struct Recycling {
    /// The time at which the process is too old.
    replace_at: Option<Instant>,
    /// The time before which no other replacement may begin, after one was begun.
    not_before: Option<Instant>,
    /// The path of the unix endpoint was missing at the last look.
    is_endpoint_gone: bool,
}

impl Recycling {
    /// Begins the life of a process that has become ready. It ends within a tenth of `max_age` before or after that age,
    /// as `chance` (0 to 1) decides, so that workers that were started together are not replaced together.
    pub(super) fn begin(&mut self, max_age: Duration, chance: f64, now: Instant) {
        let age = max_age.mul_f64(0.9 + 0.2 * chance);
        self.replace_at = (!age.is_zero()).then(|| now + age);
    }

    /// Returns true if the process has reached its maximum age.
    pub(super) fn is_too_old(&self, now: Instant) -> bool {
        self.replace_at.is_some_and(|at| at <= now)
    }

    /// Returns true if the path of a unix endpoint was missing at this look and at the one before: a program that binds
    /// it anew removes it for a moment. One call of `lstat`.
    pub(super) fn has_lost_endpoint(&mut self, endpoint: &Endpoint) -> bool {
        let (Endpoint::Unix(path) | Endpoint::UnixOf(path, _)) = endpoint else { return false };
        let found = std::fs::symlink_metadata(path);
        let is_gone = found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        std::mem::replace(&mut self.is_endpoint_gone, is_gone) && is_gone
    }

    /// Returns true if the process may be replaced at `now`; if so, it may not again before `next`.
    pub(super) fn may_be_replaced(&mut self, next: Instant, now: Instant) -> bool {
        let may = self.not_before.is_none_or(|at| at <= now);
        if may {
            self.not_before = Some(next);
        }
        // It is due again only if this replacement fails.
        self.replace_at = self.replace_at.map(|at| at.max(next));
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn process_is_too_old_near_its_maximum_age() {
        let begun = Instant::now();
        for (max_age, chance, after, is_too_old) in [
            (HOUR, 0.0, HOUR.mul_f64(0.89), false),
            (HOUR, 0.0, HOUR.mul_f64(0.91), true),
            (HOUR, 1.0, HOUR.mul_f64(1.09), false),
            (HOUR, 1.0, HOUR.mul_f64(1.11), true),
            (Duration::ZERO, 1.0, 1000 * HOUR, false),
        ] {
            let mut recycling = Recycling::default();
            assert!(!recycling.is_too_old(begun + after), "it never was ready");
            recycling.begin(max_age, chance, begun);
            assert_eq!(recycling.is_too_old(begun + after), is_too_old, "{max_age:?} {chance} {after:?}");
        }
    }

    #[test]
    fn begun_replacement_delays_the_next_one() {
        let (mut recycling, begun) = (Recycling::default(), Instant::now());
        recycling.begin(HOUR, 0.5, begun);
        let next = begun + 2 * HOUR;
        assert!(recycling.may_be_replaced(next, begun));
        assert!(!recycling.may_be_replaced(next + HOUR, begun + HOUR));
        assert!(!recycling.is_too_old(begun + 2 * HOUR), "it is not due before it may be replaced");
        assert!(recycling.may_be_replaced(next + HOUR, next));
    }

    #[test]
    fn endpoint_is_lost_when_missing_at_two_looks() {
        let dir = tempfile::tempdir().unwrap();
        let (mut recycling, path) = (Recycling::default(), dir.path().join("w"));
        let endpoint = Endpoint::Unix(path.clone());
        std::fs::write(&path, "").unwrap();
        assert!(!recycling.has_lost_endpoint(&endpoint));
        std::fs::remove_file(&path).unwrap();
        assert!(!recycling.has_lost_endpoint(&endpoint), "it may be bound anew");
        assert!(recycling.has_lost_endpoint(&endpoint));
        std::fs::write(&path, "").unwrap();
        assert!(!recycling.has_lost_endpoint(&endpoint));
    }
}
