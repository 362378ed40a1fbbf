//! The end of children, by request, by a kill or by themselves, and the end of orphans. Only the spawner's thread runs
//! this.

use std::collections::BTreeSet;
use std::time::Duration;

use procfs::process::Stat;
use rustix::process::{Pid, Signal, WaitOptions};
use tokio::time::Instant;

use super::reap::{next_dead, peek, reap};
use super::{Child, Children, orphans};
use crate::os::child::{ChildEvent, ChildId, EndRequest, Exit};
use crate::os::inspect;
use crate::os::stop_signal::{self, Stop};

/// The pause between looks at a process that is exiting, and the number of looks.
const DYING: Duration = Duration::from_micros(200);
const LOOKS_AT_DYING: u32 = 10;

impl Children {
    /// Asks a child to end, or kills it. Returns it if its group must be looked at.
    pub(super) fn end(&mut self, id: ChildId, ending: EndRequest) -> Option<ChildId> {
        let child = self.children.get_mut(&id)?;
        match ending {
            EndRequest::Stop(signal, to) => child.stop.get_or_insert_with(|| Stop::new(signal, to)).ask(),
            EndRequest::Expected(signal, to) => {
                child.stop.get_or_insert_with(|| Stop::new(signal, to));
                return None;
            }
            EndRequest::Kill => {
                // Not reaped yet, so the number is still this child's group.
                let _ = rustix::process::kill_process_group(child.pid, Signal::KILL);
                self.strays.kill(id);
                match child.is_kept() {
                    true => self.reap_group(id),
                    false => child.stop = None,
                }
                return None;
            }
        }
        Some(id)
    }

    /// Handles the end of a process: a leader, or another process of a group whose leader has ended. Returns it if its
    /// group was asked to end and must be looked at; otherwise reaps it.
    pub(super) fn ended(&mut self, id: ChildId) -> Option<ChildId> {
        // It may have died of a failed start whose status was not read yet.
        self.read_status(id);
        match &mut self.children.get_mut(&id)?.stop {
            Some(stop) => {
                stop.leader_ended();
                self.look_for_strays(Some(id));
                Some(id)
            }
            None => {
                self.reap_unasked(id);
                None
            }
        }
    }

    /// Returns the living orphans that the master adopted, without the members of a worker's group, which end with it.
    fn orphans(&self) -> Vec<Stat> {
        let guardian = self.guardian.as_ref().map(|(pid, _)| pid.as_raw_pid());
        let groups: BTreeSet<i32> = self.children.values().map(|child| child.pid.as_raw_pid()).collect();
        let is_meant = |orphan: &Stat| {
            let is_of_a_worker = groups.contains(&orphan.pgrp) || self.strays.is_settled(orphan.pgrp);
            orphan.state != 'Z' && Some(orphan.pid) != guardian && !is_of_a_worker
        };
        orphans::children(self.own_pid).into_iter().filter(is_meant).collect()
    }

    /// Looks for processes that this worker, which has just ended, and earlier ones left in the background.
    fn look_for_strays(&mut self, ended: Option<ChildId>) {
        let now = Instant::now();
        if let Some((id, child)) = ended.and_then(|id| self.children.get(&id).map(|child| (id, child))) {
            self.strays.remember(id, child.pid.as_raw_pid(), &child.trail, now);
        }
        if self.strays.is_calm(now) {
            return;
        }
        let mut orphans = self.orphans();
        for _ in 0..LOOKS_AT_DYING {
            // The memory of an exiting orphan is gone, so its environment cannot be read; in a moment its children
            // become ours.
            if !orphans.iter().any(|orphan| orphan.vsize == 0) {
                break;
            }
            std::thread::sleep(DYING);
            orphans = self.orphans();
        }
        self.strays.look(&orphans, &mut self.lifeline, &mut self.queues, now);
    }

    /// Returns true if nothing will wake this thread when the rest of a group, whose leader has ended, has ended too.
    pub(super) fn is_unwatched(&self, id: ChildId, child: &Child) -> bool {
        let is_watched = child.stop.as_ref().is_some_and(|stop| stop.watched().is_some());
        child.is_kept() && !is_watched && !self.strays.holds(id)
    }

