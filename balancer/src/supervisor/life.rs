//! One process's life, from its start to its end. Pure: events and the time come in, effects and a deadline go out.
//!
//! ```text
//! starting -> ready <-> busy, suspect -> draining -> stopping
//! ```
//!
//! A drain has one order, and each of its guards has a reason:
//!
//! 1. *Leave the rotation*: nobody picks it any more.
//! 2. *The gate*: no connect to it is under way and its accept queue is empty. Whatever it is told before that, it may
//!    close its listener over clients that wait in it.
//! 3. *The drain signal*, where it is known to finish what it has after it: only that makes a server say
//!    `Connection: close`. Elsewhere the signal would cut, so it comes last: what is owed nothing is closed after a second
//!    of silence (`quiet`), or nothing is (`closed`). A Node worker is *disconnected* instead, which is the drain signal of
//!    its cluster; the stop signal comes only if it has not ended by the deadline.
//! 4. *The end* when nothing is left on it, or at the drain deadline, at which the rest is cut; then SIGKILL after
//!    `kill-timeout`.

mod drain;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::health::{Health, Opinion, Sign};
use super::slot::Effect;
use crate::config;
use crate::pool::SlotState;
use crate::stats::Restart as Cause;

/// How long the gate of a worker that seems hung is waited for.
const HUNG_GATE: Duration = Duration::from_secs(3);

/// How long a worker that has closed its channel, as it does when its connections have ended, may take to end by itself.
const PARTING: Duration = Duration::from_secs(1);

/// How a worker is brought to its end once no new connection can reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It is told, and finishes by itself.
    Signal,
    /// What is owed nothing is closed; it is told when nothing is left.
    Quiet,
    /// It is told when everything has ended by itself.
    Closed,
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
        doubted: Instant,
    },
    Draining {
        deadline: Instant,
        step: Step,
    },
    Stopping {
        kill_at: Option<Instant>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Connections may still reach it. It may have none even so.
    Gate {
        is_idle: bool,
        /// The drain deadline, where that of the gate is sooner.
        full: Instant,
    },
    /// It was told and finishes by itself.
    Told,
    /// It was disconnected and finishes by itself; what it still has is not seen from here.
    Disconnected,
    /// It will be told when nothing is left on it.
    Waiting,
}

/// The life of one incarnation.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) incarnation: u64,
    pub(super) generation: u64,
    /// What it was started by.
    pub(super) rules: Arc<config::Pool>,
    /// Why it is being ended, where that is its own fault.
    pub(super) fault: Option<Cause>,
    /// Why it is being ended, where it was told to end.
    pub(super) told_to_end: Option<&'static str>,
    /// It was killed because it took nothing from its queue while it was to drain.
    pub(super) kept_its_queue: bool,
    /// It can be handed nothing: when it is given up, unless it has come back or ended by then.
    given_up: Option<Instant>,
    /// It said by itself that it ends: when it is replaced, if it is still there.
    stays_until: Option<Instant>,
    /// It has closed its channel.
    has_parted: bool,
    /// It was busy when its drain began: clients wait in its queue, and it will not get to them soon.
    pub(super) was_busy: bool,
    /// It is replaced on a suspicion only: its drain may last as long as `idle-timeout`.
    is_spared: bool,
    state: State,
    health: Health,
}

impl Life {
    /// One that is being started at `now`.
    pub(super) fn start(incarnation: u64, generation: u64, rules: Arc<config::Pool>, now: Instant) -> Self {
        let state = State::Starting { deadline: now + rules.ready_timeout };
        let health = Health::default();
        Self {
            incarnation,
            generation,
            rules,
            fault: None,
            told_to_end: None,
            kept_its_queue: false,
            given_up: None,
            stays_until: None,
            has_parted: false,
            was_busy: false,
            is_spared: false,
            state,
            health,
        }
    }

    /// The state's public word.
    pub(super) fn state(&self) -> SlotState {
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
    pub(super) fn ready_for(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Ready { since } | State::Busy { since } | State::Suspect { since, .. } => {
                Some(now.saturating_duration_since(since))
            }
            _ => None,
        }
    }

    /// Since when it is suspect, if it is and may be spared: one that can be handed nothing is no use to anybody.
    pub(super) fn doubted_since(&self) -> Option<Instant> {
        match self.state {
            State::Suspect { doubted, .. } if self.given_up.is_none() => Some(doubted),
            _ => None,
        }
    }

    /// Whether it has closed its channel.
    pub(super) fn has_parted(&self) -> bool {
        self.has_parted
    }

    pub(super) fn is_starting(&self) -> bool {
        matches!(self.state, State::Starting { .. })
    }

    /// True if nothing has told it to end: a server that it closes is closed because its application wants that.
    pub(super) fn may_close(&self) -> bool {
        self.is_starting() || self.state().is_up()
    }

    /// Returns true if its checks speak against it, or the last one did.
    pub(super) fn is_failing_checks(&self) -> bool {
        self.health.is_failing_checks()
    }

