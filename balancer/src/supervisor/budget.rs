//! Limits how many processes are started per second over all pools, even if many crash. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket: `rate` starts a second, `burst` at once.
#[derive(Debug)]
pub struct SpawnBudget {
    interval: Duration,
    burst: u32,
    /// The time at which the bucket will be full again.
    full_at: Instant,
}

impl SpawnBudget {
    /// Returns a full bucket. `burst` should be at least the number of workers, so that a start is not slowed.
    pub fn new(rate: u32, burst: u32, now: Instant) -> Self {
        Self { interval: Duration::from_secs(1) / rate.max(1), burst: burst.max(1), full_at: now }
    }

    /// Takes a token at `now`.
    ///
    /// # Errors
    ///
    /// The time at which the next token is there.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let full_at = self.full_at.max(now) + self.interval;
        let latest = now + self.interval * self.burst;
        if full_at > latest {
            return Err(now + (full_at - latest));
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_budget_allows_starts_at_its_rate() {
        let begun = Instant::now();
        let mut budget = SpawnBudget::new(20, 4, begun);
        for _ in 0..4 {
            assert_eq!(budget.take(begun), Ok(()));
        }
        let mut now = begun;
        for n in 1..=40 {
            let next = budget.take(now).unwrap_err();
            assert_eq!(next - begun, Duration::from_millis(50) * n);
            now = next;
            assert_eq!(budget.take(now), Ok(()));
        }
    }
}