    /// Advances the stops of these children as far as possible now, and reaps those whose group is empty.
    pub(super) fn advance_stops(&mut self, mut ids: Vec<ChildId>) {
        ids.extend(self.children.iter().filter(|&(&id, child)| self.is_unwatched(id, child)).map(|(&id, _)| id));
        ids.sort_unstable();
        ids.dedup();
        let mut stops = Vec::new();
        for id in ids {
            let Some(child) = self.children.get_mut(&id) else { continue };
            if let Some(stop) = child.stop.take() {
                stops.push((id, child.pid, child.trail.listens_at.clone(), stop));
            }
        }
        if stops.is_empty() {
            return;
        }
        let questions: Vec<_> =
            stops.iter().map(|(_, pid, listens_at, stop)| stop.question(*pid, listens_at.as_ref())).collect();
        let groups = stop_signal::read(&questions, &mut self.queues);
        for ((id, pid, _, mut stop), members) in stops.into_iter().zip(groups) {
            let is_over = stop.advance(pid, &members) && !self.strays.holds(id);
            let is_news = !is_over && stop.is_news();
            let Some(child) = self.children.get_mut(&id) else { continue };
            child.stop = Some(stop);
            if is_news {
                (child.sink)(ChildEvent::LeaderEnded);
            }
            if is_over {
                self.reap_group(id);
            }
        }
    }

    /// Handles a child that ended without being asked: kills the rest of its group. With exit code 0 it may have gone
    /// into the background, and is then reported as such.
    fn reap_unasked(&mut self, id: ChildId) {
        let Some(child) = self.children.get(&id) else { return };
        let (pid, is_kept) = (child.pid, child.trail.is_kept);
        let is_well = peek(&child.pidfd) == Some(Exit::Code(0));
        let in_group = match is_well {
            true => inspect::group(pid.as_raw_pid().unsigned_abs()).next().map(|(_, stat)| stat.comm),
            false => None,
        };
        // A process that `background = "keep"` protects may not have left the group yet.
        if !(is_well && is_kept) {
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
        self.look_for_strays(Some(id));
        let name = self.strays.name(id).filter(|_| is_well).map(str::to_owned).or(in_group);
        if let (Some(name), Some(child)) = (name, self.children.get_mut(&id)) {
            (child.sink)(ChildEvent::WentToBackground(name));
        }
        self.reap_child(id);
    }

    /// Kills the rest of the group, then reaps its leader: in this order, while the number cannot belong to another
    /// group.
    fn reap_group(&mut self, id: ChildId) {
        if let Some(child) = self.children.get(&id) {
            let _ = rustix::process::kill_process_group(child.pid, Signal::KILL);
        }
        self.reap_child(id);
    }

    fn reap_child(&mut self, id: ChildId) {
        let Some(mut child) = self.children.remove(&id) else { return };
        self.lifeline.remove(child.pid.as_raw_pid());
        (child.sink)(ChildEvent::Exited(reap(&child.pidfd)));
    }

    /// Looks at each dead child before reaping it: our own children keep their status for `reap_group`. Returns the
    /// children whose groups must be looked at.
    pub(super) fn reap_orphans(&mut self) -> Vec<ChildId> {
        let mut changed = Vec::new();
        while let Some(pid) = next_dead() {
            let Some(id) = self.child_with(pid) else {
                changed.extend(self.reap_orphan(pid));
                continue;
            };
            changed.extend(self.ended(id));
            if self.children.contains_key(&id) {
                // This zombie stays, and `waitid` would return it again and again: the others are found another way.
                changed.extend(self.reap_orphans_behind_kept());
                break;
            }
        }
        // The end of one process may have made another an orphan.
        self.look_for_strays(None);
        changed
    }

    fn reap_orphans_behind_kept(&mut self) -> Vec<ChildId> {
        let dead = orphans::children(self.own_pid).into_iter().filter(|child| child.state == 'Z');
        let dead = dead.filter_map(|child| Pid::from_raw(child.pid)).filter(|&pid| self.child_with(pid).is_none());
        let dead: Vec<Pid> = dead.collect();
        dead.into_iter().filter_map(|pid| self.reap_orphan(pid)).collect()
    }

    /// Reaps an orphan. Returns the worker that left it in the background, if one did.
    fn reap_orphan(&mut self, pid: Pid) -> Option<ChildId> {
        if self.guardian.as_ref().is_some_and(|(guardian, _)| pid == *guardian) {
            self.replace_guardian();
            return None;
        }
        let left_by = self.strays.ends(pid.as_raw_pid(), &mut self.lifeline);
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        left_by
    }

    fn child_with(&self, pid: Pid) -> Option<ChildId> {
        self.children.iter().find(|(_, child)| child.pid == pid).map(|(&id, _)| id)
    }
}
