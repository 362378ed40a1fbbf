//! One place's life. Pure: events and the time come in, effects and the next deadline go out.
//!
//! ```text
//! stopped -> starting -> ready <-> busy, suspect -> draining -> stopping -> stopped
//!               ^  an unasked exit: backoff (or failed) -'
//! ```
//!
//! A place has one present process. While it is replaced there is an *heir* beside it, which takes its place only once it
//! is ready; if it never is, nothing has changed. The one whose place was taken is *parked* for `settle`: out of rotation,
//! told nothing, and put back if the new one ends, fails its checks or leaves a client
//! untaken meanwhile. Then it is *leaving*: it finishes
//! what it has.
//!
//! Every event carries the incarnation it is about; what is late, from a process that is no more, changes nothing.

mod ends;
mod event;
mod heir;
mod parked;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::{Backoff, Next};
use super::health::{Opinion, Sign};
use super::life::Life;
use crate::config;
use crate::pool::SlotState;
use crate::stats::Restart as Cause;

pub(super) use ends::KILLED;
pub(super) use event::{Effect, Event};
use parked::{ENDED, Parked};

/// What the slot is to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Run,
    Stopped,
    /// To run, once what is leaving has left.
    Again,
}

#[derive(Debug)]
struct Heir {
    life: Life,
    cause: Cause,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    until: Instant,
    is_failed: bool,
}

/// A slot's state machine.
#[derive(Debug)]
pub(super) struct Slot {
    /// What its next start is by.
    rules: Arc<config::Pool>,
    generation: u64,
    wish: Wish,
    current: Option<Life>,
    heir: Option<Heir>,
    parked: Option<Parked>,
    leaving: Vec<Life>,
    wait: Option<Wait>,
    last: u64,
    backoff: Backoff,
    /// When the next process that is too big may be replaced.
    too_big_until: Option<Instant>,
    exits: u64,
}

impl Slot {
    /// A stopped slot; `seed` makes its jitter.
    pub(super) fn new(rules: Arc<config::Pool>, generation: u64, seed: u64) -> Self {
        let backoff = Backoff::new(rules.restart.clone(), seed);
        Self {
            rules,
            generation,
            wish: Wish::Stopped,
            current: None,
            heir: None,
            parked: None,
            leaving: Vec::new(),
            wait: None,
            last: 0,
            backoff,
            too_big_until: None,
            exits: 0,
        }
    }

    /// The process that serves, or is to.
    pub(super) fn current(&self) -> Option<&Life> {
        self.current.as_ref()
    }

    /// The one that is to take its place.
    pub(super) fn heir(&self) -> Option<&Life> {
        self.heir.as_ref().map(|heir| &heir.life)
    }

    /// The one whose place was taken a moment ago, and which may be put back.
    pub(super) fn parked(&self) -> Option<&Life> {
        self.parked.as_ref().map(|parked| &parked.life)
    }

    /// Those whose place was taken, oldest first.
    pub(super) fn leaving(&self) -> &[Life] {
        &self.leaving
    }

    /// The incarnation that was started last, 0 before the first.
    pub(super) fn newest(&self) -> u64 {
        self.last
    }

    /// The life of that incarnation, while it has one.
    pub(super) fn life(&self, incarnation: u64) -> Option<&Life> {
        self.lives().find(|life| life.incarnation == incarnation)
    }

    fn lives(&self) -> impl Iterator<Item = &Life> {
        let parked = self.parked.iter().map(|parked| &parked.life);
        self.current.iter().chain(self.heir.iter().map(|heir| &heir.life)).chain(parked).chain(&self.leaving)
    }

    /// The generation that its process is of, or its next one will be.
    pub(super) fn generation(&self) -> u64 {
        self.current.as_ref().map_or(self.generation, |life| life.generation)
    }

    /// How many of its processes have ended by themselves, or failed to start.
    pub(super) fn exits(&self) -> u64 {
        self.exits
    }

    /// Whether it must be left as big as it is at `now`: what is too big again and again is replaced less and less often,
    /// as what exits again and again is started less and less often.
    pub(super) fn stays_big(&self, now: Instant) -> bool {
        self.too_big_until.is_some_and(|until| until > now)
    }

    /// Whether it is to have a process.
    pub(super) fn shall_run(&self) -> bool {
        self.wish != Wish::Stopped
    }

    /// Whether it will start once what is leaving has left.
    pub(super) fn will_start_again(&self) -> bool {
        self.wish == Wish::Again
    }

    /// Whether it has none and will not start one.
    pub(super) fn is_over(&self) -> bool {
        self.wish == Wish::Stopped && self.lives().next().is_none()
    }

