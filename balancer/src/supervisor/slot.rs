//! One place's life. Pure: events and the time come in, effects and the next deadline go out.
//!
//! ```text
//! stopped -> starting -> ready <-> suspect -> draining -> stopping -> stopped
//!               ^  an unasked exit: backoff (or failed) -'
//! ```
//!
//! Every event carries the incarnation it is about; what is late, from a process that is no more, changes nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::{Backoff, Next};
use super::health::{Health, Turn};
use crate::config;
use crate::mode::Acceptor;
use crate::pool::SlotState;
use crate::stats::Restart as Cause;

/// What happens to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It shall run.
    Start,
    /// The spawn budget was empty: it may start at that time.
    Postponed(Instant),
    /// Its process said ready, or its endpoint answered.
    Ready(u64),
    /// A probe of a worker that has been ready.
    Probed(u64, bool),
    /// Its process is gone, or never came to be.
    Exited(u64),
    /// Nothing is left on it: it may be told to end.
    Drained(u64),
    /// It shall drain and end.
    Stop,
    /// It shall end now.
    Kill,
    /// Time has passed.
    Tick,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Start incarnation n.
    Launch(u64),
    /// Put it into rotation.
    Admit,
    /// Take it out of rotation.
    Withdraw,
    /// Cut what its drain left open.
    Cut,
    /// It was not ready in time.
    Late,
    /// SIGTERM to its group.
    Terminate,
    /// SIGKILL to its group.
    Kill,
    /// Count a replacement.
    Restarted(Cause),
}

#[derive(Clone, Copy, Debug)]
enum State {
    Stopped,
    Starting { deadline: Instant },
    Ready { since: Instant },
    Suspect { since: Instant },
    Draining { deadline: Instant },
    Stopping { kill_at: Option<Instant>, then: After },
    Backoff { until: Instant, is_failed: bool },
}

/// What follows the end of a process that was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Stopped,
    Again,
}

/// A slot's state machine.
#[derive(Debug)]
pub(super) struct Slot {
    rules: config::Pool,
    state: State,
    incarnation: u64,
    health: Health,
    backoff: Backoff,
    exits: u64,
}

impl Slot {
    /// A stopped slot; `seed` makes its jitter.
    pub(super) fn new(rules: config::Pool, seed: u64) -> Self {
        let backoff = Backoff::new(rules.restart.clone(), seed);
        Self { rules, state: State::Stopped, incarnation: 0, health: Health::default(), backoff, exits: 0 }
    }

    /// The present incarnation, 0 before the first.
    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// How many of its processes have ended, or failed to start.
    pub(super) fn exits(&self) -> u64 {
        self.exits
    }

    /// The state's public word.
    pub(super) fn state(&self) -> SlotState {
        match self.state {
            State::Stopped => SlotState::Stopped,
            State::Starting { .. } => SlotState::Starting,
            State::Ready { .. } => SlotState::Ready,
            State::Suspect { .. } => SlotState::Suspect,
            State::Draining { .. } => SlotState::Draining,
            State::Stopping { .. } => SlotState::Stopping,
            State::Backoff { is_failed: false, .. } => SlotState::Backoff,
            State::Backoff { is_failed: true, .. } => SlotState::Failed,
        }
    }

