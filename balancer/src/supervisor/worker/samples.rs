//! Looks at a slot's processes: at their deadlines, and with the samples of the pool's monitor.

use tokio::time::Instant;

use super::process::WorkerProcess;
use super::progress::LookAt;
use super::{Event, WorkerSlot};
use crate::os::accept_queue::ServerSide;
use crate::os::inspect;
use crate::supervisor::slot::hang::HangAction;
use crate::supervisor::slot::health::Sign;

/// The deadlines of all processes.
impl WorkerSlot {
    pub(in crate::supervisor) fn next_deadline(&self) -> Option<Instant> {
        let of_processes = self.processes.values().filter_map(WorkerProcess::next_deadline);
        of_processes.chain(self.slot.next_deadline()).chain(self.next_beat()).min()
    }

    /// Makes the checks that are due.
    pub(in crate::supervisor) fn probe_if_due(&mut self, now: Instant) {
        self.all().for_each(|(state, process)| process.check_if_due(state, now));
    }

    /// Looks, if that is due, where programs listen.
    pub(in crate::supervisor) fn look_if_due(&mut self, now: Instant) {
        let mut is_exposure_looked = false;
        for (state, process) in self.all() {
            is_exposure_looked |= process.look_if_due(state, now) && !state.is_starting();
        }
        if is_exposure_looked {
            self.exposure.begin();
        }
    }

    /// Checks the drains that are due to be checked. Returns the processes that are quiesced.
    pub(in crate::supervisor) fn check_drains(&mut self, now: Instant) -> Vec<Event> {
        self.processes.values_mut().filter_map(|process| process.check_drain(now)).collect()
    }
}

/// The samples of the present process.
impl WorkerSlot {
    /// The present process, if it has been ready and is not ending.
    fn watched(&self) -> Option<&WorkerProcess> {
        let process_state = self.slot.current().filter(|process_state| process_state.state().is_up())?;
        self.processes.get(&process_state.incarnation)
    }

    fn watched_mut(&mut self) -> Option<&mut WorkerProcess> {
        let process_state = self.slot.current().filter(|process_state| process_state.state().is_up())?;
        self.processes.get_mut(&process_state.incarnation)
    }

    /// The source from which the present process is sampled, if it is.
    pub(in crate::supervisor) fn look_at(&self) -> Option<LookAt> {
        let process = self.watched()?;
        Some(process.progress.look_at(&process.context))
    }

    /// Takes the length of the present process's queue. Returns true if the connections in it must be looked up.
    pub(in crate::supervisor) fn queue_seen(&mut self, length: u32, is_listening: bool, now: Instant) -> bool {
        let Some(process) = self.watched_mut() else { return false };
        process.progress.queue_seen(&process.context, length, is_listening, now)
    }

    /// Takes the connections that were made to the present process.
    pub(in crate::supervisor) fn connections_seen(&mut self, sides: &[ServerSide], now: Instant) {
        if let Some(process) = self.watched_mut() {
            process.progress.connections_seen(&process.context, sides, now);
        }
    }

    /// Samples counters that the master has without asking the kernel.
    pub(in crate::supervisor) fn look_here(&mut self, now: Instant) {
        if let Some(process) = self.watched_mut() {
            process.progress.look_here(&process.context, now);
        }
    }

    /// Returns the group of the present process if its sockets must be looked up.
    pub(in crate::supervisor) fn group_to_look_up(&self, now: Instant) -> Option<u32> {
        let process = self.watched()?;
        process.context.pid().filter(|_| process.progress.wants_held_sockets(now))
    }

    /// Takes the sockets that the present process's group holds on the public addresses.
    pub(in crate::supervisor) fn sockets_seen(&mut self, group: u32, sides: &[ServerSide]) {
        if let Some(process) = self.watched_mut().filter(|process| process.context.pid() == Some(group)) {
            process.progress.held_sockets_seen(sides);
        }
    }

