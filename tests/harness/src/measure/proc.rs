//! Processor time and memory of other processes, from `/proc`.
//!
//! The kernel reports the time of a process in two ways, and each has a gap. `/proc/PID/stat` includes ended threads,
//! but counts ticks of 10 ms, and rounds user and system time down separately. `/proc/PID/task/TID/schedstat` counts
//! nanoseconds (updated at the scheduler's ticks, every few milliseconds), but a thread that has ended is missing.
//! Neither is ever too high. So the known times of threads are added up, and the part by which `stat` exceeds the sum
//! belongs to threads that were not seen.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use procfs::process::{Process, all_processes};
use procfs::{CurrentSI, KernelStats};

/// Returns the processor time of a process since its start, user and system, including ended threads; `None` if there
/// is no such process. The value is at most 20 ms too low.
pub fn cpu(pid: u32) -> Option<Duration> {
    let mut known = Known::default();
    known.learn(&Reading::of(pid)?);
    Some(known.total())
}

/// Returns bytes of memory: the proportional set size, which divides shared memory among the processes that share it,
/// if the kernel reports it; else the resident set size. `None` if there is no such process.
pub fn memory(pid: u32) -> Option<u64> {
    let process = open(pid)?;
    let proportional = || {
        let rollup = process.smaps_rollup().ok()?.memory_map_rollup;
        rollup.0.first().and_then(|map| map.extension.map.get("Pss").copied())
    };
    let resident = || process.statm().ok().map(|statm| statm.resident * procfs::page_size());
    proportional().or_else(resident)
}

/// Returns the seconds since boot in which a hypervisor gave the processors to others while something here wanted to
/// run; 0 if the kernel does not report it.
pub fn stolen() -> f64 {
    let total = KernelStats::current().ok().and_then(|stats| stats.total.steal_ms());
    total.unwrap_or(0) as f64 / 1000.0
}

/// Returns the descendants of a process, without itself. One that is started meanwhile may be missing.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut parents = None;
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&parent) = all.get(next) {
        // Not every kernel has the lists of children; otherwise all processes are searched for their parents, once.
        let children =
            children(parent).unwrap_or_else(|| children_among(parent, parents.get_or_insert_with(all_parents)));
        for child in children {
            if !all.contains(&child) {
                all.push(child);
            }
        }
        next += 1;
    }
    all.split_off(1)
}

/// Measures processor time by name, over a period in which processes come and go.
///
/// Call [`CpuMeter::look`] now and then: time that a process uses between the last look and its end is not seen.
#[derive(Debug, Default)]
pub struct CpuMeter {
    has_looked: bool,
    seen: HashMap<Key, Seen>,
}

/// One process under one name; its pid alone may belong to another process later.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    name: String,
    pid: u32,
    born: u64,
}

#[derive(Debug)]
struct Seen {
    known: Known,
    /// The time that it had used before the meter began.
    before: Duration,
}

/// The known processor time of one process. Pure.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The highest time seen for each thread.
    threads: HashMap<i32, Duration>,
    /// The least time that was used by threads which were not seen, or not at their end.
    unseen: Duration,
}

/// The values in `/proc` at one moment.
#[derive(Debug, Default)]
struct Reading {
    /// The start time, in ticks since the machine's start.
    born: u64,
    whole: Duration,
    threads: Vec<(i32, Duration)>,
}

impl CpuMeter {
    /// Returns a meter that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the times of those processes. Time before the first look does not count; a process that is first seen at a
    /// later look counts from its start. A process that has ended keeps the time that was seen.
    pub fn look<N: AsRef<str>>(&mut self, processes: &[(N, u32)]) {
        for (name, pid) in processes {
            let Some(reading) = Reading::of(*pid) else { continue };
            let key = Key { name: name.as_ref().to_owned(), pid: *pid, born: reading.born };
            match self.seen.get_mut(&key) {
                Some(seen) => seen.known.learn(&reading),
                None => {
                    let mut known = Known::default();
                    known.learn(&reading);
                    let before = if self.has_looked { Duration::ZERO } else { known.total() };
                    self.seen.insert(key, Seen { known, before });
                }
            }
        }
        self.has_looked = true;
    }

    /// Returns the seconds since the first look by name, summed over all of its processes.
    pub fn seconds(&self) -> BTreeMap<String, f64> {
        let mut seconds = BTreeMap::new();
        for (key, seen) in &self.seen {
            let used = seen.known.total().saturating_sub(seen.before);
            *seconds.entry(key.name.clone()).or_default() += used.as_secs_f64();
        }
        seconds
    }
}

impl Known {
    fn learn(&mut self, reading: &Reading) {
        for (thread, used) in &reading.threads {
            let most = self.threads.entry(*thread).or_default();
            *most = (*most).max(*used);
        }
        self.unseen = self.unseen.max(reading.whole.saturating_sub(self.in_threads()));
    }

    fn in_threads(&self) -> Duration {
        self.threads.values().sum()
    }

    fn total(&self) -> Duration {
        self.unseen + self.in_threads()
    }
}

impl Reading {
    fn of(pid: u32) -> Option<Self> {
        let process = open(pid)?;
        // Reads the whole process first: time that threads use between the two reads must not count as unseen.
        let stat = process.stat().ok()?;
        let ticks = (stat.utime + stat.stime) as f64;
        let whole = Duration::from_secs_f64(ticks / procfs::ticks_per_second() as f64);
        let time = |nanos| Duration::from_nanos(nanos);
        let tasks = process.tasks().into_iter().flatten().filter_map(Result::ok);
        let threads = tasks.filter_map(|task| Some((task.tid, time(task.schedstat().ok()?.sum_exec_runtime))));
        Some(Self { born: stat.starttime, whole, threads: threads.collect() })
    }
}

fn open(pid: u32) -> Option<Process> {
    Process::new(i32::try_from(pid).ok()?).ok()
}

/// Returns the children of all threads of that process; `None` if the kernel has no such list, or the process is gone.
fn children(pid: u32) -> Option<Vec<u32>> {
    let mut children = Vec::new();
    for task in open(pid)?.tasks().ok()?.filter_map(Result::ok) {
        children.extend(task.children().ok()?);
    }
    Some(children)
}

/// Returns each process with its parent.
fn all_parents() -> Vec<(u32, u32)> {
    let stats = all_processes().into_iter().flatten().filter_map(|process| process.ok()?.stat().ok());
    stats.filter_map(|stat| Some((u32::try_from(stat.pid).ok()?, u32::try_from(stat.ppid).ok()?))).collect()
}

fn children_among(parent: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child).collect()
}

#[cfg(test)]
#[path = "proc_tests.rs"]
mod tests;
