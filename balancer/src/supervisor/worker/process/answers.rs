//! The checks and looks of one process: makes those that are due, and takes their answers.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use tokio::time::Instant;

use super::WorkerProcess;
use crate::config::Probe;
use crate::stats::Check;
use crate::supervisor::slot::Event;
use crate::supervisor::slot::health::Sign;
use crate::supervisor::slot::process::ProcessState;
use crate::supervisor::worker::checks::{self, CheckContext};
use crate::supervisor::worker::listener_owner::OwnerCheck;
use crate::supervisor::worker::listens::ExposureLook;
use crate::supervisor::worker::port_owner::PortVerdict;
use crate::supervisor::worker::probe::CheckResult;

impl WorkerProcess {
    /// Makes a check if one is due.
    pub(in crate::supervisor::worker) fn check_if_due(&mut self, state: &ProcessState, now: Instant) {
        if !self.checks.is_due(now) {
            return;
        }
        let is_starting = state.is_starting();
        if is_starting && self.context.config.health.probe == Probe::ListenTable {
            let endpoint = &self.context.upstream.endpoint;
            let queued = self.context.shared.resources.queued(&[endpoint]).pop();
            self.progress.set_listening(queued.is_some_and(|queued| queued.is_ok_and(|queue| queue.is_some())));
        }
        let seen = CheckContext {
            is_starting,
            is_failing: state.is_failing_checks(),
            queue: self.progress.queue(),
            last_progress: self.progress.last_progress(),
        };
        if !self.checks.make(&self.context, &self.channel, seen, now) {
            self.ask_port_owner_again();
        }
    }

    /// Takes the result of a check; `None` if our own clock was too late for one. Returns the event that it means for
    /// the slot. `chance` (0 to 1) spreads the checks of workers.
    pub(in crate::supervisor::worker) fn probed(
        &mut self,
        state: &ProcessState,
        result: Option<CheckResult>,
        chance: f64,
        now: Instant,
    ) -> Option<Event> {
        self.ask_port_owner_again();
        let (process, incarnation) = (&self.context, self.context.incarnation());
        let config = &process.config.health;
        let (age, is_in_doubt) = (now - process.launched, state.needs_fast_probes());
        let wait = checks::pause(state.state(), result.as_ref(), is_in_doubt, config, age, chance);
        self.checks.answered(result.as_ref(), wait, now);
        let result = result?;
        // A check that lies untaken in the queue is no sign of a hang, as the program may be busy: see
        // `crate::supervisor::slot::hang`.
        let is_mere_connect = matches!(config.probe, Probe::None | Probe::Tcp);
        match result.check {
            Check::Timeout if is_mere_connect => {}
            Check::Timeout => self.progress.unanswered(now),
            Check::Ok | Check::Fail => self.progress.answered(now),
        }
        if state.is_starting() {
            return (result.check == Check::Ok).then_some(Event::Ready(incarnation));
        }
        process.upstream.stats.checks[result.check as usize].increment();
        process.shared.pool.stats.check.of_thread(0).record(result.took);
        match result.check {
            Check::Ok => Some(Event::Sign(incarnation, Sign::Good)),
            Check::Fail => Some(Event::Sign(incarnation, Sign::Bad)),
            Check::Timeout => None,
        }
    }

    /// Looks where the program listens, if that is due. Returns true if it did.
    pub(in crate::supervisor::worker) fn look_if_due(&mut self, state: &ProcessState, now: Instant) -> bool {
        let is_due = self.listens.is_due(now);
        if is_due {
            self.listens.look(&self.context, state.is_starting());
        }
        is_due
    }

    /// Takes the addresses where the program listens.
    pub(in crate::supervisor::worker) fn listens(
        &mut self,
        is_starting: bool,
        addresses: &[SocketAddr],
        cpu_seconds: Option<f64>,
        exposure: &mut ExposureLook,
        now: Instant,
    ) {
        let endpoint = self.listener.opened_by_program();
        if is_starting {
            let is_refused = self.checks.failed().is_some_and(|check| check.contains("refused"));
            self.listens.seen_before_ready(&self.context, endpoint, addresses, is_refused, cpu_seconds, now);
        } else {
            exposure.seen(&self.context, endpoint, addresses);
        }
    }

    /// Checks the owner of the port once more, if no duplicate of the listener keeps the port from others.
    fn ask_port_owner_again(&mut self) {
        if self.drain.is_none() && !self.listener.has_duplicate() {
            self.port_owner.ask_again(&self.context);
        }
    }

    /// Takes the result of a check of the port's owner. Returns the event that it means for the slot.
    pub(in crate::supervisor::worker) fn port_owner_seen(
        &mut self,
        is_starting: bool,
        look: OwnerCheck,
    ) -> Option<Event> {
        if self.drain.is_some() {
            return None;
        }
        let incarnation = self.context.incarnation();
        match self.port_owner.seen(&self.context, look) {
            PortVerdict::Usable(duplicate) => {
                duplicate.into_iter().for_each(|duplicate| self.listener.hold(duplicate));
                is_starting.then_some(Event::Ready(incarnation))
            }
            PortVerdict::Taken(why) => {
                self.exit.fail_start(why);
                Some(Event::PortTaken(incarnation))
            }
            PortVerdict::Unknown => None,
        }
    }

    /// Stores the duplicate of the process's listener, or logs why there is none.
    pub(in crate::supervisor::worker) fn listener_dup(&mut self, taken: std::io::Result<OwnedFd>) {
        if self.drain.is_some() {
            return;
        }
        match taken {
            Ok(duplicate) => self.listener.hold(duplicate),
            Err(error) => tracing::debug!(
                worker = %self.context.name(), %error,
                "no duplicate of the worker's listener: if the worker dies, the clients in its queue are lost"
            ),
        }
    }
}