    /// Returns true if the leader of the present process's group is stopped: then all of it may be. Reads one file.
    pub(in crate::supervisor) fn leader_is_stopped(&mut self, now: Instant) -> bool {
        self.watched_mut().is_some_and(|process| process.progress.leader_is_stopped(&process.context, now))
    }

    /// Takes the resources that the present process's group uses. Returns the action that is due.
    pub(in crate::supervisor) fn usage_seen(
        &mut self,
        usage: &inspect::Usage,
        clients_wait: bool,
        now: Instant,
    ) -> Option<HangAction> {
        let process = self.watched_mut()?;
        process.progress.usage_seen(&process.context, usage, clients_wait, now)
    }

    /// Returns an event if the condition of the present process has changed.
    pub(in crate::supervisor) fn reconsider(&mut self, now: Instant) -> Option<Event> {
        let process = self.watched_mut()?;
        let condition = process.progress.changed_condition(now)?;
        Some(Event::Sign(process.context.incarnation(), Sign::Condition(condition)))
    }

    /// Returns an event if a client waits for the present process when the parked process would leave.
    pub(in crate::supervisor) fn waits_if_settling(&self, now: Instant) -> Option<Event> {
        self.slot.settles_at().filter(|&at| at <= now)?;
        let process = self.watched()?;
        process.progress.has_waiting().then_some(Event::Waits(process.context.incarnation()))
    }

    /// The time at which a heartbeat of the present process is overdue.
    pub(super) fn next_beat(&self) -> Option<Instant> {
        let process = self.present()?;
        process.progress.next_beat(&process.context.config.health)
    }

    /// Handles an overdue heartbeat of the present process. A heartbeat that could not arrive is no sign.
    pub(in crate::supervisor) fn beat_if_due(&mut self, now: Instant) -> Option<Event> {
        if self.next_beat().is_none_or(|due| due > now) {
            return None;
        }
        let process = self.present_mut()?;
        let lost = process.progress.last_beat().and_then(|last| process.notifications.lost_after(last, now));
        process.progress.beat_overdue(lost, now);
        self.reconsider(now)
    }

    /// Restarts all deadlines: the master itself stood still until now.
    pub(in crate::supervisor) fn forgive(&mut self, now: Instant) {
        self.processes.values_mut().for_each(|process| process.progress.forgive(now));
    }

    /// Returns true if a sign speaks against the present process.
    pub(in crate::supervisor) fn is_in_doubt(&self) -> bool {
        self.present().is_some_and(|process| process.progress.is_in_doubt())
    }

    /// Returns true if all of the present process's group is stopped.
    pub(in crate::supervisor) fn is_stopped(&self, now: Instant) -> bool {
        self.present().is_some_and(|process| process.progress.is_stopped(now))
    }

    /// Returns true if a client has waited long for the present process.
    pub(in crate::supervisor) fn keeps_waiting(&self, now: Instant) -> bool {
        self.present().is_some_and(|process| process.progress.keeps_waiting(now))
    }

    /// The limit on the present process's memory, in bytes.
    pub(in crate::supervisor) fn memory_bound(&self) -> Option<u64> {
        self.present()?.context.config.max_memory
    }

    /// Returns true if the present process has reached its maximum age.
    pub(in crate::supervisor) fn is_too_old(&self, now: Instant) -> bool {
        self.present().is_some_and(|process| process.recycling.is_too_old(now))
    }

    /// Returns true if the path of the present process's unix endpoint was missing at this look and at the one before.
    /// One call of `lstat`.
    pub(in crate::supervisor) fn has_lost_endpoint(&mut self) -> bool {
        let Some(process) = self.present_mut().filter(|process| process.admissions.was_ready()) else { return false };
        process.recycling.has_lost_endpoint(&process.context.upstream.endpoint)
    }

    /// Returns true if the present process may be replaced at `now`; if so, it may not again before `next`.
    pub(in crate::supervisor) fn may_be_replaced(&mut self, next: Instant, now: Instant) -> bool {
        self.present_mut().is_some_and(|process| process.recycling.may_be_replaced(next, now))
    }
}
