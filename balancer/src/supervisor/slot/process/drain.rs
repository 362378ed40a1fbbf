//! The drain of one process: from the moment it leaves the rotation until its stop signal.

use std::time::Duration;

use tokio::time::Instant;

use super::withdrawal::END_GRACE;
use super::{DrainMethod, DrainStep, HUNG_QUIESCE, ProcessState, State};
use crate::config::{Drain, PassedAs};
use crate::mode::Acceptor;
use crate::supervisor::slot::Effect;

impl ProcessState {
    /// Gives the clients of the process up to `idle-timeout` to finish: the process is replaced on a suspicion only.
    pub(in crate::supervisor) fn allow_long_drain(&mut self) {
        self.has_long_drain = true;
    }

    /// Returns the longest time that the drain may take. A connection on which no byte moves for `idle-timeout` is
    /// closed in any case.
    pub(in crate::supervisor) fn drain_time(&self) -> Duration {
        let usual = self.config.drain_timeout;
        if self.has_long_drain { usual.max(self.config.idle_timeout) } else { usual }
    }

    /// Returns true if the drain may take longer than others, so that no operation waits for it.
    pub(in crate::supervisor) fn has_long_drain(&self) -> bool {
        self.has_long_drain
    }

    /// Ends the extra time of a long drain: the process shall end like any other.
    pub(in crate::supervisor) fn end_long_drain(&mut self, now: Instant) {
        if !std::mem::take(&mut self.has_long_drain) {
            return;
        }
        let (drain, kill) = (now + self.config.drain_timeout, self.config.kill_timeout);
        match &mut self.state {
            State::Draining { deadline, step } => {
                *deadline = drain.min(*deadline);
                if let DrainStep::Quiesce { full, .. } = step {
                    *full = drain.min(*full);
                }
            }
            State::Stopping { kill_at: Some(at) } => *at = (drain + kill).min(*at),
            _ => {}
        }
    }

    /// Retires the process: drains it if it may have connections, ends it if it cannot.
    pub(in crate::supervisor) fn retire(&mut self, now: Instant) -> Option<Effect> {
        self.was_busy = matches!(self.state, State::Busy { .. });
        match (self.state, self.config.mode.acceptor()) {
            (State::Ready { .. } | State::Busy { .. } | State::Suspect { .. }, Acceptor::Master) => {
                let full = now + self.drain_time();
                // A hung worker will not empty its queue: its clients get an answer sooner from another worker.
                let patience = if self.health.seems_hung() { HUNG_QUIESCE } else { self.drain_time() };
                let deadline = full.min(now + patience);
                self.state = State::Draining { deadline, step: DrainStep::Quiesce { is_idle: false, full } };
                Some(Effect::Drain(self.incarnation))
            }
            (State::Ready { .. } | State::Busy { .. } | State::Suspect { .. }, Acceptor::Workers)
                if self.is_disconnected_first() =>
            {
                self.finish_by_itself(now);
                Some(Effect::Disconnect(self.incarnation))
            }
            // If workers accept by themselves, only they know their connections: their drain starts with the signal.
            (State::Ready { .. } | State::Busy { .. } | State::Suspect { .. }, Acceptor::Workers) => {
                Some(self.terminate(self.drain_time() + self.config.kill_timeout, now))
            }
            (State::Starting { .. }, _) => Some(self.terminate(self.config.kill_timeout, now)),
            // The process was never started: there is no process to end.
            (State::Postponed { .. } | State::Draining { .. } | State::Stopping { .. }, _) => None,
        }
    }

    /// Lets the process finish its connections after it closed its listeners, by command or by itself.
    pub(in crate::supervisor) fn finish_by_itself(&mut self, now: Instant) {
        // A process whose channel is closed is given up here, and has had its time to end.
        let time = if self.has_closed_channel() { Duration::ZERO } else { self.drain_time() };
        self.state = State::Draining { deadline: now + time, step: DrainStep::Disconnected };
    }

    /// Returns true if the process drains when its channel ends, not on a signal.
    fn is_disconnected_first(&self) -> bool {
        self.config.passed_as() == PassedAs::Node && self.config.drain == Drain::Auto
    }

    /// Continues the drain: no new connection can reach the process any more.
    pub(in crate::supervisor) fn quiesced(&mut self, method: DrainMethod, now: Instant) -> Option<Effect> {
        let State::Draining { step: DrainStep::Quiesce { is_idle, full: deadline }, .. } = self.state else {
            return None;
        };
        // The master does not see the connections of a Node worker.
        if is_idle && method != DrainMethod::Disconnect {
            return Some(self.terminate(self.config.kill_timeout, now));
        }
        let (step, effect) = match method {
            DrainMethod::Signal => (DrainStep::Signalled, Some(Effect::Terminate(self.incarnation))),
            DrainMethod::CloseIdle => (DrainStep::Waiting, Some(Effect::CloseIdle(self.incarnation))),
            DrainMethod::Wait => (DrainStep::Waiting, None),
            DrainMethod::Disconnect => {
                let deadline = if self.has_closed_channel() { deadline.min(now + END_GRACE) } else { deadline };
                self.state = State::Draining { deadline, step: DrainStep::Disconnected };
                return Some(Effect::Disconnect(self.incarnation));
            }
        };
        self.state = State::Draining { deadline, step };
        effect
    }

    /// Continues the drain: the process has no connection any more.
    pub(in crate::supervisor) fn drained(&mut self, now: Instant) -> Option<Effect> {
        let State::Draining { deadline, step } = self.state else { return None };
        match step {
            DrainStep::Quiesce { full, .. } => {
                self.state = State::Draining { deadline, step: DrainStep::Quiesce { is_idle: true, full } };
                None
            }
            DrainStep::Waiting => Some(self.terminate(self.config.kill_timeout, now)),
            DrainStep::Signalled => {
                self.state = State::Stopping { kill_at: Some(now + self.config.kill_timeout) };
                None
            }
            DrainStep::Disconnected => None,
        }
    }

    /// Records that the leader of the process group has exited, and the rest of its group got the signal: the rest has
    /// its time from now on.
    pub(in crate::supervisor) fn leader_ended(&mut self, now: Instant) {
        if let State::Draining { step: DrainStep::Disconnected, .. } = self.state {
            self.state = State::Stopping { kill_at: Some(now + self.config.kill_timeout) };
        }
    }
}
