//! A histogram of durations with a relative error below 1/128. Pure.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Significant decimal digits of a bucket: there are 128 for each power of two, and the first 256 µs are exact.
const DIGITS: u8 = 2;
/// The longest duration that has a bucket of its own, in microseconds: a day.
const LONGEST: u64 = 86_400_000_000;

/// Counts of durations in microseconds, with their exact sum and maximum.
#[derive(Clone, Debug)]
pub struct Latency {
    counts: Histogram<u64>,
    sum: Duration,
    max: Duration,
}

impl Default for Latency {
    #[expect(clippy::expect_used, reason = "a constant that HdrHistogram accepts")]
    fn default() -> Self {
        let counts = Histogram::new(DIGITS).expect("two digits are possible");
        Self { counts, sum: Duration::ZERO, max: Duration::ZERO }
    }
}

impl Latency {
    pub(crate) fn record(&mut self, duration: Duration) {
        // It cannot fail: the histogram grows.
        let _ = self.counts.record(micros(duration));
        self.sum = self.sum.saturating_add(duration);
        self.max = self.max.max(duration);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let _ = self.counts.add(&other.counts);
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// Returns the mean, or zero if there are no durations.
    pub fn mean(&self) -> Duration {
        let nanos = self.sum.as_nanos().checked_div(u128::from(self.count())).unwrap_or(0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Returns the longest duration, exactly.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// Returns the duration that `percent` of all durations do not exceed (100 is [`Latency::max`]); at most 1/128 too
    /// large.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.counts.value_at_percentile(percent)).min(self.max)
    }

    /// Returns the number of durations longer than `bound`, to the precision of a bucket.
    pub fn over(&self, bound: Duration) -> u64 {
        self.count() - self.counts.count_between(0, micros(bound))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_of_any_size_is_at_most_a_128th_too_large() {
        for micros in (0..2000).chain([4095, 4096, 4097, 1_000_000, 123_456_789, 60_000_000_000]) {
            let mut latency = Latency::default();
            latency.record(Duration::from_micros(micros));
            latency.record(Duration::from_secs(80_000));
            let found = u64::try_from(latency.percentile(50.0).as_micros()).unwrap();
            assert!(found >= micros && found - micros <= micros / 128, "{micros}: {found}");
            assert_eq!((latency.over(Duration::from_micros(micros)), latency.over(Duration::MAX)), (1, 0));
        }
    }

    #[test]
    fn percentiles_mean_and_tail_of_a_known_set_are_right() {
        let mut latency = Latency::default();
        assert_eq!((latency.percentile(50.0), latency.mean()), (Duration::ZERO, Duration::ZERO));
        (1..=1000).for_each(|ms| latency.record(Duration::from_millis(ms)));
        for (percent, ms) in [(50.0, 500.0), (90.0, 900.0), (99.9, 999.0)] {
            let found = latency.percentile(percent).as_secs_f64() * 1000.0;
            assert!(found >= ms && found <= ms * 129.0 / 128.0 + 0.1, "{percent}: {found}");
        }
        assert_eq!(latency.percentile(100.0), Duration::from_secs(1));
        assert_eq!(latency.mean(), Duration::from_micros(500_500));
        let over = latency.over(Duration::from_millis(600));
        assert!((395..=400).contains(&over), "{over}");
        let mut both = latency.clone();
        both.merge(&latency);
        assert_eq!((both.count(), both.percentile(50.0)), (2000, latency.percentile(50.0)));
        let mut few = Latency::default();
        few.merge(&latency);
        assert_eq!((few.count(), few.percentile(99.0), few.max()), (1000, latency.percentile(99.0), latency.max()));
    }
}
