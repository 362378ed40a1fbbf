//! Observes a worker's progress, in each mode, for its [`crate::supervisor::slot::hang::HangDetector`].

use std::time::Duration;

use tokio::time::Instant;

use super::WorkerSlot;
use super::process::WorkerProcess;
use crate::config::PassedAs;
use crate::os::accept_queue::{PeerId, ServerSide};
use crate::os::inspect;
use crate::rotation::Endpoint;
use crate::supervisor::slot::Event;
use crate::supervisor::slot::hang::{Condition, Cpu, HangAction, ProgressSample};
use crate::supervisor::slot::health::Sign;

/// The most checks of ours that may be on their way or untaken in a queue. A further one is made only when none is
/// left.
const MOST_CHECKS: usize = 64;

/// The interval at which connections in a queue that does not move are looked up, and the one if all may be checks of
/// ours.
const LOOKUP: Duration = Duration::from_millis(400);
const LOOKUP_OF_CHECKS: Duration = Duration::from_secs(2);

/// The source from which a worker's progress is sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum LookAt {
    /// The queue of a private endpoint.
    Queue(Endpoint),
    /// The channel's counters.
    Channel,
    /// The worker's sockets, which are looked up only while it is mute: nothing else is known.
    Sockets,
}

impl WorkerProcess {
    /// Returns the source of the worker's progress.
    fn look_at(&self) -> LookAt {
        match &self.upstream.endpoint {
            Endpoint::Channel if self.config.passed_as() == PassedAs::Node => LookAt::Sockets,
            Endpoint::Channel => LookAt::Channel,
            Endpoint::Inherited => LookAt::Sockets,
            endpoint => LookAt::Queue(endpoint.clone()),
        }
    }

    /// Returns the number of client connections that reached the worker and have not ended.
    fn connected(&self) -> usize {
        self.upstream.active().saturating_sub(self.upstream.connecting())
    }

    /// Returns the number of clients that the worker was handed and has not taken. A connection that was taken back
    /// counts too: it shows that the worker does not read.
    fn untaken(&self) -> usize {
        self.upstream.connecting() + usize::from(self.upstream.is_stalled())
    }

    /// Returns true if the worker wrote to a client since the last call.
    fn has_written(&mut self) -> bool {
        let written = self.upstream.sent.get();
        std::mem::replace(&mut self.written, written) != written
    }

    /// Records that a check of ours has reached the endpoint from this address.
    pub(super) fn record_check(&mut self, check: PeerId) {
        if self.own_checks.len() < MOST_CHECKS {
            self.own_checks.push(check);
        }
    }

    /// Takes the length of the queue. Returns a sample if the length shows that the worker makes progress or that the
    /// queue is empty; `None` if the connections must be looked up.
    fn queue_seen(&mut self, length: u32) -> Option<ProgressSample> {
        let has_shrunk = length < std::mem::replace(&mut self.queue_length, length);
        let has_moved = self.has_written() || has_shrunk;
        if length == 0 {
            self.own_checks.clear();
        }
        let waiting = usize::try_from(length).unwrap_or(usize::MAX);
        let look = ProgressSample { waiting, in_service: Some(self.connected()), has_moved };
        (length == 0 || has_moved).then_some(look)
    }

    /// Takes the connections that were made to the worker.
    fn connections_seen(&mut self, sides: &[ServerSide]) -> ProgressSample {
        let untaken = || sides.iter().filter(|side| side.inode.is_none());
        // Checks that have been taken meanwhile need not be remembered.
        self.own_checks.retain(|check| untaken().any(|side| side.peer == Some(*check)));
        let is_client = |side: &&ServerSide| side.peer.is_some_and(|peer| !self.own_checks.contains(&peer));
        let waiting = untaken().filter(is_client).count();
        let has_moved = self.sockets.see(sides.iter());
        ProgressSample { waiting, in_service: Some(self.connected().saturating_sub(waiting)), has_moved }
    }

    /// Samples the channel's counters.
    fn channel_seen(&mut self) -> ProgressSample {
        let upstream = &self.upstream;
        let waiting = self.untaken();
        let ended: u64 = upstream.closes.iter().map(|counter| counter.get()).sum();
        let done = upstream.stats.connections.get() + ended;
        let has_moved = std::mem::replace(&mut self.done, done) != done;
        ProgressSample { waiting, in_service: Some(self.connected()), has_moved }
    }

