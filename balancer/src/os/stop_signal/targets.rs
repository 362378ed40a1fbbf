//! Chooses the processes of a group that get the stop signal next. Pure: a list of processes comes in, pids go out.
//!
//! A worker is often not one process: `npm start` and `sh -c` stand above the server, and a preforking server has
//! children of its own. A signal to all of them harms both kinds: the shell dies and takes its group with it, and the
//! children of celery or postgres end before their parent has told them to. So the *main* process gets the signal,
//! once: the topmost process that holds the listener or, if none is known to, the topmost that catches the signal. The
//! rest gets it when main and leader have ended; no process gets it twice.

use std::collections::BTreeSet;

use crate::os::child::StopSignalTo;

/// A living process of a worker's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::os) struct GroupProcess {
    /// Its identity: the pid, and when it was started, since pids are used again.
    pub(in crate::os) id: ProcessId,
    pub(in crate::os) parent: i32,
    /// It has a handler for the signal, or waits for it with the signal blocked (`sigwait`, `signalfd`).
    pub(in crate::os) catches: bool,
    /// It holds the socket that listens at the worker's own endpoint.
    pub(in crate::os) listens: bool,
}

/// A process, also after its pid was given to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::os) struct ProcessId {
    pub(in crate::os) pid: i32,
    /// In clock ticks since the machine's start.
    pub(in crate::os) started: u64,
}

/// The processes that are to get the signal now. `processes` are the living ones, `signalled` those that had it already.
pub(super) fn next_targets(
    to: StopSignalTo,
    leader: i32,
    processes: &[GroupProcess],
    signalled: &BTreeSet<ProcessId>,
) -> Vec<ProcessId> {
    let has_leader = processes.iter().any(|process| process.id.pid == leader);
    if signalled.is_empty() {
        return match to {
            StopSignalTo::Group => processes.iter().map(|process| process.id).collect(),
            StopSignalTo::Leader if has_leader => with_pid(processes, leader),
            StopSignalTo::Main | StopSignalTo::Leader => {
                main(processes).unwrap_or_else(|| if has_leader { with_pid(processes, leader) } else { ids(processes) })
            }
        };
    }
    let is_signalled = |process: &GroupProcess| signalled.contains(&process.id);
    if has_leader || processes.iter().any(is_signalled) {
        return Vec::new();
    }
    // Among what is left the same holds: a parent tells its children.
    main(processes).unwrap_or_else(|| ids(processes))
}

/// The topmost processes that hold the listener, else the topmost that catch the signal; `None` if no process does either.
fn main(processes: &[GroupProcess]) -> Option<Vec<ProcessId>> {
    let signs: [fn(&GroupProcess) -> bool; 2] = [|process| process.listens, |process| process.catches];
    signs.iter().map(|is_candidate| topmost(processes, is_candidate)).find(|found| !found.is_empty())
}

/// The candidates that have no candidate above them.
fn topmost(processes: &[GroupProcess], is_candidate: impl Fn(&GroupProcess) -> bool) -> Vec<ProcessId> {
    let has_candidate_above = |process: &GroupProcess| {
        let mut parent = process.parent;
        // As many steps as there are processes: a list that was read while it changed may hold a circle.
        for _ in processes {
            let Some(above) = processes.iter().find(|other| other.id.pid == parent) else { return false };
            if is_candidate(above) {
                return true;
            }
            parent = above.parent;
        }
        false
    };
    processes
        .iter()
        .filter(|process| is_candidate(process) && !has_candidate_above(process))
        .map(|process| process.id)
        .collect()
}

fn with_pid(processes: &[GroupProcess], pid: i32) -> Vec<ProcessId> {
    processes.iter().filter(|process| process.id.pid == pid).map(|process| process.id).collect()
}

