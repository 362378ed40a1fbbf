//! Observes the progress of one process, in each mode, for its [`HangDetector`].

mod handed;
mod queue;
mod sockets;

use tokio::time::Instant;

use self::handed::{ChannelProgress, HeldProgress};
use self::queue::QueueProgress;
use super::context::ProcessContext;
use crate::config::{Health, PassedAs};
use crate::os::accept_queue::{PeerId, ServerSide};
use crate::os::inspect;
use crate::rotation::{Endpoint, Upstream};
use crate::supervisor::slot::hang::{Condition, Cpu, HangAction, HangDetector};

pub(super) use queue::QueueState;

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

/// The looks at the source of a process's progress.
enum Source {
    Queue(QueueProgress),
    Channel(ChannelProgress),
    Held(HeldProgress),
}

/// The progress of one process, and the condition that follows from it.
pub(super) struct Progress {
    hang: HangDetector,
    source: Source,
    /// The condition of the process when its slot was last told.
    condition: Condition,
    /// It was logged that a debugger holds the process.
    is_held: bool,
}

impl Progress {
    /// Creates the progress of a process that is being started.
    pub(super) fn new(process: &ProcessContext) -> Self {
        let source = match &process.upstream.endpoint {
            Endpoint::Channel if process.config.passed_as() == PassedAs::Node => Source::Held(HeldProgress::default()),
            Endpoint::Channel => Source::Channel(ChannelProgress::default()),
            Endpoint::Inherited => Source::Held(HeldProgress::default()),
            Endpoint::Tcp(_) | Endpoint::Unix(_) | Endpoint::UnixOf(..) => Source::Queue(QueueProgress::new()),
        };
        Self { hang: HangDetector::default(), source, condition: Condition::default(), is_held: false }
    }

    /// Returns the source of the progress.
    pub(super) fn look_at(&self, process: &ProcessContext) -> LookAt {
        match self.source {
            Source::Queue(_) => LookAt::Queue(process.upstream.endpoint.clone()),
            Source::Channel(_) => LookAt::Channel,
            Source::Held(_) => LookAt::Sockets,
        }
    }

    /// The queue of the process, as last seen.
    pub(super) fn queue(&self) -> QueueState {
        match &self.source {
            Source::Queue(queue) => queue.state(),
            Source::Channel(_) | Source::Held(_) => QueueState::NONE,
        }
    }

    /// Records if a socket listens at the private endpoint.
    pub(super) fn set_listening(&mut self, is_listening: bool) {
        if let Source::Queue(queue) = &mut self.source {
            queue.set_listening(is_listening);
        }
    }

    /// Records that a check of ours has reached the endpoint from this address.
    pub(super) fn record_check(&mut self, check: PeerId) {
        if let Source::Queue(queue) = &mut self.source {
            queue.record_check(check);
        }
    }

    /// Takes the length of the queue. Returns true if the connections in it must be looked up.
    pub(super) fn queue_seen(
        &mut self,
        process: &ProcessContext,
        length: u32,
        is_listening: bool,
        now: Instant,
    ) -> bool {
        let Source::Queue(queue) = &mut self.source else { return false };
        queue.set_listening(is_listening);
        let (sample, is_due) = queue.see(&process.upstream, length, now);
        if let Some(sample) = sample {
            self.hang.saw(sample, now);
        }
        is_due
    }

    /// Takes the connections that were made to the process.
    pub(super) fn connections_seen(&mut self, process: &ProcessContext, sides: &[ServerSide], now: Instant) {
        if let Source::Queue(queue) = &mut self.source {
            let sample = queue.see_connections(&process.upstream, sides);
            self.hang.saw(sample, now);
        }
    }

    /// Samples counters that the master has without asking the kernel.
    pub(super) fn look_here(&mut self, process: &ProcessContext, now: Instant) {
        let sample = match &mut self.source {
            Source::Channel(channel) => channel.look(&process.upstream),
            Source::Held(held) => held.look(&process.upstream),
            Source::Queue(_) => return,
        };
        self.hang.saw(sample, now);
    }

    /// Returns true if the sockets of the process group must be looked up: it is mute, and the master does not hold
    /// them.
    pub(super) fn wants_held_sockets(&self, now: Instant) -> bool {
        matches!(self.source, Source::Held(_)) && self.hang.condition(now) != Condition::Well
    }

