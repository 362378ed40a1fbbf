//! Measures the true memory of a process group whose processes together exceed their bound: rarely, since measuring is
//! not free.
//!
//! The sum of resident memory comes with every sample of usage at almost no cost, but counts a page once in each
//! process that shares it. So the sum only proves that a group is within its bound. Above it, a worker of one process
//! is too big; a worker of several processes is measured.

use std::collections::{HashMap, HashSet};

use tokio::time::{Duration, Instant};

use super::Input;
use super::worker::WorkerSlot;
use super::workers::Workers;
use crate::os::inspect::Usage;
use crate::os::memory::{self, GroupMemory, Source};

/// The least time between two measurements of one group.
const MEASURE_AGAIN: Duration = Duration::from_secs(10);

/// Measurements of a pool's groups.
#[derive(Debug, Default)]
pub(super) struct MemoryWatch {
    by_group: HashMap<u32, Measurement>,
    /// Some groups are being measured now, on another thread.
    is_measuring: bool,
    /// True if the log says already that the true use may not be read.
    has_said: bool,
}

#[derive(Clone, Copy, Debug)]
struct Measurement {
    at: Instant,
    bytes: u64,
}

/// A group's memory compared with its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    Within,
    TooBig,
    /// Unknown: it must be measured.
    Unknown,
}

/// Compares the measurements known at `now` with `bound`.
fn judge(usage: &Usage, bound: u64, last: Option<Measurement>, now: Instant) -> Finding {
    let is_over = usage.resident_bytes > bound;
    match last.filter(|last| now < last.at + MEASURE_AGAIN) {
        _ if !is_over => Finding::Within,
        _ if usage.processes < 2 => Finding::TooBig,
        Some(last) if last.bytes > bound => Finding::TooBig,
        Some(_) => Finding::Within,
        None => Finding::Unknown,
    }
}

impl MemoryWatch {
    /// Returns the workers whose groups are too big, and starts a measurement of the groups for which that is unknown.
    pub(super) fn too_big(&mut self, workers: &Workers, usage: &HashMap<u32, Usage>, now: Instant) -> Vec<usize> {
        let groups: HashSet<u32> = workers.iter().filter_map(WorkerSlot::group).collect();
        self.by_group.retain(|group, _| groups.contains(group));
        let (mut too_big, mut unknown) = (Vec::new(), Vec::new());
        for (index, worker) in workers.iter().enumerate() {
            let (Some(bound), Some(group)) = (worker.memory_bound(), worker.group()) else { continue };
            let Some(usage) = usage.get(&group) else { continue };
            match judge(usage, bound, self.by_group.get(&group).copied(), now) {
                Finding::Within => {}
                Finding::TooBig => too_big.push(index),
                Finding::Unknown => unknown.push(group),
            }
        }
        if !unknown.is_empty() && !std::mem::replace(&mut self.is_measuring, true) {
            let inputs = workers.context.inputs.clone();
            tokio::task::spawn_blocking(move || {
                let measured = unknown.into_iter().map(|group| (group, memory::group_memory(group)));
                let _ = inputs.send(Input::Memory(measured.collect()));
            });
        }
        too_big
    }

    /// Stores measurements of groups of that pool. The next sample of usage decides by them.
    pub(super) fn measured(&mut self, pool: &str, measured: HashMap<u32, GroupMemory>, now: Instant) {
        self.is_measuring = false;
        for (group, found) in measured {
            tracing::debug!(pool, group, bytes = found.bytes, source = ?found.source, "memory measured");
            self.by_group.insert(group, Measurement { at: now, bytes: found.bytes });
            let counted = match found.source {
                Source::Proportional => continue,
                Source::ControlGroup => "that of their control group",
                Source::Resident => "the sum of their resident memory, in which a shared page counts several times",
            };
            if !std::mem::replace(&mut self.has_said, true) {
                tracing::warn!(
                    pool,
                    group,
                    counted,
                    "cannot read the exact memory of the worker's processes (/proc/PID/smaps_rollup), as without \
                     CAP_SYS_PTRACE over processes of another user: max-memory is compared with another number"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: u64 = 200;

    fn usage(processes: u64, resident_bytes: u64) -> Usage {
        Usage { processes, resident_bytes, ..Usage::default() }
    }

    #[test]
    fn single_process_over_bound_is_too_big_unmeasured() {
        let now = Instant::now();
        assert_eq!(judge(&usage(1, BOUND), BOUND, None, now), Finding::Within);
        assert_eq!(judge(&usage(1, BOUND + 1), BOUND, None, now), Finding::TooBig);
    }

    #[test]
    fn several_processes_over_bound_are_measured_and_believed_10_s() {
        let now = Instant::now();
        let (small, big) = (Measurement { at: now, bytes: 75 }, Measurement { at: now, bytes: BOUND + 1 });
        let sum = usage(7, 420);
        assert_eq!(judge(&usage(7, BOUND), BOUND, Some(big), now), Finding::Within, "the sum is within the bound");
        assert_eq!(judge(&sum, BOUND, None, now), Finding::Unknown);
        assert_eq!(judge(&sum, BOUND, Some(small), now), Finding::Within);
        assert_eq!(judge(&sum, BOUND, Some(big), now), Finding::TooBig);
        let later = now + MEASURE_AGAIN;
        assert_eq!(judge(&sum, BOUND, Some(small), later - Duration::from_millis(1)), Finding::Within);
        assert_eq!(judge(&sum, BOUND, Some(small), later), Finding::Unknown, "it may have grown");
    }
}
