//! A histogram of durations with a relative error below 1/64. Pure.

use std::time::Duration;

/// The number of steps within each power of two.
const STEPS: u64 = 64;
/// The powers of two above the steps: up to 2^36 µs, 19 hours.
const POWERS: u64 = 30;
const BUCKETS: usize = (STEPS * (POWERS + 1)) as usize;

/// Counts of durations in microseconds. Exact up to 64 µs; above that there are 64 buckets for each power of two.
#[derive(Clone, Debug)]
pub struct Latency {
    counts: Box<[u64]>,
    count: u64,
    sum: u128,
    max: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into(), count: 0, sum: 0, max: Duration::ZERO }
    }
}

impl Latency {
    pub(crate) fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(micros)) {
            *count += 1;
        }
        self.count += 1;
        self.sum += duration.as_nanos();
        self.max = self.max.max(duration);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the mean, or zero if there are no durations.
    pub fn mean(&self) -> Duration {
        let nanos = self.sum.checked_div(u128::from(self.count)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Returns the longest duration, exactly.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// Returns the duration that `percent` of all durations do not exceed (100 is [`Latency::max`]); at most 1/64 too
    /// large.
    pub fn percentile(&self, percent: f64) -> Duration {
        let wanted = (self.count as f64 * percent / 100.0).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return Duration::from_micros(upper(index as u64)).min(self.max);
            }
        }
        self.max
    }

    /// Returns the number of durations longer than `bound`, to the precision of a bucket.
    pub fn over(&self, bound: Duration) -> u64 {
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        self.counts.iter().skip(bucket(micros) + 1).sum()
    }
}

fn bucket(micros: u64) -> usize {
    let power = micros.checked_ilog2().map_or(0, u64::from).saturating_sub(u64::from(STEPS.ilog2()));
    let index = power * STEPS + (micros >> power);
    usize::try_from(index).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// Returns the largest value of a bucket.
fn upper(index: u64) -> u64 {
    match index / STEPS {
        0 => index,
        // The steps of a power begin at STEPS itself, so its first bucket has the index power * STEPS + STEPS.
        power => ((index % STEPS + STEPS + 1) << (power - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_holds_its_value_and_is_narrow() {
        for micros in (0..2000).chain([4095, 4096, 4097, 1_000_000, 123_456_789, 60_000_000_000]) {
            let upper = upper(bucket(micros) as u64);
            assert!(upper >= micros && upper - micros <= micros / 64, "{micros}: {upper}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_mean_and_tail_of_a_known_set_are_right() {
        let mut latency = Latency::default();
        assert_eq!((latency.percentile(50.0), latency.mean()), (Duration::ZERO, Duration::ZERO));
        (1..=1000).for_each(|ms| latency.record(Duration::from_millis(ms)));
        for (percent, ms) in [(50.0, 500.0), (90.0, 900.0), (99.9, 999.0)] {
            let found = latency.percentile(percent).as_secs_f64() * 1000.0;
            assert!(found >= ms && found <= ms * 65.0 / 64.0 + 0.1, "{percent}: {found}");
        }
        assert_eq!(latency.percentile(100.0), Duration::from_secs(1));
        assert_eq!(latency.mean(), Duration::from_micros(500_500));
        let over = latency.over(Duration::from_millis(600));
        assert!((390..=400).contains(&over), "{over}");
        let mut both = latency.clone();
        both.merge(&latency);
        assert_eq!((both.count(), both.percentile(50.0)), (2000, latency.percentile(50.0)));
    }
}
