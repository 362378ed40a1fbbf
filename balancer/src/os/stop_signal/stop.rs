//! The stop of a child: the processes of its group that have had the signal, and those that still run.
//!
//! When the leader has ended it is not reaped until the group is empty: its pid is the group's number, and a zombie
//! keeps that number from being used again. Meanwhile one process of the rest is watched, preferably one that has had
//! the signal. When that process ends, the group is looked at again.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal};

use super::group::{GroupQuery, signal_process};
use super::targets::{GroupProcess, ProcessId, next_targets};
use crate::os::child::{ListensAt, StopSignalTo};

/// The state of one stop.
#[derive(Debug)]
pub(in crate::os) struct Stop {
    signal: Signal,
    to: StopSignalTo,
    /// True if the signal may be sent; before that, the end is only expected.
    is_asked: bool,
    signalled: BTreeSet<ProcessId>,
    /// True if the whole group has had the signal.
    is_all_told: bool,
    leader: Leader,
    watched: Option<OwnedFd>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leader {
    Runs,
    Ended,
    /// The leader's end before the rest was reported.
    Told,
}

impl Stop {
    /// A stop that has not begun.
    pub(in crate::os) fn new(signal: Signal, to: StopSignalTo) -> Self {
        let (signalled, leader) = (BTreeSet::new(), Leader::Runs);
        Self { signal, to, is_asked: false, signalled, is_all_told: false, leader, watched: None }
    }

    /// Allows the signal to be sent.
    pub(in crate::os) fn ask(&mut self) {
        self.is_asked = true;
    }

    /// Notes the end of the leader, or of another process of the group after it.
    pub(in crate::os) fn leader_ended(&mut self) {
        if self.leader == Leader::Runs {
            self.leader = Leader::Ended;
        }
        // The rest of the group is asked to end after the leader, for whatever reason the leader ended.
        self.is_asked = true;
        self.watched = None;
    }

    /// Returns true once the leader has ended.
    pub(in crate::os) fn has_leader_ended(&self) -> bool {
        self.leader != Leader::Runs
    }

    /// The process of the group whose end is waited for, once the leader has ended.
    pub(in crate::os) fn watched(&self) -> Option<&OwnedFd> {
        self.watched.as_ref()
    }

    /// The question about the group for the next step.
    pub(in crate::os) fn question<'a>(&self, leader: Pid, listens_at: Option<&'a ListensAt>) -> GroupQuery<'a> {
        GroupQuery { group: leader.as_raw_pid(), signal: self.signal, listens_at }
    }

    /// Sends the signal to the processes that must get it next. Returns true if the group is empty.
    pub(in crate::os) fn advance(&mut self, leader: Pid, processes: &[GroupProcess]) -> bool {
        if self.is_asked && !self.is_all_told {
            self.signal(leader, processes);
        }
        if !self.has_leader_ended() {
            return false;
        }
        let is_signalled = |process: &&GroupProcess| self.signalled.contains(&process.id);
        let next = processes.iter().find(is_signalled).or(processes.first());
        self.watched = next.and_then(|process| {
            let pid = Pid::from_raw(process.id.pid)?;
            rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()
        });
        next.is_none()
    }

    fn signal(&mut self, leader: Pid, processes: &[GroupProcess]) {
        let group = leader.as_raw_pid();
        let targets = next_targets(self.to, group, processes, &self.signalled);
        let is_unseen = targets.is_empty() && self.signalled.is_empty() && !self.has_leader_ended();
        // One call, so that a fork cannot slip through; also if `/proc` cannot be read.
        if is_unseen || (self.to == StopSignalTo::Group && !targets.is_empty()) {
            self.is_all_told = true;
            let _ = rustix::process::kill_process_group(leader, self.signal);
            return;
        }
        for id in targets {
            self.signalled.insert(id);
            signal_process(id, group, self.signal);
        }
    }

    /// Returns true once, if the leader has ended and others have not.
    pub(in crate::os) fn is_news(&mut self) -> bool {
        let is_news = self.leader == Leader::Ended;
        if is_news {
            self.leader = Leader::Told;
        }
        is_news
    }
}
