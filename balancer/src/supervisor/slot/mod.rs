//! The state machine of one slot. Pure: events and the time come in, effects and the next deadline go out.
//!
//! ```text
//! stopped -> starting -> ready <-> busy, suspect -> draining -> stopping -> stopped
//!               ^  an unasked exit: backoff (or failed) -'
//! ```
//!
//! A slot has one *present* process. During a replacement a second process, the *replacement*, starts beside it and
//! takes over only once it is ready; if it never is, nothing has changed. The old process is then *parked* for
//! `settle`: it is out of rotation, gets no signal, and is put back if the new process exits, fails its checks or
//! leaves a client untaken in that time. After that it is *retiring*: it finishes its connections.
//!
//! Every event carries the incarnation that it is about; events of a dead process change nothing.

pub(super) mod backoff;
mod event;
pub(super) mod hang;
pub(super) mod health;
mod parked;
pub(super) mod process;
mod processes;
mod replacement;
mod restarts;
mod stop;
pub(super) mod weights;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config;
use crate::pool::SlotState;
use crate::stats::Restart as Cause;
use health::{Opinion, Sign};
use parked::ENDED;
use process::ProcessState;
use processes::Processes;
use restarts::Restarts;

pub(super) use event::{Effect, Event};
pub(super) use stop::KILLED;

/// The state that a slot shall reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DesiredState {
    Running,
    Stopped,
    /// Running, once the retiring processes have exited.
    Restarting,
}

/// A slot's state machine.
#[derive(Debug)]
pub(super) struct Slot {
    /// The configuration of the next start.
    config: Arc<config::PoolConfig>,
    generation: u64,
    desired: DesiredState,
    processes: Processes,
    /// The incarnation that was started last, 0 before the first.
    last: u64,
    restarts: Restarts,
}

impl Slot {
    /// Creates a stopped slot; `seed` is the seed of the backoff's jitter.
    pub(super) fn new(config: Arc<config::PoolConfig>, generation: u64, seed: u64) -> Self {
        let restarts = Restarts::new(config.restart.clone(), seed);
        Self { config, generation, desired: DesiredState::Stopped, processes: Processes::default(), last: 0, restarts }
    }

    /// The process that serves, or is starting to.
    pub(super) fn current(&self) -> Option<&ProcessState> {
        self.processes.current.as_ref()
    }

    /// The process that shall replace the present one.
    pub(super) fn replacement(&self) -> Option<&ProcessState> {
        self.processes.replacement.as_ref().map(|replacement| &replacement.process)
    }

    /// The process that was replaced a moment ago and may be put back.
    pub(super) fn parked(&self) -> Option<&ProcessState> {
        self.processes.parked.as_ref().map(|parked| &parked.process)
    }

    /// The time at which the parked process leaves for good, if there is one.
    pub(super) fn settles_at(&self) -> Option<Instant> {
        self.processes.parked.as_ref().map(|parked| parked.until)
    }

    /// The replaced processes, oldest first.
    pub(super) fn retiring(&self) -> &[ProcessState] {
        &self.processes.retiring
    }

    /// The incarnation that was started last, 0 before the first.
    pub(super) fn newest(&self) -> u64 {
        self.last
    }

    /// The process of that incarnation, while the slot has one.
    pub(super) fn process(&self, incarnation: u64) -> Option<&ProcessState> {
        self.processes.of(incarnation)
    }

    /// The generation of the present process, or of the next one.
    pub(super) fn generation(&self) -> u64 {
        self.processes.current.as_ref().map_or(self.generation, |process| process.generation)
    }

    /// The number of processes of the slot that have ended by themselves or failed to start.
    pub(super) fn exits(&self) -> u64 {
        self.restarts.exits()
    }

    /// Returns true if a process that is too big must not be replaced at `now`: replacing for memory backs off, as
    /// starting after exits does.
    pub(super) fn stays_big(&self, now: Instant) -> bool {
        self.restarts.stays_big(now)
    }

    /// Returns true if the slot shall have a process.
    pub(super) fn shall_run(&self) -> bool {
        self.desired != DesiredState::Stopped
    }

    /// Returns true if the slot will start a process once the retiring ones have exited.
    pub(super) fn will_start_again(&self) -> bool {
        self.desired == DesiredState::Restarting
    }

    /// Returns true if the slot has no process and will not start one.
    pub(super) fn is_over(&self) -> bool {
        self.desired == DesiredState::Stopped && self.processes.is_empty()
    }

