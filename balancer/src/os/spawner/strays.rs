//! Processes that a worker left in the background, in a session of their own: found after its end, and ended.
//!
//! The master is a child subreaper, so a daemon becomes its child when its parent ends. It belongs to an ended worker if its
//! environment names that worker's own `NOTIFY_SOCKET`, or if it is in a session or cgroup in which a process of that worker
//! was seen. Some programs write their title over their environment (nginx): there the socket that listens at the worker's
//! own endpoint tells. All other orphans, such as those of `docker exec` where the master is process 1, are only reaped.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::ffi::OsString;
use std::time::Duration;

use procfs::process::{Process, Stat};
use rustix::process::{Pid, Signal};
use tokio::time::Instant;
use worker_runtime::protocol;

use crate::os::accept_queue::QueueReader;
use crate::os::child::{ChildId, Trail};
use crate::os::guardian::Lifeline;
use crate::os::inspect;

/// The time after a worker's end in which an orphan may belong to it.
const WINDOW: Duration = Duration::from_secs(10);
/// The largest number of ended workers that are remembered.
const MOST: usize = 1024;

/// The processes in the background, by the worker that left them.
#[derive(Debug)]
pub(super) struct Strays {
    own: MasterTraces,
    traces: Vec<Trace>,
}

/// The master's own session, group and cgroups. They identify no worker, since any orphan may share them.
#[derive(Debug)]
struct MasterTraces {
    session: i32,
    group: i32,
    cgroups: BTreeSet<String>,
}

/// The signs by which processes of one ended worker are recognized.
#[derive(Debug)]
struct Trace {
    worker: ChildId,
    /// The number of its process group.
    group: i32,
    trail: Trail,
    until: Instant,
    sessions: BTreeSet<i32>,
    cgroups: BTreeSet<String>,
    found: Vec<Stray>,
    /// The name of the first that was found.
    name: Option<String>,
}

#[derive(Debug)]
struct Stray {
    pid: i32,
    group: i32,
    name: String,
    /// None if it is kept, or was killed.
    kill_at: Option<Instant>,
}

/// The signs of one orphan.
#[derive(Debug, Default)]
struct Seen {
    notify: Option<OsString>,
    session: i32,
    cgroups: BTreeSet<String>,
}

impl Strays {
    pub(super) fn new(own_pid: i32) -> Self {
        // 0 in a pid namespace whose session began outside, which `getsid` of rustix does not take.
        let (session, group) =
            Process::myself().and_then(|own| own.stat()).map_or((0, 0), |stat| (stat.session, stat.pgrp));
        Self { own: MasterTraces { session, group, cgroups: cgroups(own_pid) }, traces: Vec::new() }
    }

    /// Remembers a worker that has ended: processes that it left may be found from now on.
    pub(super) fn remember(&mut self, worker: ChildId, group: i32, trail: &Trail, now: Instant) {
        if let Some(trace) = self.traces.iter_mut().find(|trace| trace.worker == worker) {
            trace.until = now + WINDOW;
            return;
        }
        self.traces.retain(|trace| trace.until > now || !trace.found.is_empty());
        if self.traces.len() >= MOST {
            self.traces.remove(0);
        }
        self.traces.push(Trace::new(worker, group, trail.clone(), now + WINDOW));
    }

    /// Returns true if the group is the master's own, or an ended worker's: its processes were killed with the worker,
    /// or are kept.
    pub(super) fn is_settled(&self, group: i32) -> bool {
        group == self.own.group || self.traces.iter().any(|trace| trace.group == group)
    }

    /// Returns true if there is nothing to look for.
    pub(super) fn is_calm(&self, now: Instant) -> bool {
        self.traces.iter().all(|trace| trace.until <= now && trace.found.is_empty())
    }

