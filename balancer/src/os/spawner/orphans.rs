//! Processes that became children of ours when their parents ended.

use procfs::process::{Process, Stat};

use crate::os::inspect;

/// Every child of this process, including dead ones.
///
/// From the kernel's own lists, one for each of our threads; where it has none (`CONFIG_PROC_CHILDREN`), by a pass over all
/// processes.
pub(super) fn children(own_pid: i32) -> Vec<Stat> {
    match listed() {
        Some(pids) => pids.into_iter().filter_map(stat).filter(|stat| stat.ppid == own_pid).collect(),
        None => inspect::processes().map(|(_, stat)| stat).filter(|stat| stat.ppid == own_pid).collect(),
    }
}

fn listed() -> Option<Vec<i32>> {
    let mut pids = Vec::new();
    for task in Process::myself().ok()?.tasks().ok()? {
        // A thread that has just ended has passed its children to another thread, which may have been read before it.
        pids.extend(task.ok()?.children().ok()?.into_iter().filter_map(|pid| i32::try_from(pid).ok()));
    }
    Some(pids)
}

fn stat(pid: i32) -> Option<Stat> {
    Process::new(pid).ok()?.stat().ok()
}
