//! The CPU time and memory of the workers' process groups. It is read from the kernel at most twice a second, however
//! many clients ask.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::os::inspect::{self, Usage};
use crate::pool::Pool;

/// The time for which a sample is shown again: many clients cost one pass over `/proc`, and a page and a scrape at the
/// same moment agree.
const YOUNG: Duration = Duration::from_millis(500);

/// Remembers the last sample, and the CPU time of processes that are gone.
#[derive(Debug, Default)]
pub(super) struct Sampler(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    last: Option<(Instant, HashSet<u32>, Arc<Sample>)>,
    cpu: HashMap<(usize, u32), CpuClock>,
}

/// One sample of all workers.
#[derive(Debug, Default)]
pub(super) struct Sample {
    groups: HashMap<u32, Usage>,
    cpu_total: HashMap<(usize, u32), f64>,
}

impl Sample {
    /// Returns the usage of the group with that leader.
    pub(super) fn group(&self, pid: Option<u32>) -> Option<&Usage> {
        self.groups.get(&pid?)
    }

    /// Returns the CPU seconds of a slot over all its restarts; `pool` is the pool's index in the context.
    pub(super) fn cpu_total(&self, pool: usize, slot: u32) -> f64 {
        self.cpu_total.get(&(pool, slot)).copied().unwrap_or(0.0)
    }
}

impl Sampler {
    /// Samples the workers of all pools. A worker leads its own group, so the group's number is the worker's pid.
    pub(super) fn look(&self, pools: &[Arc<Pool>]) -> Arc<Sample> {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let statuses: Vec<_> = pools.iter().map(|pool| pool.status.load_full()).collect();
        let leaders: HashSet<u32> = statuses.iter().flat_map(|s| &s.workers).filter_map(|worker| worker.pid).collect();
        if let Some((at, seen, sample)) = &memory.last
            && at.elapsed() < YOUNG
            && *seen == leaders
        {
            return Arc::clone(sample);
        }
        let mut sample = Sample { groups: inspect::usage_by_group(&leaders), ..Sample::default() };
        for (pool, status) in statuses.iter().enumerate() {
            for worker in &status.workers {
                let clock = memory.cpu.entry((pool, worker.slot.0)).or_default();
                if let Some((usage, pid)) = sample.groups.get(&worker.pid.unwrap_or(0)).zip(worker.pid) {
                    clock.observe((pid, worker.started), usage.cpu_seconds);
                }
                sample.cpu_total.insert((pool, worker.slot.0), clock.total());
            }
        }
        let sample = Arc::new(sample);
        memory.last = Some((Instant::now(), leaders, Arc::clone(&sample)));
        sample
    }
}

/// Adds up the CPU time of one process after another; the sum never falls.
#[derive(Debug, Default)]
struct CpuClock {
    process: Option<(u32, Option<SystemTime>)>,
    /// The CPU time of processes that are gone.
    before: f64,
    /// The highest value seen for the present process: when a child leaves the group, its time leaves the group's sum.
    present: f64,
}

impl CpuClock {
    fn observe(&mut self, process: (u32, Option<SystemTime>), seconds: f64) {
        if self.process.replace(process) != Some(process) {
            self.before += std::mem::take(&mut self.present);
        }
        self.present = self.present.max(seconds);
    }

    fn total(&self) -> f64 {
        self.before + self.present
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_grows_over_restarts_and_never_falls() {
        let mut clock = CpuClock::default();
        let mut seen = Vec::new();
        for (pid, seconds) in [(1, 2.0), (1, 3.0), (1, 2.5), (2, 0.0), (2, 1.0), (1, 0.5)] {
            clock.observe((pid, None), seconds);
            seen.push(clock.total());
        }
        assert_eq!(seen, [2.0, 3.0, 3.0, 3.0, 4.0, 4.5]);
    }
}