    /// Finds the orphans that an ended worker left, and sends them the stop signal unless they are to be kept.
    pub(super) fn look(
        &mut self,
        orphans: &[Stat],
        lifeline: &mut Lifeline,
        queues: &mut Option<QueueReader>,
        now: Instant,
    ) {
        for orphan in orphans {
            if self.traces.iter().any(|trace| trace.found.iter().any(|stray| stray.pid == orphan.pid)) {
                continue;
            }
            let seen =
                Seen { notify: notify_socket(orphan.pid), session: orphan.session, cgroups: cgroups(orphan.pid) };
            let owner = owner(&seen, &self.own, &self.traces).or_else(|| {
                let may_be = |trace: &Trace| trace.until > now;
                if seen.notify.is_some() || !self.traces.iter().any(may_be) {
                    return None;
                }
                self.traces.iter().position(|trace| may_be(trace) && listens(orphan.pid, &trace.trail, queues))
            });
            let Some(trace) = owner.and_then(|at| self.traces.get_mut(at)) else { continue };
            if orphan.session != self.own.session {
                trace.sessions.insert(orphan.session);
            }
            trace.cgroups.extend(seen.cgroups.difference(&self.own.cgroups).cloned());
            let (pid, name) = (orphan.pid, orphan.comm.clone());
            let mut stray = Stray { pid, group: orphan.pgrp, name, kill_at: None };
            if trace.trail.is_kept {
                tracing::info!(pid, name = stray.name, "left in the background by a worker: kept");
            } else {
                tracing::warn!(pid, name = stray.name, "left in the background by a worker: ending it");
                // If the master is killed now, the guardian kills this process too.
                lifeline.add(stray.group);
                stray.kill_at = Some(now + trace.trail.kill_timeout);
                signal(pid, trace.trail.signal);
            }
            trace.name.get_or_insert_with(|| stray.name.clone());
            trace.found.push(stray);
        }
    }

    /// Forgets a child that is about to be reaped. Returns the worker that left it, if one did.
    pub(super) fn ends(&mut self, pid: i32, lifeline: &mut Lifeline) -> Option<ChildId> {
        let of_it = |trace: &&mut Trace| trace.found.iter().any(|stray| stray.pid == pid);
        let trace = self.traces.iter_mut().find(of_it)?;
        let worker = trace.worker;
        let at = trace.found.iter().position(|stray| stray.pid == pid)?;
        let group = trace.found.swap_remove(at).group;
        let mut others = self.traces.iter().flat_map(|trace| &trace.found);
        if !others.any(|stray| stray.group == group) {
            lifeline.remove(group);
        }
        Some(worker)
    }

    /// Returns true while a process that this worker left is being ended.
    pub(super) fn holds(&self, worker: ChildId) -> bool {
        self.of(worker).is_some_and(|trace| !trace.trail.is_kept && !trace.found.is_empty())
    }

    /// The name of a process that this worker left, if it left one.
    pub(super) fn name(&self, worker: ChildId) -> Option<&str> {
        self.of(worker)?.name.as_deref()
    }

    fn of(&self, worker: ChildId) -> Option<&Trace> {
        self.traces.iter().find(|trace| trace.worker == worker)
    }

    /// The time at which the next process must be killed.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.traces.iter().flat_map(|trace| &trace.found).filter_map(|stray| stray.kill_at).min()
    }

    /// Kills the processes whose kill timeout has passed.
    pub(super) fn kill_overdue(&mut self, now: Instant) {
        for stray in self.traces.iter_mut().flat_map(|trace| &mut trace.found) {
            if stray.kill_at.is_some_and(|at| at <= now) {
                tracing::warn!(pid = stray.pid, name = stray.name, "did not end within kill-timeout: killing it");
                stray.kill();
            }
        }
    }

    /// Kills the processes that this worker left, unless they are kept.
    pub(super) fn kill(&mut self, worker: ChildId) {
        let of_it = self.traces.iter_mut().filter(|trace| trace.worker == worker && !trace.trail.is_kept);
        of_it.flat_map(|trace| &mut trace.found).for_each(Stray::kill);
    }
}

impl Trace {
    fn new(worker: ChildId, group: i32, trail: Trail, until: Instant) -> Self {
        let (sessions, cgroups, found) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        Self { worker, group, trail, until, sessions, cgroups, found, name: None }
    }
}