    /// Whether probes should come fast.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.health.is_in_doubt()
    }

    /// When `Tick` is due next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Starting { deadline } | State::Draining { deadline } => Some(deadline),
            State::Stopping { kill_at, .. } => kill_at,
            State::Backoff { until, .. } => Some(until),
            State::Stopped | State::Ready { .. } | State::Suspect { .. } => None,
        }
    }

    /// Takes an event at `now`; says what is to be done.
    pub(super) fn on(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        match event {
            Event::Start => self.on_start(now),
            Event::Postponed(until) => self.on_postponed(until),
            Event::Ready(n) if n == self.incarnation => self.on_ready(now),
            Event::Probed(n, is_ok) if n == self.incarnation => self.on_probed(is_ok, now),
            Event::Exited(n) if n == self.incarnation => self.on_exited(now),
            Event::Drained(n) if n == self.incarnation => self.on_drained(now),
            Event::Stop => self.on_stop(now),
            Event::Kill => self.on_kill(),
            Event::Tick => self.on_tick(now),
            Event::Ready(_) | Event::Probed(..) | Event::Exited(_) | Event::Drained(_) => Vec::new(),
        }
    }

    fn launch(&mut self, now: Instant) -> Vec<Effect> {
        self.incarnation += 1;
        self.health = Health::default();
        self.state = State::Starting { deadline: now + self.rules.ready_timeout };
        vec![Effect::Launch(self.incarnation)]
    }

    fn on_start(&mut self, now: Instant) -> Vec<Effect> {
        if matches!(self.state, State::Stopped) { self.launch(now) } else { Vec::new() }
    }

    fn on_postponed(&mut self, until: Instant) -> Vec<Effect> {
        if let State::Starting { .. } = self.state {
            // Incarnation numbers may have gaps, never repeats.
            self.state = State::Backoff { until, is_failed: false };
        }
        Vec::new()
    }

    fn on_ready(&mut self, now: Instant) -> Vec<Effect> {
        let State::Starting { .. } = self.state else { return Vec::new() };
        self.state = State::Ready { since: now };
        vec![Effect::Admit]
    }

    fn on_probed(&mut self, is_ok: bool, now: Instant) -> Vec<Effect> {
        let (State::Ready { since } | State::Suspect { since }) = self.state else { return Vec::new() };
        match self.health.on_probe(is_ok, &self.rules.health) {
            None => Vec::new(),
            Some(Turn::Down) => {
                self.state = State::Suspect { since };
                vec![Effect::Withdraw]
            }
            Some(Turn::Up) => {
                self.state = State::Ready { since: now };
                vec![Effect::Admit]
            }
        }
    }

    fn on_exited(&mut self, now: Instant) -> Vec<Effect> {
        self.exits += 1;
        match self.state {
            State::Stopped | State::Backoff { .. } => Vec::new(),
            State::Draining { .. } | State::Stopping { then: After::Stopped, .. } => {
                self.state = State::Stopped;
                vec![Effect::Withdraw]
            }
            State::Stopping { then: After::Again, .. } => self.again(Cause::NeverReady, None, now),
            State::Starting { .. } => self.again(Cause::Crash, None, now),
            State::Ready { since } | State::Suspect { since } => self.again(Cause::Crash, Some(now - since), now),
        }
    }

    /// After an unasked end: at once, or after a wait.
    fn again(&mut self, cause: Cause, ready_for: Option<Duration>, now: Instant) -> Vec<Effect> {
        let mut effects = vec![Effect::Withdraw, Effect::Restarted(cause)];
        match self.backoff.exited(ready_for, now) {
            Next::After(Duration::ZERO) => effects.extend(self.launch(now)),
            Next::After(wait) => self.state = State::Backoff { until: now + wait, is_failed: false },
            Next::Exhausted(wait) => self.state = State::Backoff { until: now + wait, is_failed: true },
        }
        effects
    }

    fn on_stop(&mut self, now: Instant) -> Vec<Effect> {
        match self.state {
            State::Ready { .. } | State::Suspect { .. } => {
                self.state = State::Draining { deadline: now + self.rules.drain_timeout };
                vec![Effect::Withdraw]
            }
            State::Starting { .. } => self.terminate(After::Stopped, now),
            State::Stopping { kill_at, .. } => {
                self.state = State::Stopping { kill_at, then: After::Stopped };
                Vec::new()
            }
            State::Backoff { .. } => {
                self.state = State::Stopped;
                Vec::new()
            }
            State::Stopped | State::Draining { .. } => Vec::new(),
        }
    }

    fn on_drained(&mut self, now: Instant) -> Vec<Effect> {
        if let State::Draining { .. } = self.state { self.terminate(After::Stopped, now) } else { Vec::new() }
    }

    fn terminate(&mut self, then: After, now: Instant) -> Vec<Effect> {
        // Where workers accept by themselves only they know what they still have: the signal is what starts their drain.
        let grace = match self.rules.mode.acceptor() {
            Acceptor::Master => self.rules.kill_timeout,
            Acceptor::Workers => self.rules.drain_timeout + self.rules.kill_timeout,
        };
        self.state = State::Stopping { kill_at: Some(now + grace), then };
        vec![Effect::Terminate]
    }

    fn on_kill(&mut self) -> Vec<Effect> {
        match self.state {
            State::Stopped => Vec::new(),
            State::Backoff { .. } => {
                self.state = State::Stopped;
                Vec::new()
            }
            State::Starting { .. }
            | State::Ready { .. }
            | State::Suspect { .. }
            | State::Draining { .. }
            | State::Stopping { .. } => {
                self.state = State::Stopping { kill_at: None, then: After::Stopped };
                vec![Effect::Withdraw, Effect::Kill]
            }
        }
    }

    fn on_tick(&mut self, now: Instant) -> Vec<Effect> {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        match self.state {
            State::Starting { .. } => {
                let mut effects = vec![Effect::Late];
                effects.extend(self.terminate(After::Again, now));
                effects
            }
            State::Draining { .. } => {
                let mut effects = vec![Effect::Cut];
                effects.extend(self.terminate(After::Stopped, now));
                effects
            }
            State::Stopping { then, .. } => {
                self.state = State::Stopping { kill_at: None, then };
                vec![Effect::Kill]
            }
            State::Backoff { .. } => self.launch(now),
            State::Stopped | State::Ready { .. } | State::Suspect { .. } => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
