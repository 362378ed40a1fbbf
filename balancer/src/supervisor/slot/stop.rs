//! Stops a slot, or retires one of its processes.

use tokio::time::Instant;

use super::parked::{ABANDONED, ENDED};
use super::process::ProcessState;
use super::{DesiredState, Effect, Slot};
use crate::stats::Restart as Cause;

/// The reason given for the end of a process that was killed at once.
pub(in crate::supervisor) const KILLED: &str = "killed with its pool";

impl Slot {
    pub(super) fn on_stop(&mut self, desired: DesiredState, now: Instant) -> Vec<Effect> {
        self.desired = desired;
        self.restarts.end_wait();
        let mut effects = self.settle(now);
        effects.extend(self.on_abandon(now));
        self.processes.retiring.iter_mut().for_each(|process| process.end_long_drain(now));
        if let Some(process) = self.processes.current.take() {
            let why = if desired == DesiredState::Restarting { "restarted by command" } else { "stopped by command" };
            effects.extend(self.retire(process, why, now));
        }
        effects
    }

    pub(super) fn on_abandon(&mut self, now: Instant) -> Vec<Effect> {
        let replacement = self.processes.replacement.take();
        let mut effects: Vec<_> = replacement
            .and_then(|replacement| self.retire(replacement.process, "abandoned as a replacement", now))
            .into_iter()
            .collect();
        effects.extend(self.put_back(ABANDONED, now));
        effects
    }

    pub(super) fn retire(&mut self, mut process: ProcessState, why: &'static str, now: Instant) -> Option<Effect> {
        if process.is_postponed() {
            return None;
        }
        process.told_to_end = Some(why);
        let effect = process.retire(now);
        self.processes.retiring.push(process);
        effect
    }

    pub(super) fn on_kill(&mut self) -> Vec<Effect> {
        self.desired = DesiredState::Stopped;
        self.restarts.end_wait();
        let replacement = self.processes.replacement.take().map(|replacement| replacement.process);
        let parked = self.processes.parked.take().map(|parked| parked.process);
        self.processes.retiring.extend(
            replacement
                .into_iter()
                .chain(parked)
                .chain(self.processes.current.take())
                .filter(|process| !process.is_postponed()),
        );
        let kill = |process: &mut ProcessState| {
            process.told_to_end.get_or_insert(KILLED);
            process.kill(None)
        };
        self.processes.retiring.iter_mut().map(kill).collect()
    }

    /// Replaces the present process, which has begun to end by itself: another is started beside it.
    pub(super) fn on_leaves(&mut self, incarnation: u64, now: Instant) -> Vec<Effect> {
        let is_meant =
            |process: &mut ProcessState| process.incarnation == incarnation && process.ready_for(now).is_some();
        let Some(mut process) = self.processes.current.take_if(is_meant) else { return Vec::new() };
        let ready_for = process.ready_for(now);
        process.finish_by_itself(now);
        self.processes.retiring.push(process);
        self.restarts.count_exit();
        if self.processes.parked.is_some() {
            return self.put_back(ENDED, now);
        }
        self.again(Cause::Left, ready_for, now)
    }

    /// Ends the process: it can never serve on a port that another user holds.
    pub(super) fn on_port_taken(&mut self, incarnation: u64, now: Instant) -> Vec<Effect> {
        let process = self.processes.present_or_replacement(incarnation);
        process.and_then(|process| process.end_at_once(now)).into_iter().collect()
    }

    /// Replaces the present process, which said that it ends, and stays: another is started beside it, and it is
    /// drained and ended.
    pub(super) fn on_stopping_overdue(&mut self, now: Instant) -> Vec<Effect> {
        let Some(process) = self.processes.current.take_if(|process| process.is_past_stopping_deadline(now)) else {
            return Vec::new();
        };
        let ready_for = process.ready_for(now);
        let mut effects: Vec<Effect> =
            self.retire(process, "said that it ends (STOPPING=1), and did not exit", now).into_iter().collect();
        self.restarts.count_exit();
        if self.processes.parked.is_some() {
            effects.extend(self.put_back(ENDED, now));
            return effects;
        }
        effects.extend(self.again(Cause::Left, ready_for, now));
        effects
    }
}
