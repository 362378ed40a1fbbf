//! The living processes of a worker's group, read from `/proc`, and a signal to one of them.

use std::collections::{BTreeSet, HashMap, HashSet};

use procfs::process::Process;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::targets::{GroupProcess, ProcessId, next_targets};
use crate::os::accept_queue::{QueueReader, Where};
use crate::os::child::{ListensAt, StopSignalTo};
use crate::os::inspect;

/// A question about one group.
pub(in crate::os) struct GroupQuery<'a> {
    pub(in crate::os) group: i32,
    pub(in crate::os) signal: Signal,
    /// The address at which its worker listens, if that can be seen.
    pub(in crate::os) listens_at: Option<&'a ListensAt>,
}

/// The living processes of each group, in the order of the questions. One pass over `/proc` for all of them, and one look at
/// the listening sockets.
pub(in crate::os) fn read(questions: &[GroupQuery<'_>], queues: &mut Option<QueueReader>) -> Vec<Vec<GroupProcess>> {
    let inodes = listener_inodes(questions, queues);
    let of_group: HashMap<i32, usize> = questions.iter().enumerate().map(|(at, asked)| (asked.group, at)).collect();
    let mut processes = vec![Vec::new(); questions.len()];
    for (process, stat) in inspect::processes().filter(|(_, stat)| !matches!(stat.state, 'Z' | 'X')) {
        let Some(&at) = of_group.get(&stat.pgrp) else { continue };
        let (Some(asked), Some(inodes), Some(processes)) = (questions.get(at), inodes.get(at), processes.get_mut(at))
        else {
            continue;
        };
        processes.push(GroupProcess {
            id: ProcessId { pid: stat.pid, started: stat.starttime },
            parent: stat.ppid,
            catches: catches(&process, asked.signal) && !is_waiting_shell(&stat.comm, asked.signal),
            listens: !inodes.is_empty() && inspect::sockets(&process).any(|inode| inodes.contains(&inode)),
        });
    }
    processes
}

/// The inodes of the sockets that listen where each worker listens.
fn listener_inodes(questions: &[GroupQuery<'_>], queues: &mut Option<QueueReader>) -> Vec<HashSet<u64>> {
    let places: Vec<Where<'_>> =
        questions.iter().filter_map(|asked| asked.listens_at.map(ListensAt::as_where)).collect();
    if queues.is_none() && !places.is_empty() {
        *queues = QueueReader::new().ok();
    }
    let mut answers = match (queues, places.is_empty()) {
        (Some(queues), false) => queues.look(&places),
        _ => Vec::new(),
    }
    .into_iter();
    let each = questions.iter().map(|question| match question.listens_at {
        Some(_) => answers.next().and_then(Result::ok).unwrap_or_default(),
        None => Vec::new(),
    });
    each.map(|listening| listening.iter().map(|one| one.inode).collect()).collect()
}

/// Returns true if the stop signal of a group ends none of the processes that would get it first: each has a handler,
/// blocks it or ignores it. `None` if no process of the group can be read.
///
/// One pass over `/proc`.
pub fn is_survived(leader: u32, signal: Signal, to: StopSignalTo, listens_at: Option<&ListensAt>) -> Option<bool> {
    let leader = i32::try_from(leader).ok()?;
    let processes = read(&[GroupQuery { group: leader, signal, listens_at }], &mut None).pop()?;
    let bit = bit(signal);
    let targets = next_targets(to, leader, &processes, &BTreeSet::new()).into_iter();
    let survives = targets.filter_map(|id| Process::new(id.pid).ok()?.status().ok()).map(|status| {
        // A process that has ended since it was listed has empty masks.
        status.state.starts_with(['Z', 'X']) || (status.sigcgt | status.sigblk | status.sigign) & bit != 0
    });
    survives.reduce(|all, one| all && one)
}

/// Returns true if the process has a handler for the signal or blocks it, as programs do that wait for it by `sigwait`
/// or `signalfd`. A process that ignores the signal does not catch it.
fn catches(process: &Process, signal: Signal) -> bool {
    process.status().is_ok_and(|status| (status.sigcgt | status.sigblk) & bit(signal) != 0)
}

/// Returns true if it is a shell whose handler means nothing: while a shell waits for a command it catches SIGINT, only
/// to see if the command died of it.
fn is_waiting_shell(name: &str, signal: Signal) -> bool {
    signal == Signal::INT && ["bash", "zsh", "ksh"].contains(&name)
}

/// The signal's bit in the masks of `/proc/PID/status`.
fn bit(signal: Signal) -> u64 {
    u32::try_from(signal.as_raw() - 1).ok().and_then(|shift| 1_u64.checked_shl(shift)).unwrap_or(0)
}

/// Sends the signal to that process if it is still in the group. A process that got the pid later is left alone.
pub(in crate::os) fn signal_process(id: ProcessId, group: i32, signal: Signal) {
    let Some(pid) = Pid::from_raw(id.pid) else { return };
    let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return };
    // Read after the pidfd was opened, so it describes the process that the signal will reach.
    let is_same = Process::new(id.pid)
        .and_then(|process| process.stat())
        .is_ok_and(|stat| stat.pgrp == group && stat.starttime == id.started);
    if is_same {
        let _ = rustix::process::pidfd_send_signal(&pidfd, signal);
    }
}

#[cfg(test)]
mod tests {
    use roundelay_test_kit::eventually_eq;

    use super::*;
    use crate::os::child_group::ChildGroup;

    #[track_caller]
    fn eventually(group: &ChildGroup, signal: Signal, to: StopSignalTo, expected: Option<bool>) {
        eventually_eq!(is_survived(group.id(), signal, to, None), expected, "{signal:?} to {to:?}");
    }

    #[test]
    fn signal_is_survived_where_each_target_catches_it() {
        // The shell catches TERM by its own hand; the program that it starts does not, but ignores HUP with it.
        let careful = ChildGroup::shell("trap : TERM; trap '' HUP; sleep 600; :");
        eventually(&careful, Signal::TERM, StopSignalTo::Main, Some(true));
        eventually(&careful, Signal::TERM, StopSignalTo::Group, Some(false));
        eventually(&careful, Signal::HUP, StopSignalTo::Group, Some(true));
        eventually(&careful, Signal::USR1, StopSignalTo::Main, Some(false));
        // A wrapper that catches nothing is no target.
        let wrapped = ChildGroup::shell("sh -c 'trap : TERM; while :; do sleep 0.05; done'; :");
        eventually(&wrapped, Signal::TERM, StopSignalTo::Main, Some(true));
        eventually(&wrapped, Signal::TERM, StopSignalTo::Leader, Some(false));
    }

    #[test]
    fn group_that_is_gone_is_not_known() {
        let id = ChildGroup::shell("exec sleep 600").id();
        assert_eq!(is_survived(id, Signal::TERM, StopSignalTo::Main, None), None);
    }
}