fn ids(processes: &[GroupProcess]) -> Vec<ProcessId> {
    processes.iter().map(|process| process.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: (bool, bool) = (false, false);
    const CATCHES: (bool, bool) = (true, false);
    const LISTENS: (bool, bool) = (true, true);

    fn process(pid: i32, parent: i32, (catches, listens): (bool, bool)) -> GroupProcess {
        GroupProcess { id: ProcessId { pid, started: 7 }, parent, catches, listens }
    }

    fn first(to: StopSignalTo, processes: &[GroupProcess]) -> Vec<i32> {
        next(to, processes, &[])
    }

    fn next(to: StopSignalTo, processes: &[GroupProcess], signalled: &[i32]) -> Vec<i32> {
        let signalled = signalled.iter().map(|&pid| ProcessId { pid, started: 7 }).collect();
        next_targets(to, 10, processes, &signalled).into_iter().map(|id| id.pid).collect()
    }

    #[test]
    fn single_process_gets_the_signal() {
        for kind in [PLAIN, CATCHES, LISTENS] {
            assert_eq!(first(StopSignalTo::Main, &[process(10, 1, kind)]), [10]);
        }
    }

    #[test]
    fn wrapper_that_neither_listens_nor_catches_is_skipped() {
        // sh -> node, with and without evidence of the listener.
        for kind in [LISTENS, CATCHES] {
            assert_eq!(first(StopSignalTo::Main, &[process(10, 1, PLAIN), process(11, 10, kind)]), [11]);
        }
        // npm, which catches -> sh -> node, which listens.
        let npm = [process(10, 1, CATCHES), process(11, 10, PLAIN), process(12, 11, LISTENS)];
        assert_eq!(first(StopSignalTo::Main, &npm), [12]);
        // Where nothing is known of the listener, npm passes the signal on.
        let npm = [process(10, 1, CATCHES), process(11, 10, PLAIN), process(12, 11, CATCHES)];
        assert_eq!(first(StopSignalTo::Main, &npm), [10]);
    }

    #[test]
    fn preforking_server_tells_its_own_children() {
        let gunicorn =
            [process(10, 1, PLAIN), process(11, 10, LISTENS), process(12, 11, LISTENS), process(13, 11, LISTENS)];
        assert_eq!(first(StopSignalTo::Main, &gunicorn), [11]);
        // With a helper between the holders.
        let deep = [process(10, 1, LISTENS), process(11, 10, PLAIN), process(12, 11, LISTENS)];
        assert_eq!(first(StopSignalTo::Main, &deep), [10]);
    }

    #[test]
    fn servers_side_by_side_all_get_it() {
        let pair = [process(10, 1, PLAIN), process(11, 10, LISTENS), process(12, 10, LISTENS)];
        assert_eq!(first(StopSignalTo::Main, &pair), [11, 12]);
    }

    #[test]
    fn key_chooses_leader_or_group() {
        let npm = [process(10, 1, CATCHES), process(11, 10, PLAIN), process(12, 11, LISTENS)];
        assert_eq!(first(StopSignalTo::Leader, &npm), [10]);
        assert_eq!(first(StopSignalTo::Group, &npm), [10, 11, 12]);
        // A leader that has gone already: as main.
        assert_eq!(first(StopSignalTo::Leader, &npm[1..]), [12]);
    }

    #[test]
    fn rest_waits_until_main_and_leader_have_ended() {
        let (sh, node, helper) = (process(10, 1, PLAIN), process(11, 10, LISTENS), process(12, 10, PLAIN));
        assert_eq!(next(StopSignalTo::Main, &[sh, node, helper], &[11]), [0; 0]);
        assert_eq!(next(StopSignalTo::Main, &[sh, helper], &[11]), [0; 0], "the leader runs");
        assert_eq!(next(StopSignalTo::Main, &[node, helper], &[11]), [0; 0], "the main process runs");
        assert_eq!(next(StopSignalTo::Main, &[helper], &[11]), [12]);
        assert_eq!(next(StopSignalTo::Main, &[helper], &[11, 12]), [0; 0], "nobody twice");
    }

    #[test]
    fn rest_is_told_from_the_top() {
        // The leader, a shell, got it and died of it; it left an arbiter with a child.
        let left = [process(11, 1, CATCHES), process(12, 11, CATCHES)];
        assert_eq!(next(StopSignalTo::Leader, &left, &[10]), [11]);
        assert_eq!(next(StopSignalTo::Leader, &left[1..], &[10, 11]), [12]);
    }

    #[test]
    fn reused_pid_is_another_process() {
        let new = GroupProcess { id: ProcessId { pid: 11, started: 9 }, ..process(11, 1, PLAIN) };
        assert_eq!(next(StopSignalTo::Main, &[new], &[11]), [11]);
    }

    #[test]
    fn circle_of_parents_ends() {
        let circle = [process(11, 12, PLAIN), process(12, 11, PLAIN), process(13, 12, CATCHES)];
        assert_eq!(first(StopSignalTo::Main, &circle), [13]);
    }
}
