//! The state machine of one process, from its start to its end. Pure: events and the time come in, effects and a deadline go out.
//!
//! ```text
//! starting -> ready <-> busy, suspect -> draining -> stopping
//! ```
//!
//! A drain has one order, and each of its guards has a reason:
//!
//! 1. *Leave the rotation*: nobody picks it any more.
//! 2. *Quiesce*: no connect to it is under way and its accept queue is empty. Whatever it is told before that, it may
//!    close its listener over clients that wait in it.
//! 3. *The drain signal*, where it is known to finish what it has after it: only that makes a server say
//!    `Connection: close`. Elsewhere the signal would cut, so it comes last: what is owed nothing is closed after a second
//!    of silence (`idle`), or nothing is (`wait`). A Node worker is *disconnected* instead, which is the drain signal of
//!    its cluster; the stop signal comes only if it has not ended by the deadline.
//! 4. *The end* when nothing is left on it, or at the drain deadline, at which the rest is cut; then SIGKILL after
//!    `kill-timeout`.

mod drain;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Effect;
use super::health::{Health, Opinion, Sign};
use crate::config;
use crate::pool::SlotState;
use crate::stats::Restart as Cause;

/// How long a worker that seems hung may take to quiesce.
const HUNG_QUIESCE: Duration = Duration::from_secs(3);

/// How long a worker that has closed its channel, as it does when its connections have ended, may take to end by itself.
const END_GRACE: Duration = Duration::from_secs(1);

/// How a worker is brought to its end once no new connection can reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum DrainMethod {
    /// It is told, and finishes by itself.
    Signal,
    /// What is owed nothing is closed; it is told when nothing is left.
    CloseIdle,
    /// It is told when everything has ended by itself.
    Wait,
    /// It is disconnected from its cluster, and finishes by itself.
    Disconnect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The spawn budget was empty.
    Postponed {
        until: Instant,
    },
    Starting {
        deadline: Instant,
    },
    Ready {
        since: Instant,
    },
    /// Ready since then, and it has no time for more clients than it serves.
    Busy {
        since: Instant,
    },
    /// Ready since the one moment, suspect since the other.
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
    /// Connections may still reach it. It may have none even so.
    Quiesce {
        is_idle: bool,
        /// The drain deadline, where the deadline to quiesce is sooner.
        full: Instant,
    },
    /// It was told and finishes by itself.
    Signalled,
    /// It was disconnected and finishes by itself; what it still has is not seen from here.
    Disconnected,
    /// It will be told when nothing is left on it.
    Waiting,
}

/// The state of one incarnation.
#[derive(Debug)]
pub(in crate::supervisor) struct ProcessState {
    pub(in crate::supervisor) incarnation: u64,
    pub(in crate::supervisor) generation: u64,
    /// What it was started by.
    pub(in crate::supervisor) config: Arc<config::PoolConfig>,
    /// Why it is being ended, where that is its own fault.
    pub(in crate::supervisor) fault: Option<Cause>,
    /// Why it is being ended, where it was told to end.
    pub(in crate::supervisor) told_to_end: Option<&'static str>,
    /// It was killed because it took nothing from its queue while it was to drain.
    pub(in crate::supervisor) kept_its_queue: bool,
    /// It can be handed nothing: when it is given up, unless it has come back or ended by then.
    unreachable_deadline: Option<Instant>,
    /// It said by itself that it ends: when it is replaced, if it is still there.
    stopping_deadline: Option<Instant>,
    /// It has closed its channel.
    has_closed_channel: bool,
    /// It was busy when its drain began: clients wait in its queue, and it will not get to them soon.
    pub(in crate::supervisor) was_busy: bool,
    /// It is replaced on a suspicion only: its drain may last as long as `idle-timeout`.
    has_long_drain: bool,
    state: State,
    health: Health,
}

