//! The state machine of one process, from its start to its end. Pure: events and the time come in, effects and a
//! deadline go out.
//!
//! ```text
//! starting -> ready <-> busy, suspect -> draining -> stopping
//! ```
//!
//! A drain has one order, and each step waits for the one before for a reason:
//!
//! 1. *Leave the rotation*: the worker is not picked any more.
//! 2. *Quiesce*: no connect to the worker is under way, and its accept queue is empty. A signal before that could make
//!    the worker close its listener while clients wait in the queue.
//! 3. *The drain signal*, if the worker is known to finish its connections after it: only that signal makes a server
//!    send `Connection: close`. For other workers the signal would cut connections, so it comes last: connections
//!    without a pending response are closed after a second of silence (`idle`), or none are (`wait`). A Node worker is
//!    *disconnected* instead, which is the drain signal of its cluster; it gets the stop signal only if it has not
//!    ended by the deadline.
//! 4. *The end* when no connection is left, or at the drain deadline, which cuts the rest; then SIGKILL after
//!    `kill-timeout`.

mod drain;
mod withdrawal;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Effect;
use super::health::{Health, Opinion, Sign};
use crate::config;
use crate::pool::SlotState;
use crate::stats::Restart as Cause;
use withdrawal::{END_GRACE, Withdrawal};

/// The longest time that a worker that seems hung may take to quiesce.
const HUNG_QUIESCE: Duration = Duration::from_secs(3);