    /// Samples a worker whose sockets the master does not hold. Clients that it was handed and has not taken count as
    /// waiting.
    fn sockets_seen(&mut self) -> ProgressSample {
        let upstream = &self.upstream;
        let waiting = match upstream.endpoint {
            Endpoint::Channel => self.untaken(),
            _ => 0,
        };
        let done = upstream.stats.connections.get();
        let has_taken = std::mem::replace(&mut self.done, done) != done;
        let (in_service, has_moved) = self.held.take().map_or((self.held_count, false), |(count, moved)| {
            self.held_count = Some(count);
            (Some(count), moved)
        });
        ProgressSample { waiting, in_service, has_moved: has_taken || has_moved }
    }
}

impl WorkerSlot {
    /// The present process, if it has been ready and is not ending.
    fn watched(&self) -> Option<u64> {
        let process_state = self.slot.current().filter(|process_state| process_state.state().is_up())?;
        self.processes.contains_key(&process_state.incarnation).then_some(process_state.incarnation)
    }

    fn watched_mut(&mut self) -> Option<&mut WorkerProcess> {
        let incarnation = self.watched()?;
        self.processes.get_mut(&incarnation)
    }

    /// The source from which the present process is sampled, if it is.
    pub(in crate::supervisor) fn look_at(&self) -> Option<LookAt> {
        Some(self.processes.get(&self.watched()?)?.look_at())
    }

    /// Takes the length of the present process's queue. Returns true if the connections in it must be looked up.
    pub(in crate::supervisor) fn queue_seen(&mut self, length: u32, is_listening: bool, now: Instant) -> bool {
        let Some(process) = self.watched_mut() else { return false };
        process.is_listening = is_listening;
        if let Some(look) = process.queue_seen(length) {
            process.hang.saw(look, now);
            process.sockets.forget();
            process.next_lookup = None;
            return false;
        }
        let is_ours = process.own_checks.len() >= usize::try_from(length).unwrap_or(usize::MAX);
        if is_ours {
            // There are as many checks of ours as connections: no client waits, unless one came after a check was
            // taken.
            let look = ProgressSample { waiting: 0, in_service: Some(process.connected()), has_moved: false };
            process.hang.saw(look, now);
        }
        let is_due = process.next_lookup.is_none_or(|at| at <= now);
        if is_due {
            process.next_lookup = Some(now + if is_ours { LOOKUP_OF_CHECKS } else { LOOKUP });
        }
        is_due
    }

    /// Takes the connections that were made to the present process.
    pub(in crate::supervisor) fn connections_seen(&mut self, sides: &[ServerSide], now: Instant) {
        if let Some(process) = self.watched_mut() {
            let look = process.connections_seen(sides);
            process.hang.saw(look, now);
        }
    }

    /// Samples counters that the master has without asking the kernel.
    pub(in crate::supervisor) fn look_here(&mut self, now: Instant) {
        let Some(process) = self.watched_mut() else { return };
        let look = match process.look_at() {
            LookAt::Channel => process.channel_seen(),
            LookAt::Sockets => process.sockets_seen(),
            LookAt::Queue(_) => return,
        };
        process.hang.saw(look, now);
    }

    /// Returns the group of the present process if its sockets must be looked up: it is mute, and the master does not
    /// hold them.
    pub(in crate::supervisor) fn group_to_look_up(&self, now: Instant) -> Option<u32> {
        let process = self.processes.get(&self.watched()?)?;
        let is_wanted = process.look_at() == LookAt::Sockets && process.hang.condition(now) != Condition::Well;
        process.pid.filter(|_| is_wanted)
    }

    /// Takes the sockets that the present process's group holds on the public addresses.
    pub(in crate::supervisor) fn sockets_seen(&mut self, group: u32, sides: &[ServerSide]) {
        if let Some(process) = self.watched_mut().filter(|process| process.pid == Some(group)) {
            let has_moved = process.sockets.see(sides.iter());
            process.held = Some((sides.len(), has_moved));
        }
    }