    /// Whether probes should come fast.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.health.is_in_doubt()
    }

    /// Whether it is suspect of doing nothing at all, which is worse than answering badly.
    pub(super) fn seems_hung(&self) -> bool {
        matches!(self.state, State::Suspect { .. }) && self.health.seems_hung()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Postponed { until } => Some(until),
            State::Starting { deadline } | State::Draining { deadline, .. } => Some(deadline),
            State::Stopping { kill_at } => kill_at,
            State::Ready { .. } | State::Busy { .. } | State::Suspect { .. } => {
                self.given_up.into_iter().chain(self.stays_until).min()
            }
        }
    }

    /// It could not be started yet.
    pub(super) fn postpone(&mut self, until: Instant) {
        if self.is_starting() {
            self.state = State::Postponed { until };
        }
    }

    /// It is in rotation from now on.
    pub(super) fn admit(&mut self, now: Instant) {
        self.state = State::Ready { since: now };
    }

    /// A sign of its health, if it is ready; returns the opinion if that changed it.
    pub(super) fn sign(&mut self, sign: Sign, now: Instant) -> Option<Opinion> {
        let (State::Ready { since } | State::Busy { since } | State::Suspect { since, .. }) = self.state else {
            return None;
        };
        let opinion = self.health.on_sign(sign, &self.rules.health)?;
        self.state = match (opinion, self.state) {
            (Opinion::Unhealthy, _) => State::Suspect { since, doubted: now },
            (Opinion::Busy, _) => State::Busy { since },
            (Opinion::Healthy, State::Busy { .. }) => State::Ready { since },
            (Opinion::Healthy, _) => State::Ready { since: now },
        };
        Some(opinion)
    }

    /// Whether there was no process yet, and so none will exit.
    pub(super) fn is_unborn(&self) -> bool {
        matches!(self.state, State::Postponed { .. })
    }

    /// It has closed its channel. After a disconnect that means that all its connections have ended; without one it is of no
    /// more use, and most often about to be heard of as dead.
    pub(super) fn parted(&mut self, now: Instant) {
        self.has_parted = true;
        self.closed(now);
        if let State::Draining { deadline, step: Step::Disconnected } = self.state {
            self.state = State::Draining { deadline: deadline.min(now + PARTING), step: Step::Disconnected };
        }
    }

    /// Its application has closed all its servers: it may be about to end, or to open them again.
    pub(super) fn closed(&mut self, now: Instant) {
        self.given_up.get_or_insert(now + PARTING);
    }

    /// It says that it ends, and was not asked to: it has the time of a stop.
    pub(super) fn says_stopping(&mut self, now: Instant) {
        if self.ready_for(now).is_some() {
            self.stays_until.get_or_insert(now + self.rules.kill_timeout);
        }
    }

    /// True if it said that it ends, and is there after its time.
    pub(super) fn has_overstayed(&self, now: Instant) -> bool {
        self.ready_for(now).is_some() && self.stays_until.is_some_and(|at| at <= now)
    }

    /// Its application listens again.
    pub(super) fn opened(&mut self) {
        if !self.has_parted {
            self.given_up = None;
        }
    }

    /// Whether it serves no more, though it is not known to be dead.
    pub(super) fn is_given_up(&self, now: Instant) -> bool {
        self.ready_for(now).is_some() && self.given_up.is_some_and(|at| at <= now)
    }

    /// It shall be gone, because of this fault.
    pub(super) fn kill(&mut self, fault: Option<Cause>) -> Effect {
        self.fault = self.fault.or(fault);
        self.state = State::Stopping { kill_at: None };
        Effect::Kill(self.incarnation)
    }

    /// Its deadline has passed.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Effect> {
        let n = self.incarnation;
        match self.state {
            State::Postponed { .. } => {
                self.state = State::Starting { deadline: now + self.rules.ready_timeout };
                vec![Effect::Launch(n)]
            }
            State::Starting { .. } => {
                self.fault = Some(Cause::NeverReady);
                vec![Effect::Late(n), self.terminate(self.rules.kill_timeout, now)]
            }
            // Its queue is not empty, and it takes nothing from it: killed, it leaves that to be given to others.
            State::Draining { step: Step::Gate { .. }, .. } => {
                self.kept_its_queue = true;
                vec![self.kill(None)]
            }
            State::Draining { step: Step::Disconnected, .. } => vec![self.terminate(self.rules.kill_timeout, now)],
            State::Draining { step, .. } => {
                let told = Effect::Terminate(n);
                self.state = State::Stopping { kill_at: Some(now + self.rules.kill_timeout) };
                if step == Step::Told { vec![Effect::Cut(n)] } else { vec![Effect::Cut(n), told] }
            }
            State::Stopping { .. } => {
                self.state = State::Stopping { kill_at: None };
                vec![Effect::Kill(n)]
            }
            State::Ready { .. } | State::Busy { .. } | State::Suspect { .. } => Vec::new(),
        }
    }

    /// It is of no use, and is told to end without a drain; nothing if it is on its way out.
    pub(super) fn end_at_once(&mut self, now: Instant) -> Option<Effect> {
        match self.state {
            State::Starting { .. } | State::Ready { .. } | State::Busy { .. } | State::Suspect { .. } => {
                Some(self.terminate(self.rules.kill_timeout, now))
            }
            State::Postponed { .. } | State::Draining { .. } | State::Stopping { .. } => None,
        }
    }

    fn terminate(&mut self, grace: Duration, now: Instant) -> Effect {
        self.state = State::Stopping { kill_at: Some(now + grace) };
        Effect::Terminate(self.incarnation)
    }
}
