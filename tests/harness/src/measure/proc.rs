//! Time of processors and memory of other processes, as `/proc` tells them.
//!
//! The kernel tells the time of a process in two ways, and neither is enough. `/proc/PID/stat` counts ended threads
//! too, but in ticks of 10 ms, user and system each rounded down. `/proc/PID/task/TID/schedstat` counts nanoseconds
//! (brought up to date at the scheduler's ticks, a few milliseconds), but a thread that has ended is gone. Both are
//! never above the truth, so what threads are known to have used is summed, and what `stat` has beyond that was used by
//! threads that were not seen.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use procfs::process::{Process, all_processes};
use procfs::{CurrentSI, KernelStats};

/// The time that a process has been on processors since its birth, user and system, ended threads included; nothing if
/// there is no such process. At most 20 ms below the truth.
pub fn cpu(pid: u32) -> Option<Duration> {
    let mut known = Known::default();
    known.learn(&Reading::of(pid)?);
    Some(known.total())
}

/// Bytes of memory: the proportional set, in which memory that processes share is divided among them, where the kernel
/// tells it; else the resident set. Nothing if there is no such process.
pub fn memory(pid: u32) -> Option<u64> {
    let process = open(pid)?;
    let proportional = || {
        let rollup = process.smaps_rollup().ok()?.memory_map_rollup;
        rollup.0.first().and_then(|map| map.extension.map.get("Pss").copied())
    };
    let resident = || process.statm().ok().map(|statm| statm.resident * procfs::page_size());
    proportional().or_else(resident)
}

/// Seconds that all processors were given to others by a hypervisor while something wanted to run here, since the boot;
/// 0 where the kernel does not say.
pub fn stolen() -> f64 {
    let total = KernelStats::current().ok().and_then(|stats| stats.total.steal_ms());
    total.unwrap_or(0) as f64 / 1000.0
}

/// The children of a process, their children and so on, without itself. One that is born meanwhile may be missing.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut parents = None;
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&parent) = all.get(next) {
        // Not every kernel has the lists of children; then all processes are asked for their parents, once.
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

/// Time of processors by name, over a while in which processes come and go.
///
/// Look at them now and then: what a process used between the last look and its end is not seen.
#[derive(Debug, Default)]
pub struct CpuMeter {
    has_looked: bool,
    seen: HashMap<Key, Seen>,
}

/// One life of one process under one name; a pid alone may be another process later.
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

/// The known part of the time of one process. Pure.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The most that each thread was seen to have used.
    threads: HashMap<i32, Duration>,
    /// The least time that threads have used which were not seen, or not at their end.
    unseen: Duration,
}

/// The content of `/proc` at one moment.
#[derive(Debug, Default)]
struct Reading {
    /// In ticks since the machine's start.
    born: u64,
    whole: Duration,
    threads: Vec<(i32, Duration)>,
}

impl CpuMeter {
    /// A meter that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at those processes. What they used before the first look does not count; a process that is first seen at a
    /// later look counts from its birth. One that has ended keeps what it was seen to have used.
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

    /// Seconds since the first look by name, summed up over all of its processes.
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
        // First the whole: what threads use between the two readings is then no part of what was not seen.
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

/// The children of all threads of that process; nothing if the kernel has no such list, or the process is gone.
fn children(pid: u32) -> Option<Vec<u32>> {
    let mut children = Vec::new();
    for task in open(pid)?.tasks().ok()?.filter_map(Result::ok) {
        children.extend(task.children().ok()?);
    }
    Some(children)
}

/// Each process and its parent.
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
