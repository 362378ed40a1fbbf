//! Histograms with fixed buckets. Each data thread has its own copy, so that threads do not share cache lines.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in seconds of the time from the master's `connect` to the worker's answer: 50 µs to 1 s.
pub const CONNECT_BUCKETS: &[f64] =
    &[0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// Upper bounds in seconds of a connection's life and of the wait for its first byte: 1 ms to an hour.
pub const DURATION_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0, 1800.0, 3600.0];

/// Upper bounds in seconds from a worker's spawn to ready: 10 ms to a minute.
pub const SPAWN_BUCKETS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Counts of observations by size. The bounds never change.
#[derive(Debug)]
#[repr(align(128))]
pub struct Histogram {
    bounds: &'static [f64],
    /// One count for each bound, and one for observations above all bounds.
    counts: Box<[AtomicU64]>,
    sum_nanos: AtomicU64,
}

/// A histogram's numbers at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramSnapshot {
    /// Pairs of upper bound in seconds and the count of observations at or below it (cumulative, as Prometheus wants).
    pub cumulative: Vec<(f64, u64)>,
    /// All observations.
    pub count: u64,
    /// The sum of all observations, in seconds.
    pub sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum_nanos: AtomicU64::new(0) }
    }

    /// Counts one observation.
    pub fn record(&self, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        let bucket = self.bounds.iter().position(|&bound| seconds <= bound).unwrap_or(self.bounds.len());
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// One [`Histogram`] for each data thread, summed when read.
#[derive(Debug)]
pub struct Sharded {
    bounds: &'static [f64],
    shards: Box<[Histogram]>,
}

impl Sharded {
    /// Makes `shards` copies (at least one) with the given upper bounds in seconds.
    pub fn new(bounds: &'static [f64], shards: usize) -> Self {
        Self { bounds, shards: (0..shards.max(1)).map(|_| Histogram::new(bounds)).collect() }
    }

    /// Returns the copy of data thread `thread`. A number out of range wraps around.
    pub fn of_thread(&self, thread: usize) -> &Histogram {
        &self.shards[thread % self.shards.len()]
    }

    /// Returns the sum over all threads.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let mut running = 0;
        let mut cumulative = Vec::with_capacity(self.bounds.len());
        let column = |i: usize| -> u64 { self.shards.iter().map(|s| s.counts[i].load(Ordering::Relaxed)).sum() };
        for (i, &bound) in self.bounds.iter().enumerate() {
            running += column(i);
            cumulative.push((bound, running));
        }
        let nanos: u64 = self.shards.iter().map(|s| s.sum_nanos.load(Ordering::Relaxed)).sum();
        HistogramSnapshot { cumulative, count: running + column(self.bounds.len()), sum: nanos as f64 / 1e9 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_of_all_threads_are_summed_and_cumulative() {
        let histogram = Sharded::new(&[0.001, 0.1], 2);
        histogram.of_thread(0).record(Duration::from_micros(500));
        histogram.of_thread(1).record(Duration::from_millis(50));
        histogram.of_thread(3).record(Duration::from_secs(2));
        let seen = histogram.snapshot();
        assert_eq!(seen.cumulative, [(0.001, 1), (0.1, 2)]);
        assert_eq!(seen.count, 3);
        assert!((seen.sum - 2.0505).abs() < 1e-9, "{}", seen.sum);
    }
}