    /// The state's public word: that of the present process, of the wait for it, or of what is leaving.
    pub(super) fn state(&self) -> SlotState {
        match (&self.current, self.wait, self.leaving.last()) {
            (Some(life), ..) => life.state(),
            (None, Some(Wait { is_failed: false, .. }), _) => SlotState::Backoff,
            (None, Some(Wait { is_failed: true, .. }), _) => SlotState::Failed,
            (None, None, Some(life)) => life.state(),
            (None, None, None) => SlotState::Stopped,
        }
    }

    /// When `Tick` is due next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let lives = self.lives().filter_map(Life::next_deadline).min();
        let settled = self.parked.as_ref().map(|parked| parked.until);
        [lives, self.next_start(), settled].into_iter().flatten().min()
    }

    /// When it will be tried again, while it waits for that.
    pub(super) fn next_start(&self) -> Option<Instant> {
        self.wait.map(|wait| wait.until)
    }

    /// What a start from now on is by.
    pub(super) fn set_rules(&mut self, rules: Arc<config::Pool>, generation: u64) {
        self.backoff.set_rules(rules.restart.clone());
        (self.rules, self.generation) = (rules, generation);
    }

    /// Takes an event at `now`; says what is to be done.
    pub(super) fn on(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        match event {
            Event::Start => self.on_start(now),
            Event::Stop => self.on_stop(Wish::Stopped, now),
            Event::Restart => {
                let mut effects = self.on_stop(Wish::Again, now);
                effects.extend(self.start_if_clear(now));
                effects
            }
            Event::Kill => self.on_kill(),
            Event::Replace { rules, generation, cause } => self.on_replace(rules, generation, cause, now),
            Event::Abandon => self.on_abandon(now),
            Event::Postponed(n, until) => {
                self.starting(n).into_iter().for_each(|life| life.postpone(until));
                Vec::new()
            }
            Event::Ready(n) => self.on_ready(n, now),
            Event::Waits(n) => self.on_waits(n, now),
            Event::Sign(n, sign) => self.on_sign(n, sign, now),
            Event::Hung(n) => self.on_hung(n),
            Event::PortTaken(n) => self.on_port_taken(n, now),
            Event::LeaderEnded(n) => {
                self.leaver(n).into_iter().for_each(|life| life.leader_ended(now));
                Vec::new()
            }
            Event::Exited(n) => self.on_exited(n, now),
            Event::GateOpened(n, way) => {
                self.leaver(n).and_then(|life| life.gate_opened(way, now)).into_iter().collect()
            }
            Event::Drained(n) => self.leaver(n).and_then(|life| life.drained(now)).into_iter().collect(),
            Event::Parted(n) => {
                let present = self.current.as_mut().into_iter().chain(&mut self.leaving);
                present.filter(|life| life.incarnation == n).for_each(|life| life.parted(now));
                self.on_sign(n, Sign::Leaving(true), now)
            }
            Event::Closed(n, is_closed) => self.on_closed(n, is_closed, now),
            Event::Leaves(n) => self.on_leaves(n, now),
            Event::Stopping(n) => {
                self.present(n).into_iter().for_each(|life| life.says_stopping(now));
                self.on_sign(n, Sign::Leaving(true), now)
            }
            Event::Tick => self.on_tick(now),
        }
    }

    fn present(&mut self, incarnation: u64) -> Option<&mut Life> {
        self.current.as_mut().filter(|life| life.incarnation == incarnation)
    }

    fn leaver(&mut self, incarnation: u64) -> Option<&mut Life> {
        self.leaving.iter_mut().find(|life| life.incarnation == incarnation)
    }

    fn starting(&mut self, incarnation: u64) -> Option<&mut Life> {
        let heir = self.heir.as_mut().map(|heir| &mut heir.life);
        let found = self.current.as_mut().into_iter().chain(heir).find(|life| life.incarnation == incarnation)?;
        (found.is_starting() && !found.has_parted()).then_some(found)
    }

    fn born(&mut self, rules: Arc<config::Pool>, generation: u64, now: Instant) -> Life {
        self.last += 1;
        Life::start(self.last, generation, rules, now)
    }

    fn launch(&mut self, now: Instant) -> Effect {
        self.wait = None;
        let life = self.born(Arc::clone(&self.rules), self.generation, now);
        self.current = Some(life);
        Effect::Launch(self.last)
    }

    fn on_start(&mut self, now: Instant) -> Vec<Effect> {
        if self.wish != Wish::Stopped {
            return Vec::new();
        }
        self.wish = Wish::Again;
        self.start_if_clear(now).into_iter().collect()
    }

    /// Two processes of one slot beside each other are a replacement, and a start is none.
    fn start_if_clear(&mut self, now: Instant) -> Option<Effect> {
        if self.wish == Wish::Again && self.lives().next().is_none() {
            self.wish = Wish::Run;
            return Some(self.launch(now));
        }
        None
    }

    fn on_ready(&mut self, incarnation: u64, now: Instant) -> Vec<Effect> {
        if self.starting(incarnation).is_none() {
            return Vec::new();
        }
        let is_present = self.present(incarnation).map(|life| life.admit(now)).is_some();
        if is_present {
            return vec![Effect::Admit(incarnation), Effect::Switched { from: None, to: incarnation }];
        }
        self.switch(now)
    }

    fn on_sign(&mut self, incarnation: u64, sign: Sign, now: Instant) -> Vec<Effect> {
        match self.present(incarnation).and_then(|life| life.sign(sign, now)) {
            None => Vec::new(),
            Some(Opinion::Unhealthy | Opinion::Busy) if self.parked.is_some() => self.put_back(parked::why(sign), now),
            Some(Opinion::Unhealthy) => vec![Effect::Suspect(incarnation)],
            Some(Opinion::Busy) => vec![Effect::Busy(incarnation)],
            Some(Opinion::Healthy) => vec![Effect::Admit(incarnation)],
        }
    }

    fn on_hung(&mut self, incarnation: u64) -> Vec<Effect> {
        match self.present(incarnation) {
            Some(life) if life.seems_hung() => vec![life.kill(Some(Cause::Hung))],
            _ => Vec::new(),
        }
    }

    fn on_exited(&mut self, incarnation: u64, now: Instant) -> Vec<Effect> {
        if self.parked.is_some() && self.present(incarnation).is_some() {
            self.exits += 1;
            self.current = None;
            return self.put_back(ENDED, now);
        }
        if let Some(parked) = self.parked.take_if(|parked| parked.life.incarnation == incarnation) {
            return self.settle_without(parked.cause, now);
        }
        if let Some(life) = self.current.take_if(|life| life.incarnation == incarnation) {
            self.exits += 1;
            return self.again(life.fault.unwrap_or(Cause::Crash), life.ready_for(now), now);
        }
        if self.heir.take_if(|heir| heir.life.incarnation == incarnation).is_some() {
            return vec![Effect::HeirFailed(incarnation)];
        }
        self.leaving.retain(|life| life.incarnation != incarnation);
        self.start_if_clear(now).into_iter().collect()
    }

    /// Of the present process.
    fn on_closed(&mut self, incarnation: u64, is_closed: bool, now: Instant) -> Vec<Effect> {
        let Some(life) = self.present(incarnation) else { return Vec::new() };
        if is_closed {
            life.closed(now)
        } else {
            life.opened()
        }
        self.on_sign(incarnation, Sign::Leaving(is_closed), now)
    }

    /// After an unasked end: at once, or after a wait.
    fn again(&mut self, cause: Cause, ready_for: Option<Duration>, now: Instant) -> Vec<Effect> {
        let mut effects = vec![Effect::Restarted(cause)];
        match self.backoff.exited(ready_for, now) {
            Next::After(Duration::ZERO) => effects.push(self.launch(now)),
            Next::After(wait) => self.wait = Some(Wait { until: now + wait, is_failed: false }),
            Next::Exhausted(wait) => self.wait = Some(Wait { until: now + wait, is_failed: true }),
        }
        effects
    }

    fn on_tick(&mut self, now: Instant) -> Vec<Effect> {
        let is_due = |life: &Life| life.next_deadline().is_some_and(|deadline| deadline <= now);
        let given_up = self.current.as_ref().filter(|life| life.is_given_up(now)).map(|life| life.incarnation);
        let mut effects = given_up.map(|n| self.on_leaves(n, now)).unwrap_or_default();
        if self.parked.as_ref().is_some_and(|parked| parked.until <= now) {
            effects.extend(self.settle(now));
        }
        effects.extend(self.on_overstays(now));
        if let Some(life) = self.current.as_mut().filter(|life| is_due(life)) {
            effects.extend(life.overdue(now));
        }
        if self.heir.as_ref().is_some_and(|heir| is_due(&heir.life)) {
            effects.extend(self.heir_overdue(now));
        }
        for life in self.leaving.iter_mut().filter(|life| is_due(life)) {
            effects.extend(life.overdue(now));
        }
        if self.wait.is_some_and(|wait| wait.until <= now) {
            effects.push(self.launch(now));
        }
        effects
    }
}

#[cfg(test)]
mod tests;