    /// Takes the sockets that the process group holds on the public addresses.
    pub(super) fn held_sockets_seen(&mut self, sides: &[ServerSide]) {
        if let Source::Held(held) = &mut self.source {
            held.see(sides);
        }
    }

    /// Returns true if the leader of the process group is stopped: then all of the group may be. Reads one file.
    pub(super) fn leader_is_stopped(&mut self, process: &ProcessContext, now: Instant) -> bool {
        let is_stopped = process.pid().is_some_and(inspect::is_stopped);
        if !is_stopped {
            self.hang.stopped(false, now);
        }
        is_stopped
    }

    /// Records that the process answered a check, well or badly.
    pub(super) fn answered(&mut self, now: Instant) {
        self.hang.answered(now);
    }

    /// Records that the process did not answer in time a check that only the program can answer.
    pub(super) fn unanswered(&mut self, now: Instant) {
        self.hang.unanswered(now);
    }

    /// Records a heartbeat.
    pub(super) fn beat(&mut self, now: Instant) {
        self.hang.beat(now);
    }

    /// The time at which the next heartbeat is overdue.
    pub(super) fn next_beat(&self, config: &Health) -> Option<Instant> {
        self.hang.next_beat(config)
    }

    /// The time of the last heartbeat, if the process ever sent one.
    pub(super) fn last_beat(&self) -> Option<Instant> {
        self.hang.last_beat()
    }

    /// Records that a heartbeat is overdue. `lost` is the last moment at which one may have been lost on its way: that
    /// is no sign.
    pub(super) fn beat_overdue(&mut self, lost: Option<Instant>, now: Instant) {
        match lost {
            Some(lost) => self.hang.excuse_beat(lost),
            None => self.hang.missed_beat(now),
        }
    }

    /// Restarts all deadlines: the master itself stood still until now.
    pub(super) fn forgive(&mut self, now: Instant) {
        self.hang.forgive(now);
    }

    /// Returns the condition if it has changed since the last call.
    pub(super) fn changed_condition(&mut self, now: Instant) -> Option<Condition> {
        let condition = self.hang.condition(now);
        let was = std::mem::replace(&mut self.condition, condition);
        if let (Condition::Well, Source::Held(held)) = (condition, &mut self.source) {
            held.forget_count();
        }
        (was != condition).then_some(condition)
    }

    /// Returns true if a sign speaks against the process.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.condition != Condition::Well
    }

    /// Returns true if all of the process group is stopped.
    pub(super) fn is_stopped(&self, now: Instant) -> bool {
        self.hang.condition(now) == Condition::Stopped
    }

    /// Returns true if a client waits that the process has not taken.
    pub(super) fn has_waiting(&self) -> bool {
        self.hang.has_waiting()
    }

    /// Returns true if a client has waited long for the process.
    pub(super) fn keeps_waiting(&self, now: Instant) -> bool {
        self.hang.keeps_waiting(now)
    }

    /// The time of the last progress, if any was seen.
    pub(super) fn last_progress(&self) -> Option<Instant> {
        self.hang.last_progress()
    }

    /// The sign against the process, in words.
    pub(super) fn reason(&self, now: Instant) -> &'static str {
        self.hang.reason(now)
    }

    /// Takes the resources that the process group uses. Returns the action that is due.
    pub(super) fn usage_seen(
        &mut self,
        process: &ProcessContext,
        usage: &inspect::Usage,
        clients_wait: bool,
        now: Instant,
    ) -> Option<HangAction> {
        let is_stopped = usage.processes > 0 && usage.stopped == usage.processes;
        self.hang.stopped(is_stopped, now);
        self.hang.used(Cpu { seconds: usage.cpu_seconds, is_wanted: usage.runnable > 0 }, now);
        let (config, pid) = (&process.config, process.pid().unwrap_or(0));
        let action = self.hang.action(&config.health, config.idle_timeout, clients_wait, now);
        let Some(action) = action else {
            self.is_held &= self.is_in_doubt();
            return None;
        };
        if usage.is_traced || inspect::is_traced(pid) {
            if !std::mem::replace(&mut self.is_held, true) {
                tracing::warn!(worker = %process.name(), pid, "worker seems hung, but a debugger holds it: left alone");
            }
            return None;
        }
        Some(action)
    }
}

/// Returns the number of client connections that reached the worker and have not ended.
fn connected(upstream: &Upstream) -> usize {
    upstream.active().saturating_sub(upstream.connecting())
}
