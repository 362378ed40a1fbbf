//! Limits how many listeners a worker may bind over time, even if it closes them again. Pure.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// The listeners that may be bound at once: more than an application has servers, each on a port of its own.
const BURST: f64 = 256.0;
/// The time after which one more may be bound.
const EACH: Duration = Duration::from_millis(250);

/// The listeners that each slot may still bind, as of a moment. The processes of a slot share them: a worker that
/// restarts in a loop gets no more.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct BindLimit(HashMap<usize, (f64, Instant)>);

impl BindLimit {
    /// Takes one; returns false if none is left at `now`.
    pub(in crate::supervisor) fn take(&mut self, slot: usize, now: Instant) -> bool {
        let (left, at) = self.0.entry(slot).or_insert((BURST, now));
        let come = now.saturating_duration_since(*at).as_secs_f64() / EACH.as_secs_f64();
        (*left, *at) = ((*left + come).min(BURST), now.max(*at));
        let may = *left >= 1.0;
        if may {
            *left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_that_binds_in_a_loop_gets_four_a_second() {
        let (mut bind_limit, now) = (BindLimit::default(), Instant::now());
        let mut taken = |slot, after| (0..10_000).filter(|_| bind_limit.take(slot, now + after)).count();
        assert_eq!(taken(0, Duration::ZERO), 256);
        assert_eq!(taken(0, Duration::from_secs(1)), 4);
        assert_eq!(taken(1, Duration::from_secs(1)), 256);
        assert_eq!(taken(0, Duration::from_secs(3600)), 256);
    }
}
