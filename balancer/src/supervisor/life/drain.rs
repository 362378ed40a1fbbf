//! The drain of one process: from the moment it leaves the rotation to its stop signal.

use std::time::Duration;

use tokio::time::Instant;

use super::{HUNG_GATE, Life, PARTING, State, Step, Way};
use crate::config::{Drain, Handing};
use crate::mode::Acceptor;
use crate::supervisor::slot::Effect;

impl Life {
    /// Gives its clients up to `idle-timeout` to finish: it is replaced on a suspicion only.
    pub(in crate::supervisor) fn spare_clients(&mut self) {
        self.is_spared = true;
    }

    /// How long its drain may take. A connection on which nothing moves for `idle-timeout` is closed anyway.
    pub(super) fn drain_time(&self) -> Duration {
        let usual = self.rules.drain_timeout;
        if self.is_spared { usual.max(self.rules.idle_timeout) } else { usual }
    }

    /// Returns true if it may take longer than others, so that nobody waits for it.
    pub(in crate::supervisor) fn is_spared(&self) -> bool {
        self.is_spared
    }

    /// It is asked to end like any other: the time that a spared process has is over.
    pub(in crate::supervisor) fn spare_no_longer(&mut self, now: Instant) {
        if !std::mem::take(&mut self.is_spared) {
            return;
        }
        let (drain, kill) = (now + self.rules.drain_timeout, self.rules.kill_timeout);
        match &mut self.state {
            State::Draining { deadline, step } => {
                *deadline = drain.min(*deadline);
                if let Step::Gate { full, .. } = step {
                    *full = drain.min(*full);
                }
            }
            State::Stopping { kill_at: Some(at) } => *at = (drain + kill).min(*at),
            _ => {}
        }
    }

    /// It leaves: drained if it may have connections, ended if it cannot.
    pub(in crate::supervisor) fn leave(&mut self, now: Instant) -> Option<Effect> {
        self.was_busy = matches!(self.state, State::Busy { .. });
        match (self.state, self.rules.mode.acceptor()) {
            (State::Ready { .. } | State::Busy { .. } | State::Suspect { .. }, Acceptor::Master) => {
                let full = now + self.drain_time();
                // A hung worker will not empty its queue: another worker answers its clients sooner.
                let patience = if self.health.seems_hung() { HUNG_GATE } else { self.drain_time() };
                let deadline = full.min(now + patience);
                self.state = State::Draining { deadline, step: Step::Gate { is_idle: false, full } };
                Some(Effect::Drain(self.incarnation))
            }
            (State::Ready { .. } | State::Busy { .. } | State::Suspect { .. }, Acceptor::Workers)
                if self.is_disconnected_first() =>
            {
                self.finish_by_itself(now);
                Some(Effect::Disconnect(self.incarnation))
            }
            // Where workers accept by themselves only they know what they still have: the signal is what starts their drain.
            (State::Ready { .. } | State::Busy { .. } | State::Suspect { .. }, Acceptor::Workers) => {
                Some(self.terminate(self.drain_time() + self.rules.kill_timeout, now))
            }
            (State::Starting { .. }, _) => Some(self.terminate(self.rules.kill_timeout, now)),
            // Never started: nothing to end.
            (State::Postponed { .. } | State::Draining { .. } | State::Stopping { .. }, _) => None,
        }
    }

    /// It closes its listeners and finishes what it has, by order or of its own accord.
    pub(in crate::supervisor) fn finish_by_itself(&mut self, now: Instant) {
        // It had its time to end when it is given up.
        let time = if self.has_parted { Duration::ZERO } else { self.drain_time() };
        self.state = State::Draining { deadline: now + time, step: Step::Disconnected };
    }

    /// Returns true if the end of its channel, and not a signal, is what makes it finish what it has.
    fn is_disconnected_first(&self) -> bool {
        self.rules.handing() == Handing::Node && self.rules.drain == Drain::Auto
    }

    /// No new connection can reach it any more.
    pub(in crate::supervisor) fn gate_opened(&mut self, way: Way, now: Instant) -> Option<Effect> {
        let State::Draining { step: Step::Gate { is_idle, full: deadline }, .. } = self.state else { return None };
        // What a Node worker has is not seen from here.
        if is_idle && way != Way::Disconnect {
            return Some(self.terminate(self.rules.kill_timeout, now));
        }
        let (step, effect) = match way {
            Way::Signal => (Step::Told, Some(Effect::Terminate(self.incarnation))),
            Way::Quiet => (Step::Waiting, Some(Effect::Quieten(self.incarnation))),
            Way::Closed => (Step::Waiting, None),
            Way::Disconnect => {
                let deadline = if self.has_parted { deadline.min(now + PARTING) } else { deadline };
                self.state = State::Draining { deadline, step: Step::Disconnected };
                return Some(Effect::Disconnect(self.incarnation));
            }
        };
        self.state = State::Draining { deadline, step };
        effect
    }

    /// Nothing is left on it.
    pub(in crate::supervisor) fn drained(&mut self, now: Instant) -> Option<Effect> {
        let State::Draining { deadline, step } = self.state else { return None };
        match step {
            Step::Gate { full, .. } => {
                self.state = State::Draining { deadline, step: Step::Gate { is_idle: true, full } };
                None
            }
            Step::Waiting => Some(self.terminate(self.rules.kill_timeout, now)),
            Step::Told => {
                self.state = State::Stopping { kill_at: Some(now + self.rules.kill_timeout) };
                None
            }
            Step::Disconnected => None,
        }
    }

    /// Its leader has ended, and the rest of its group was told to: that rest has its time from now on.
    pub(in crate::supervisor) fn leader_ended(&mut self, now: Instant) {
        if let State::Draining { step: Step::Disconnected, .. } = self.state {
            self.state = State::Stopping { kill_at: Some(now + self.rules.kill_timeout) };
        }
    }
}