    /// The public name of the slot's state: that of the present process, of the wait for its start, or of a retiring
    /// process.
    pub(super) fn state(&self) -> SlotState {
        match (&self.processes.current, self.restarts.waiting_state(), self.processes.retiring.last()) {
            (Some(process), ..) => process.state(),
            (None, Some(waiting), _) => waiting,
            (None, None, Some(process)) => process.state(),
            (None, None, None) => SlotState::Stopped,
        }
    }

    /// The time at which the next `Tick` is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let processes = self.processes.iter().filter_map(ProcessState::next_deadline).min();
        [processes, self.next_start(), self.settles_at()].into_iter().flatten().min()
    }

    /// The time of the next start, while the slot waits for it.
    pub(super) fn next_start(&self) -> Option<Instant> {
        self.restarts.next_start()
    }

    /// Sets the configuration and generation of later starts.
    pub(super) fn set_config(&mut self, config: Arc<config::PoolConfig>, generation: u64) {
        self.restarts.set_config(config.restart.clone());
        (self.config, self.generation) = (config, generation);
    }

    /// Handles an event at `now`. Returns the effects to apply.
    pub(super) fn on(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        match event {
            Event::Start => self.on_start(now),
            Event::Stop => self.on_stop(DesiredState::Stopped, now),
            Event::Restart => {
                let mut effects = self.on_stop(DesiredState::Restarting, now);
                effects.extend(self.start_if_clear(now));
                effects
            }
            Event::Kill => self.on_kill(),
            Event::Replace { config, generation, cause } => self.on_replace(config, generation, cause, now),
            Event::Abandon => self.on_abandon(now),
            Event::Postponed(n, until) => {
                self.processes.starting(n).into_iter().for_each(|process| process.postpone(until));
                Vec::new()
            }
            Event::Ready(n) => self.on_ready(n, now),
            Event::Waits(n) => self.on_waits(n, now),
            Event::Sign(n, sign) => self.on_sign(n, sign, now),
            Event::Hung(n) => self.on_hung(n),
            Event::PortTaken(n) => self.on_port_taken(n, now),
            Event::LeaderEnded(n) => {
                self.processes.retiring(n).into_iter().for_each(|process| process.leader_ended(now));
                Vec::new()
            }
            Event::Exited(n) => self.on_exited(n, now),
            Event::Quiesced(n, method) => {
                self.processes.retiring(n).and_then(|process| process.quiesced(method, now)).into_iter().collect()
            }
            Event::Drained(n) => {
                self.processes.retiring(n).and_then(|process| process.drained(now)).into_iter().collect()
            }
            Event::ChannelClosed(n) => {
                let present = self.processes.current.as_mut().into_iter().chain(&mut self.processes.retiring);
                present.filter(|process| process.incarnation == n).for_each(|process| process.channel_closed(now));
                self.on_sign(n, Sign::Ending(true), now)
            }
            Event::ServersClosed(n, is_closed) => self.on_servers_closed(n, is_closed, now),
            Event::Leaves(n) => self.on_leaves(n, now),
            Event::Stopping(n) => {
                self.processes.present(n).into_iter().for_each(|process| process.says_stopping(now));
                self.on_sign(n, Sign::Ending(true), now)
            }
            Event::Tick => self.on_tick(now),
        }
    }

    fn new_process(&mut self, config: Arc<config::PoolConfig>, generation: u64, now: Instant) -> ProcessState {
        self.last += 1;
        ProcessState::start(self.last, generation, config, now)
    }

    fn launch(&mut self, now: Instant) -> Effect {
        self.restarts.end_wait();
        let process = self.new_process(Arc::clone(&self.config), self.generation, now);
        self.processes.current = Some(process);
        Effect::Launch(self.last)
    }

    fn on_start(&mut self, now: Instant) -> Vec<Effect> {
        if self.desired != DesiredState::Stopped {
            return Vec::new();
        }
        self.desired = DesiredState::Restarting;
        self.start_if_clear(now).into_iter().collect()
    }

    /// Starts a process only if there is none: two processes of a slot at once are a replacement, and a start is no
    /// replacement.
    fn start_if_clear(&mut self, now: Instant) -> Option<Effect> {
        if self.desired == DesiredState::Restarting && self.processes.is_empty() {
            self.desired = DesiredState::Running;
            return Some(self.launch(now));
        }
        None
    }

    fn on_ready(&mut self, incarnation: u64, now: Instant) -> Vec<Effect> {
        if self.processes.starting(incarnation).is_none() {
            return Vec::new();
        }
        let is_present = self.processes.present(incarnation).map(|process| process.admit(now)).is_some();
        if is_present {
            return vec![Effect::Admit(incarnation), Effect::Switched { from: None, to: incarnation }];
        }
        self.switch(now)
    }

    fn on_sign(&mut self, incarnation: u64, sign: Sign, now: Instant) -> Vec<Effect> {
        match self.processes.present(incarnation).and_then(|process| process.sign(sign, now)) {
            None => Vec::new(),
            Some(Opinion::Unhealthy | Opinion::Busy) if self.processes.parked.is_some() => {
                self.put_back(parked::why(sign), now)
            }
            Some(Opinion::Unhealthy) => vec![Effect::Suspect(incarnation)],
            Some(Opinion::Busy) => vec![Effect::Busy(incarnation)],
            Some(Opinion::Healthy) => vec![Effect::Admit(incarnation)],
        }
    }

    fn on_hung(&mut self, incarnation: u64) -> Vec<Effect> {
        match self.processes.present(incarnation) {
            Some(process) if process.seems_hung() => vec![process.kill(Some(Cause::Hung))],
            _ => Vec::new(),
        }
    }

    fn on_exited(&mut self, incarnation: u64, now: Instant) -> Vec<Effect> {
        if self.processes.parked.is_some() && self.processes.present(incarnation).is_some() {
            self.restarts.count_exit();
            self.processes.current = None;
            return self.put_back(ENDED, now);
        }
        if let Some(parked) = self.processes.parked.take_if(|parked| parked.process.incarnation == incarnation) {
            return self.settle_without(parked.cause, now);
        }
        if let Some(process) = self.processes.current.take_if(|process| process.incarnation == incarnation) {
            self.restarts.count_exit();
            return self.again(process.fault.unwrap_or(Cause::Crash), process.ready_for(now), now);
        }
        if self.processes.replacement.take_if(|replacement| replacement.process.incarnation == incarnation).is_some() {
            return vec![Effect::ReplacementFailed(incarnation)];
        }
        self.processes.retiring.retain(|process| process.incarnation != incarnation);
        self.start_if_clear(now).into_iter().collect()
    }

    /// Records that the application of the present process closed its servers, or opened them again.
    fn on_servers_closed(&mut self, incarnation: u64, is_closed: bool, now: Instant) -> Vec<Effect> {
        let Some(process) = self.processes.present(incarnation) else { return Vec::new() };
        if is_closed {
            process.servers_closed(now)
        } else {
            process.servers_opened()
        }
        self.on_sign(incarnation, Sign::Ending(is_closed), now)
    }

    /// Starts again after an exit that no command asked for: at once, or after a wait.
    fn again(&mut self, cause: Cause, ready_for: Option<Duration>, now: Instant) -> Vec<Effect> {
        let mut effects = vec![Effect::Restarted(cause)];
        if self.restarts.begin_wait(ready_for, now) {
            effects.push(self.launch(now));
        }
        effects
    }

    fn on_tick(&mut self, now: Instant) -> Vec<Effect> {
        let is_due = |process: &ProcessState| process.next_deadline().is_some_and(|deadline| deadline <= now);
        let unreachable = self.current().filter(|process| process.is_unreachable(now));
        let unreachable = unreachable.map(|process| process.incarnation);
        let mut effects = unreachable.map(|n| self.on_leaves(n, now)).unwrap_or_default();
        if self.settles_at().is_some_and(|at| at <= now) {
            effects.extend(self.settle(now));
        }
        effects.extend(self.on_stopping_overdue(now));
        if let Some(process) = self.processes.current.as_mut().filter(|process| is_due(process)) {
            effects.extend(process.overdue(now));
        }
        if self.processes.replacement.as_ref().is_some_and(|replacement| is_due(&replacement.process)) {
            effects.extend(self.replacement_overdue(now));
        }
        for process in self.processes.retiring.iter_mut().filter(|process| is_due(process)) {
            effects.extend(process.overdue(now));
        }
        if self.restarts.next_start().is_some_and(|at| at <= now) {
            effects.push(self.launch(now));
        }
        effects
    }
}

#[cfg(test)]
mod tests;