impl Stray {
    /// Kills the process and its group. It was not reaped, so its pid and its group are still its own.
    fn kill(&mut self) {
        self.kill_at = None;
        signal(self.pid, Signal::KILL);
        let still = Process::new(self.pid).and_then(|process| process.stat());
        if let (Some(group), true) = (Pid::from_raw(self.group), still.is_ok_and(|stat| stat.pgrp == self.group)) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// The ended worker that left this orphan.
fn owner(seen: &Seen, own: &MasterTraces, traces: &[Trace]) -> Option<usize> {
    if let Some(notify) = &seen.notify {
        return traces.iter().position(|trace| trace.trail.notify == *notify);
    }
    traces.iter().position(|trace| {
        let is_of_session = seen.session != own.session && trace.sessions.contains(&seen.session);
        is_of_session || seen.cgroups.difference(&own.cgroups).any(|cgroup| trace.cgroups.contains(cgroup))
    })
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// The `NOTIFY_SOCKET` of its environment, if it has one that can be read.
fn notify_socket(pid: i32) -> Option<OsString> {
    let environment = Process::new(pid).ok()?.environ().ok()?;
    environment.get(OsStr::new(protocol::NOTIFY_SOCKET)).cloned()
}

/// Its cgroups, each with the hierarchy.
fn cgroups(pid: i32) -> BTreeSet<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// True if the process holds the socket that listens at the worker's endpoint.
fn listens(pid: i32, trail: &Trail, queues: &mut Option<QueueReader>) -> bool {
    let Some(listens_at) = &trail.listens_at else { return false };
    if queues.is_none() {
        *queues = QueueReader::new().ok();
    }
    let found = queues.as_mut().and_then(|queues| queues.look(&[listens_at.as_where()]).pop()?.ok());
    let inodes: HashSet<u64> = found.into_iter().flatten().map(|one| one.inode).collect();
    !inodes.is_empty()
        && Process::new(pid).is_ok_and(|process| inspect::sockets(&process).any(|inode| inodes.contains(&inode)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN_SESSION: i32 = 5;

    fn own() -> MasterTraces {
        MasterTraces { session: OWN_SESSION, group: 6, cgroups: set(&["0::/master"]) }
    }

    fn set(cgroups: &[&str]) -> BTreeSet<String> {
        cgroups.iter().map(|&cgroup| cgroup.to_owned()).collect()
    }

    fn trace(worker: u64, sessions: &[i32], cgroups: &[&str]) -> Trace {
        let trail = Trail {
            notify: format!("/run/n{worker}").into(),
            listens_at: None,
            signal: Signal::TERM,
            kill_timeout: Duration::from_secs(10),
            is_kept: false,
        };
        let mut trace = Trace::new(ChildId(worker), 0, trail, Instant::now());
        trace.sessions.extend(sessions);
        trace.cgroups = set(cgroups);
        trace
    }

    fn seen(notify: Option<&str>, session: i32, cgroups: &[&str]) -> Seen {
        Seen { notify: notify.map(Into::into), session, cgroups: set(cgroups) }
    }

    #[test]
    fn environment_variable_names_the_worker() {
        let traces = [trace(1, &[], &[]), trace(2, &[], &[])];
        assert_eq!(owner(&seen(Some("/run/n2"), 99, &[]), &own(), &traces), Some(1));
        assert_eq!(owner(&seen(Some("/run/other"), 99, &[]), &own(), &traces), None);
    }

    #[test]
    fn session_or_cgroup_seen_before_names_the_worker() {
        let traces = [trace(1, &[70], &[]), trace(2, &[], &["0::/scope"])];
        assert_eq!(owner(&seen(None, 70, &["0::/master"]), &own(), &traces), Some(0));
        assert_eq!(owner(&seen(None, 71, &["0::/scope"]), &own(), &traces), Some(1));
        // The `NOTIFY_SOCKET` of another worker counts for more than session and cgroup.
        assert_eq!(owner(&seen(Some("/run/n9"), 70, &["0::/scope"]), &own(), &traces), None);
    }

    #[test]
    fn orphan_sharing_only_master_traces_has_no_owner() {
        let traces = [trace(1, &[OWN_SESSION], &["0::/master"])];
        assert_eq!(owner(&seen(None, OWN_SESSION, &["0::/master"]), &own(), &traces), None);
        assert_eq!(owner(&seen(None, 80, &["0::/docker-exec"]), &own(), &traces), None);
    }
}