impl ProcessState {
    /// One that is being started at `now`.
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
            unreachable_deadline: None,
            stopping_deadline: None,
            has_closed_channel: false,
            was_busy: false,
            has_long_drain: false,
            state,
            health,
        }
    }

    /// The state's public word.
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

    /// For how long it has been ready at `now`, if it is.
    pub(in crate::supervisor) fn ready_for(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Ready { since } | State::Busy { since } | State::Suspect { since, .. } => {
                Some(now.saturating_duration_since(since))
            }
            _ => None,
        }
    }

    /// Since when it is suspect, if it is and may be kept in rotation: one that can be handed nothing is no use to anybody.
    pub(in crate::supervisor) fn suspect_since(&self) -> Option<Instant> {
        match self.state {
            State::Suspect { suspect_since, .. } if self.unreachable_deadline.is_none() => Some(suspect_since),
            _ => None,
        }
    }

    /// Whether it has closed its channel.
    pub(in crate::supervisor) fn has_closed_channel(&self) -> bool {
        self.has_closed_channel
    }

    pub(in crate::supervisor) fn is_starting(&self) -> bool {
        matches!(self.state, State::Starting { .. })
    }

    /// True if nothing has told it to end: a server that it closes is closed because its application wants that.
    pub(in crate::supervisor) fn may_close(&self) -> bool {
        self.is_starting() || self.state().is_up()
    }

    /// Returns true if its checks speak against it, or the last one did.
    pub(in crate::supervisor) fn is_failing_checks(&self) -> bool {
        self.health.is_failing_checks()
    }

    /// Whether probes should come fast.
    pub(in crate::supervisor) fn needs_fast_probes(&self) -> bool {
        self.health.needs_fast_probes()
    }

    /// Whether it is suspect of doing nothing at all, which is worse than answering badly.
    pub(in crate::supervisor) fn seems_hung(&self) -> bool {
        matches!(self.state, State::Suspect { .. }) && self.health.seems_hung()
    }

    pub(in crate::supervisor) fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Postponed { until } => Some(until),
            State::Starting { deadline } | State::Draining { deadline, .. } => Some(deadline),
            State::Stopping { kill_at } => kill_at,
            State::Ready { .. } | State::Busy { .. } | State::Suspect { .. } => {
                self.unreachable_deadline.into_iter().chain(self.stopping_deadline).min()
            }
        }
    }

    /// It could not be started yet.
    pub(in crate::supervisor) fn postpone(&mut self, until: Instant) {
        if self.is_starting() {
            self.state = State::Postponed { until };
        }
    }

    /// It is in rotation from now on.
    pub(in crate::supervisor) fn admit(&mut self, now: Instant) {
        self.state = State::Ready { since: now };
    }

    /// A sign of its health, if it is ready; returns the opinion if that changed it.
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

    /// Whether there was no process yet, and so none will exit.
    pub(in crate::supervisor) fn is_postponed(&self) -> bool {
        matches!(self.state, State::Postponed { .. })
    }

    /// It has closed its channel. After a disconnect that means that all its connections have ended; without one it is of no
    /// more use, and most often about to be heard of as dead.
    pub(in crate::supervisor) fn channel_closed(&mut self, now: Instant) {
        self.has_closed_channel = true;
        self.servers_closed(now);
        if let State::Draining { deadline, step: DrainStep::Disconnected } = self.state {
            self.state = State::Draining { deadline: deadline.min(now + END_GRACE), step: DrainStep::Disconnected };
        }
    }

    /// Its application has closed all its servers: it may be about to end, or to open them again.
    pub(in crate::supervisor) fn servers_closed(&mut self, now: Instant) {
        self.unreachable_deadline.get_or_insert(now + END_GRACE);
    }

    /// It says that it ends, and was not asked to: it has the time of a stop.
    pub(in crate::supervisor) fn says_stopping(&mut self, now: Instant) {
        if self.ready_for(now).is_some() {
            self.stopping_deadline.get_or_insert(now + self.config.kill_timeout);
        }
    }

    /// True if it said that it ends, and is there after its time.
    pub(in crate::supervisor) fn is_past_stopping_deadline(&self, now: Instant) -> bool {
        self.ready_for(now).is_some() && self.stopping_deadline.is_some_and(|at| at <= now)
    }

    /// Its application listens again.
    pub(in crate::supervisor) fn servers_opened(&mut self) {
        if !self.has_closed_channel {
            self.unreachable_deadline = None;
        }
    }

    /// Whether it serves no more, though it is not known to be dead.
    pub(in crate::supervisor) fn is_unreachable(&self, now: Instant) -> bool {
        self.ready_for(now).is_some() && self.unreachable_deadline.is_some_and(|at| at <= now)
    }

    /// It shall be gone, because of this fault.
    pub(in crate::supervisor) fn kill(&mut self, fault: Option<Cause>) -> Effect {
        self.fault = self.fault.or(fault);
        self.state = State::Stopping { kill_at: None };
        Effect::Kill(self.incarnation)
    }

    /// Its deadline has passed.
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
            // Its queue is not empty, and it takes nothing from it: killed, it leaves that to be given to others.
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

    /// It is of no use, and is told to end without a drain; nothing if it is on its way out.
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