    /// Returns true if the leader of the present process's group is stopped: then all of it may be. Reads one file.
    pub(in crate::supervisor) fn leader_is_stopped(&mut self, now: Instant) -> bool {
        let Some(process) = self.watched_mut() else { return false };
        let is_stopped = process.pid.is_some_and(inspect::is_stopped);
        if !is_stopped {
            process.hang.stopped(false, now);
        }
        is_stopped
    }

    /// The time at which a heartbeat of the present process is overdue.
    pub(super) fn next_beat(&self) -> Option<Instant> {
        let process = self.processes.get(&self.slot.current()?.incarnation)?;
        process.hang.next_beat(&process.config.health)
    }

    /// Handles an overdue heartbeat. A heartbeat that could not arrive is no sign.
    pub(in crate::supervisor) fn beat_if_due(&mut self, now: Instant) -> Option<Event> {
        if self.next_beat().is_none_or(|due| due > now) {
            return None;
        }
        let process = self.present_mut()?;
        let lost = process.hang.last_beat().and_then(|last| process.notify_reach.lost_after(last, now));
        match lost {
            Some(lost) => process.hang.excuse_beat(lost),
            None => process.hang.missed_beat(now),
        }
        self.reconsider(now)
    }

    /// Returns an event if the condition of the present process has changed.
    pub(in crate::supervisor) fn reconsider(&mut self, now: Instant) -> Option<Event> {
        let incarnation = self.watched()?;
        let process = self.processes.get_mut(&incarnation)?;
        let condition = process.hang.condition(now);
        let was = std::mem::replace(&mut process.condition, condition);
        if condition == Condition::Well {
            process.held_count = None;
        }
        (was != condition).then_some(Event::Sign(incarnation, Sign::Condition(condition)))
    }

    /// Restarts all deadlines: the master itself stood still until now.
    pub(in crate::supervisor) fn forgive(&mut self, now: Instant) {
        self.processes.values_mut().for_each(|process| process.hang.forgive(now));
    }

    /// Returns true if a sign speaks against the present process.
    pub(in crate::supervisor) fn is_in_doubt(&self) -> bool {
        self.present().is_some_and(|process| process.condition != Condition::Well)
    }

    /// Returns true if all of the present process's group is stopped.
    pub(in crate::supervisor) fn is_stopped(&self, now: Instant) -> bool {
        self.present().is_some_and(|process| process.hang.condition(now) == Condition::Stopped)
    }

    /// Returns an event if a client waits for the present process when the parked process would leave.
    pub(in crate::supervisor) fn waits_if_settling(&self, now: Instant) -> Option<Event> {
        self.slot.settles_at().filter(|&at| at <= now)?;
        let incarnation = self.watched()?;
        let process = self.processes.get(&incarnation)?;
        process.hang.has_waiting().then_some(Event::Waits(incarnation))
    }

    /// Returns true if a client has waited long for the present process.
    pub(in crate::supervisor) fn keeps_waiting(&self, now: Instant) -> bool {
        self.present().is_some_and(|process| process.hang.keeps_waiting(now))
    }

    /// Takes the resources that the present process's group uses. Returns the action that is due.
    pub(in crate::supervisor) fn usage_seen(
        &mut self,
        usage: &inspect::Usage,
        clients_wait: bool,
        now: Instant,
    ) -> Option<HangAction> {
        let name = self.name();
        let process = self.watched_mut()?;
        let is_stopped = usage.processes > 0 && usage.stopped == usage.processes;
        process.hang.stopped(is_stopped, now);
        process.hang.used(Cpu { seconds: usage.cpu_seconds, is_wanted: usage.runnable > 0 }, now);
        let (config, pid) = (&process.config, process.pid.unwrap_or(0));
        let action = process.hang.action(&config.health, config.idle_timeout, clients_wait, now);
        let Some(action) = action else {
            process.is_held &= process.condition != Condition::Well;
            return None;
        };
        if usage.is_traced || inspect::is_traced(pid) {
            if !std::mem::replace(&mut process.is_held, true) {
                tracing::warn!(worker = %name, pid, "worker seems hung, but a debugger holds it: left alone");
            }
            return None;
        }
        Some(action)
    }

    /// The sign against the present process, in words.
    pub(in crate::supervisor) fn reason(&self, incarnation: u64) -> &'static str {
        self.processes.get(&incarnation).map_or("", |process| process.hang.reason(Instant::now()))
    }
}
