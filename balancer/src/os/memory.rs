//! The memory that a process group really uses: a page that several of its processes share counts once.
//!
//! The sum of their resident memory (RSS) counts such a page in each process: a server that loads 60 MiB and forks six
//! children uses 75 MiB, and the sum is 420. The kernel reports the share of each process (PSS) in
//! `/proc/PID/smaps_rollup`. For that it walks through all pages of the process, about 14 ms a GiB: ask seldom, and on
//! a thread that may block.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::inspect;

/// Memory of a process group, and how it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupMemory {
    /// In bytes.
    pub bytes: u64,
    /// The kernel's number that it was taken from.
    pub source: Source,
}

/// The kernel's number that a group's memory is taken from, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The sum of the processes' PSS.
    Proportional,
    /// The control group that these processes have for themselves.
    ControlGroup,
    /// The sum of PSS for processes where it may be read, and of RSS for the others: too much if pages are shared.
    Resident,
}

/// One process: its share by PSS if it may be read, and its RSS.
struct Process {
    proportional: Option<u64>,
    resident: u64,
}

/// Returns the memory of the group `pgid`; zero if it is gone.
pub fn group_memory(pgid: u32) -> GroupMemory {
    let (mut pids, mut processes) = (HashSet::new(), Vec::new());
    for (process, stat) in inspect::group(pgid) {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid));
        let proportional = match &text {
            Ok(text) => proportional(text),
            // The process has ended since it was listed, and uses no memory any more.
            Err(error) if has_ended(error) => Some(0),
            Err(_) => None,
        };
        pids.insert(process.pid);
        processes.push(Process { proportional, resident: stat.rss * procfs::page_size() });
    }
    total(&processes, || control_group_memory(&pids))
}

fn has_ended(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Adds up the processes; `control_group` is called only if a share may not be read.
fn total(processes: &[Process], control_group: impl FnOnce() -> Option<u64>) -> GroupMemory {
    let known: Option<u64> = processes.iter().map(|process| process.proportional).sum();
    if let Some(bytes) = known {
        return GroupMemory { bytes, source: Source::Proportional };
    }
    if let Some(bytes) = control_group() {
        return GroupMemory { bytes, source: Source::ControlGroup };
    }
    let bytes = processes.iter().map(|process| process.proportional.unwrap_or(process.resident)).sum();
    GroupMemory { bytes, source: Source::Resident }
}

/// The line `Pss:` of a `smaps_rollup`, in bytes.
fn proportional(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

/// The memory of the control group that holds exactly these processes, without the file cache, which the kernel would
/// drop first. None if they share their control group with other processes, such as the master.
fn control_group_memory(pids: &HashSet<i32>) -> Option<u64> {
    let mut folders = pids.iter().filter_map(|pid| control_group(&format!("/proc/{pid}/cgroup")));
    let folder = folders.next()?;
    if folders.any(|other| other != folder) {
        return None;
    }
    let members = std::fs::read_to_string(folder.join("cgroup.procs")).ok()?;
    if !members.lines().all(|pid| pid.parse().is_ok_and(|pid| pids.contains(&pid))) {
        return None;
    }
    let current: u64 = std::fs::read_to_string(folder.join("memory.current")).ok()?.trim().parse().ok()?;
    let stat = std::fs::read_to_string(folder.join("memory.stat")).ok()?;
    Some(current.saturating_sub(inactive_file(&stat)))
}

/// The folder of a process's control group (version 2).
fn control_group(file: &str) -> Option<PathBuf> {
    let text = std::fs::read_to_string(file).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new("/sys/fs/cgroup").join(path))
}

fn inactive_file(stat: &str) -> u64 {
    let value = stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Reads any text as `smaps_rollup` and as `memory.stat`.
#[cfg(feature = "fuzzing")]
pub fn fuzz(text: &str) {
    let _ = (proportional(text), inactive_file(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn process(proportional: Option<u64>, resident: u64) -> Process {
        Process { proportional, resident }
    }

    #[test]
    fn proportional_share_is_read_in_bytes() {
        let text = "55d0-7ffc ---p 00000000 00:00 0    [rollup]\nRss:            1000 kB\nPss:              75 kB\n\
                    Pss_Dirty:        70 kB\n";
        assert_eq!(proportional(text), Some(75 * 1024));
        for wrong in ["", "Pss: many kB", "Pss: 7 MB", "Pss: 18446744073709551615 kB"] {
            assert_eq!(proportional(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn unreadable_share_falls_back_to_control_group_then_resident() {
        let readable = [process(Some(10), 60), process(Some(20), 60)];
        let found = total(&readable, || panic!("not needed"));
        assert_eq!(found, GroupMemory { bytes: 30, source: Source::Proportional });
        let partly = [process(Some(10), 60), process(None, 60)];
        let found = total(&partly, || Some(40));
        assert_eq!(found, GroupMemory { bytes: 40, source: Source::ControlGroup });
        let found = total(&partly, || None);
        assert_eq!(found, GroupMemory { bytes: 70, source: Source::Resident });
        assert_eq!(total(&[], || None).bytes, 0, "gone");
    }

    #[test]
    fn control_group_with_other_processes_says_nothing() {
        let own = i32::try_from(std::process::id()).unwrap();
        // The test runner's parent is in the same one, or there is none to be read.
        let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        let is_shared =
            control_group(&format!("/proc/{own}/cgroup")) == control_group(&format!("/proc/{parent}/cgroup"));
        assert!(!is_shared || control_group_memory(&HashSet::from([own])).is_none());
        assert_eq!(control_group_memory(&HashSet::new()), None);
        assert_eq!(inactive_file("anon 7\ninactive_file 4096\nactive_file 1\n"), 4096);
    }

    #[test]
    fn shared_pages_count_once() {
        let group = rustix::process::getpgrp().as_raw_nonzero().get() as u32;
        let found = group_memory(group);
        let resident = inspect::group_usage(group).resident_bytes;
        assert!(found.bytes > 0, "{found:?}");
        assert!(found.source != Source::Proportional || found.bytes <= resident + (64 << 20), "{found:?} {resident}");
    }
}