/// The method by which a worker ends once no new connection can reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum DrainMethod {
    /// The worker gets its stop signal, and finishes by itself.
    Signal,
    /// Connections without a pending response are closed; the worker gets its stop signal when none is left.
    CloseIdle,
    /// The worker gets its stop signal when all connections have ended by themselves.
    Wait,
    /// The worker is disconnected from its cluster, and finishes by itself.
    Disconnect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The process waits for the spawn budget, which was empty.
    Postponed {
        until: Instant,
    },
    Starting {
        deadline: Instant,
    },
    Ready {
        since: Instant,
    },
    /// The process is ready since then, and busy: it has no time for more clients than it serves.
    Busy {
        since: Instant,
    },
    /// The process is ready since `since`, and suspect since `suspect_since`.
    Suspect {
        since: Instant,
        suspect_since: Instant,
    },
    Draining {
        deadline: Instant,
        step: DrainStep,
    },
    Stopping {
        kill_at: Option<Instant>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DrainStep {
    /// Connections may still reach the process, even if it has none now.
    Quiesce {
        is_idle: bool,
        /// The drain deadline, if the deadline to quiesce is sooner.
        full: Instant,
    },
    /// The process got its stop signal and finishes by itself.
    Signalled,
    /// The process was disconnected and finishes by itself; the master does not see its remaining connections.
    Disconnected,
    /// The process gets its stop signal when no connection is left.
    Waiting,
}

/// The state of one incarnation.
#[derive(Debug)]
pub(in crate::supervisor) struct ProcessState {
    pub(in crate::supervisor) incarnation: u64,
    pub(in crate::supervisor) generation: u64,
    /// The configuration that the process was started with.
    pub(in crate::supervisor) config: Arc<config::PoolConfig>,
    /// The reason why the process is being ended, if that is its own fault.
    pub(in crate::supervisor) fault: Option<Cause>,
    /// The reason why the process is being ended, if the master told it to end.
    pub(in crate::supervisor) told_to_end: Option<&'static str>,
    /// The process was killed because it took nothing from its queue while it should drain.
    pub(in crate::supervisor) kept_its_queue: bool,
    withdrawal: Withdrawal,
    /// The process was busy when its drain began: clients wait in its queue, and it will not get to them soon.
    pub(in crate::supervisor) was_busy: bool,
    /// The process is replaced on a suspicion only: its drain may last as long as `idle-timeout`.
    has_long_drain: bool,
    state: State,
    health: Health,
}

impl ProcessState {
    /// Creates the state of a process that is being started at `now`.
    pub(in crate::supervisor) fn start(
        incarnation: u64,
        generation: u64,
        config: Arc<config::PoolConfig>,
        now: Instant,
    ) -> Self {
        let state = State::Starting { deadline: now + config.ready_timeout };
        let health = Health::default();
        Self {
            incarnation,
            generation,
            config,
            fault: None,
            told_to_end: None,
            kept_its_queue: false,
            withdrawal: Withdrawal::default(),
            was_busy: false,
            has_long_drain: false,
            state,
            health,
        }
    }

    /// The public name of the state.
    pub(in crate::supervisor) fn state(&self) -> SlotState {
        match self.state {
            State::Postponed { .. } => SlotState::Backoff,
            State::Starting { .. } => SlotState::Starting,
            State::Ready { .. } => SlotState::Ready,
            State::Busy { .. } => SlotState::Busy,
            State::Suspect { .. } => SlotState::Suspect,
            State::Draining { .. } => SlotState::Draining,
            State::Stopping { .. } => SlotState::Stopping,
        }
    }

    /// The time for which the process has been ready at `now`, if it is.
    pub(in crate::supervisor) fn ready_for(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Ready { since } | State::Busy { since } | State::Suspect { since, .. } => {
                Some(now.saturating_duration_since(since))
            }
            _ => None,
        }
    }

    /// The time since which the process is suspect, if it may be kept in rotation all the same: a worker that cannot be
    /// handed connections is never kept.
    pub(in crate::supervisor) fn suspect_since(&self) -> Option<Instant> {
        match self.state {
            State::Suspect { suspect_since, .. } if self.withdrawal.is_reachable() => Some(suspect_since),
            _ => None,
        }
    }

    /// Returns true if the process has closed its channel.
    pub(in crate::supervisor) fn has_closed_channel(&self) -> bool {
        self.withdrawal.has_closed_channel()
    }

    pub(in crate::supervisor) fn is_starting(&self) -> bool {
        matches!(self.state, State::Starting { .. })
    }

    /// Returns true if nothing has told the process to end: if it closes a server then, its application wants that.
    pub(in crate::supervisor) fn may_close(&self) -> bool {
        self.is_starting() || self.state().is_up()
    }

    /// Returns true if the process's checks have failed, or the last one did.
    pub(in crate::supervisor) fn is_failing_checks(&self) -> bool {
        self.health.is_failing_checks()
    }

    /// Returns true if probes should come fast.
    pub(in crate::supervisor) fn needs_fast_probes(&self) -> bool {
        self.health.needs_fast_probes()
    }

    /// Returns true if the process is suspect because it does nothing at all, which is worse than a bad answer.
    pub(in crate::supervisor) fn seems_hung(&self) -> bool {
        matches!(self.state, State::Suspect { .. }) && self.health.seems_hung()
    }

    pub(in crate::supervisor) fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Postponed { until } => Some(until),
            State::Starting { deadline } | State::Draining { deadline, .. } => Some(deadline),
            State::Stopping { kill_at } => kill_at,
            State::Ready { .. } | State::Busy { .. } | State::Suspect { .. } => self.withdrawal.next_deadline(),
        }
    }

    /// Records that the process could not be started yet.
    pub(in crate::supervisor) fn postpone(&mut self, until: Instant) {
        if self.is_starting() {
            self.state = State::Postponed { until };
        }
    }

    /// Records that the process is in rotation from now on.
    pub(in crate::supervisor) fn admit(&mut self, now: Instant) {
        self.state = State::Ready { since: now };
    }

    /// Takes a sign of the health of a ready process. Returns the opinion if the sign changed it.
    pub(in crate::supervisor) fn sign(&mut self, sign: Sign, now: Instant) -> Option<Opinion> {
        let (State::Ready { since } | State::Busy { since } | State::Suspect { since, .. }) = self.state else {
            return None;
        };
        let opinion = self.health.on_sign(sign, &self.config.health)?;
        self.state = match (opinion, self.state) {
            (Opinion::Unhealthy, _) => State::Suspect { since, suspect_since: now },
            (Opinion::Busy, _) => State::Busy { since },
            (Opinion::Healthy, State::Busy { .. }) => State::Ready { since },
            (Opinion::Healthy, _) => State::Ready { since: now },
        };
        Some(opinion)
    }

    /// Returns true if no process was started yet, so that none will exit.
    pub(in crate::supervisor) fn is_postponed(&self) -> bool {
        matches!(self.state, State::Postponed { .. })
    }

    /// Records that the process has closed its channel. After a disconnect that means that all its connections have
    /// ended. Without one it cannot be used any more, and most often its exit follows.
    pub(in crate::supervisor) fn channel_closed(&mut self, now: Instant) {
        self.withdrawal.channel_closed(now);
        if let State::Draining { deadline, step: DrainStep::Disconnected } = self.state {
            self.state = State::Draining { deadline: deadline.min(now + END_GRACE), step: DrainStep::Disconnected };
        }
    }

    /// Records that the process's application has closed all its servers: it may be about to exit, or to open them
    /// again.
    pub(in crate::supervisor) fn servers_closed(&mut self, now: Instant) {
        self.withdrawal.servers_closed(now);
    }

    /// Records that the process said that it ends, without being asked: it gets as much time as a stop.
    pub(in crate::supervisor) fn says_stopping(&mut self, now: Instant) {
        if self.ready_for(now).is_some() {
            self.withdrawal.says_stopping(now + self.config.kill_timeout);
        }
    }

    /// Returns true if the process said that it ends, and still runs after its time.
    pub(in crate::supervisor) fn is_past_stopping_deadline(&self, now: Instant) -> bool {
        self.ready_for(now).is_some() && self.withdrawal.is_past_stopping_deadline(now)
    }

    /// Records that the process's application listens again.
    pub(in crate::supervisor) fn servers_opened(&mut self) {
        self.withdrawal.servers_opened();
    }

    /// Returns true if the process has been unreachable for too long, though it is not known to be dead.
    pub(in crate::supervisor) fn is_unreachable(&self, now: Instant) -> bool {
        self.ready_for(now).is_some() && self.withdrawal.is_past_unreachable_deadline(now)
    }

    /// Kills the process, because of this fault if one is given.
    pub(in crate::supervisor) fn kill(&mut self, fault: Option<Cause>) -> Effect {
        self.fault = self.fault.or(fault);
        self.state = State::Stopping { kill_at: None };
        Effect::Kill(self.incarnation)
    }

    /// Acts on the deadline of the process, which has passed.
    pub(in crate::supervisor) fn overdue(&mut self, now: Instant) -> Vec<Effect> {
        let n = self.incarnation;
        match self.state {
            State::Postponed { .. } => {
                self.state = State::Starting { deadline: now + self.config.ready_timeout };
                vec![Effect::Launch(n)]
            }
            State::Starting { .. } => {
                self.fault = Some(Cause::NeverReady);
                vec![Effect::Late(n), self.terminate(self.config.kill_timeout, now)]
            }
            // The worker's queue is not empty, and it takes nothing from it: once it is dead, other workers get those
            // clients.
            State::Draining { step: DrainStep::Quiesce { .. }, .. } => {
                self.kept_its_queue = true;
                vec![self.kill(None)]
            }
            State::Draining { step: DrainStep::Disconnected, .. } => {
                vec![self.terminate(self.config.kill_timeout, now)]
            }
            State::Draining { step, .. } => {
                let told = Effect::Terminate(n);
                self.state = State::Stopping { kill_at: Some(now + self.config.kill_timeout) };
                if step == DrainStep::Signalled { vec![Effect::Abort(n)] } else { vec![Effect::Abort(n), told] }
            }
            State::Stopping { .. } => {
                self.state = State::Stopping { kill_at: None };
                vec![Effect::Kill(n)]
            }
            State::Ready { .. } | State::Busy { .. } | State::Suspect { .. } => Vec::new(),
        }
    }

    /// Ends the process without a drain, since it cannot serve; does nothing if it is ending already.
    pub(in crate::supervisor) fn end_at_once(&mut self, now: Instant) -> Option<Effect> {
        match self.state {
            State::Starting { .. } | State::Ready { .. } | State::Busy { .. } | State::Suspect { .. } => {
                Some(self.terminate(self.config.kill_timeout, now))
            }
            State::Postponed { .. } | State::Draining { .. } | State::Stopping { .. } => None,
        }
    }

    fn terminate(&mut self, grace: Duration, now: Instant) -> Effect {
        self.state = State::Stopping { kill_at: Some(now + grace) };
        Effect::Terminate(self.incarnation)
    }
}
