//! Schedules the health checks of a worker, and the looks at the addresses where it listens.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::diagnosis;
use super::probe::{self, CheckResult};
use super::process::WorkerProcess;
use super::{Context, WorkerSlot};
use crate::config::{Address, Probe};
use crate::net::proxy_header;
use crate::os::accept_queue::PeerId;
use crate::os::{accepts, inspect};
use crate::pool::{CheckStatus, SlotState};
use crate::rotation::Endpoint;
use crate::stats::Check;
use crate::supervisor::WorkerEvent;
use crate::supervisor::slot::Event;
use crate::supervisor::slot::health::Sign;
use crate::supervisor::slot::process::ProcessState;

/// The interval at which an idle worker is connected to, if nothing else shows that it takes connections.
const CONNECT_INTERVAL: Duration = Duration::from_secs(10);
/// The pause between looks at a program that said READY=1: does it wait at the listeners that it was handed?
const ACCEPTS_LOOK: Duration = Duration::from_millis(500);
/// The interval at which a program that is not ready is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl WorkerSlot {
    pub(in crate::supervisor) fn next_deadline(&self) -> Option<Instant> {
        let of_process = self.processes.values().flat_map(|process| {
            let next_drain_check = process.drain.as_ref().and_then(|draining| draining.next_look);
            [process.next_probe, process.next_look, next_drain_check].into_iter().flatten()
        });
        of_process.chain(self.slot.next_deadline()).chain(self.next_beat()).min()
    }

    /// Probes a worker at once, because the data path saw a failure.
    pub(in crate::supervisor) fn probe_soon(&mut self, incarnation: u64, now: Instant) {
        if let Some(next) = self.processes.get_mut(&incarnation).and_then(|process| process.next_probe.as_mut()) {
            *next = now.min(*next);
        }
    }

    pub(in crate::supervisor) fn probe_if_due(&mut self, now: Instant) {
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let due: Vec<u64> =
            self.processes.iter().filter(|(_, process)| is_due(process.next_probe)).map(|(&n, _)| n).collect();
        for incarnation in due {
            let Some(process_state) = self.slot.process(incarnation) else { continue };
            let (is_starting, is_failing) = (process_state.is_starting(), process_state.is_failing_checks());
            let report = self.reporter(incarnation);
            let Some(process) = self.processes.get_mut(&incarnation) else { continue };
            let question = match process.context.config.health.probe {
                // A pool that wants no connecting checks gets none for readiness either.
                Probe::ListenTable if is_starting => {
                    let queued = self.context.resources.queued(&[&process.context.upstream.endpoint]).pop();
                    let is_listening = queued.is_some_and(|queued| queued.is_ok_and(|queue| queue.is_some()));
                    process.progress.set_listening(is_listening);
                    process.question(true, now)
                }
                _ if is_starting => ProbePlan::Connect,
                _ => process.question(is_failing, now),
            };
            match question {
                ProbePlan::Connect => {}
                ProbePlan::Later => {
                    process.next_probe = Some(now + process.context.config.health.interval);
                    self.ask_port_owner_again(incarnation);
                    continue;
                }
                ProbePlan::Answered(check, what) => {
                    let took = Duration::ZERO;
                    process.next_probe = None;
                    report(WorkerEvent::Probed(Some(CheckResult { check, what, took })));
                    continue;
                }
            }
            // The verdict schedules the next check: never two at a time.
            process.next_probe = None;
            process.last_connect = Some(now);
            if process.context.config.health.probe == Probe::Channel {
                let timeout = process.context.config.health.timeout;
                self.ping(incarnation, timeout);
                continue;
            }
            let endpoint = process.context.upstream.endpoint.clone();
            let config = &process.context.config.health;
            let question = match &config.probe {
                Probe::None => Probe::Tcp,
                asked => asked.clone(),
            };
            let header = proxy_header::of_probe(process.context.config.proxy_protocol);
            // While the program starts, one connection waits for it as long as `ready-timeout`: more would fill its
            // short queue.
            let timeout = match question {
                Probe::Tcp if is_starting => process.context.config.ready_timeout,
                _ => config.timeout,
            };
            let asked = ProbeContext { context: Arc::clone(&self.context), endpoint, report };
            tokio::spawn(async move {
                let result = probe::ask(&asked.endpoint, &question, &header, timeout, &asked).await;
                (asked.report)(WorkerEvent::Probed(result));
            });
        }
    }

    /// Records that a check has connected to that process from this address.
    pub(in crate::supervisor) fn checking(&mut self, incarnation: u64, from: PeerId) {
        if let Some(process) = self.processes.get_mut(&incarnation) {
            process.progress.record_check(from);
        }
    }

    /// Takes a verdict; `None` if our own clock was too late for one. Returns the event that it means for the slot.
    pub(in crate::supervisor) fn probed(
        &mut self,
        incarnation: u64,
        result: Option<CheckResult>,
        now: Instant,
    ) -> Option<Event> {
        self.ask_port_owner_again(incarnation);
        let process_state = self.slot.process(incarnation)?;
        let (state, is_starting, is_in_doubt) =
            (process_state.state(), process_state.is_starting(), process_state.needs_fast_probes());
        let process = self.processes.get_mut(&incarnation)?;
        let config = &process.context.config.health;
        let wait = match state {
            SlotState::Starting => readiness_pause(now - process.context.launched),
            _ if result.as_ref().is_some_and(|result| result.check != Check::Ok) || is_in_doubt => config.fast_interval,
            _ => config.interval.mul_f64(0.9 + 0.2 * self.chance.f64()),
        };
        let goes_on = state == SlotState::Starting || state.is_up();
        process.next_probe = goes_on.then(|| now + wait);
        let result = result?;
        // A check that lies untaken in the queue is no sign of a hang, as the program may be busy: see
        // `crate::supervisor::slot::hang`.
        let is_mere_connect = matches!(config.probe, Probe::None | Probe::Tcp);
        match result.check {
            Check::Timeout if is_mere_connect => {}
            Check::Timeout => process.progress.unanswered(now),
            Check::Ok | Check::Fail => process.progress.answered(now),
        }
        if state != SlotState::Starting {
            process.context.upstream.stats.checks[result.check as usize].increment();
            self.context.pool.stats.check.of_thread(0).record(result.took);
        }
        let check = result.check;
        process.last_check = Some(CheckStatus {
            what: result.what,
            is_ok: check == Check::Ok,
            took: result.took,
            at: SystemTime::now(),
        });
        self.ask_port_owner_again(incarnation);
        match (is_starting, check) {
            (true, Check::Ok) => Some(Event::Ready(incarnation)),
            (true, _) => None,
            (false, Check::Ok) => Some(Event::Sign(incarnation, Sign::Good)),
            (false, Check::Fail) => Some(Event::Sign(incarnation, Sign::Bad)),
            (false, Check::Timeout) => None,
        }
    }

    /// Looks up, on a thread that may block on `/proc`, the addresses where a program listens.
    pub(in crate::supervisor) fn look_if_due(&mut self, now: Instant) {
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let due: Vec<u64> =
            self.processes.iter().filter(|(_, process)| is_due(process.next_look)).map(|(&n, _)| n).collect();
        for incarnation in due {
            let is_starting = self.slot.process(incarnation).is_some_and(ProcessState::is_starting);
            let report = self.reporter(incarnation);
            let Some(process) = self.processes.get_mut(&incarnation) else { continue };
            // With many connections a look takes long: its answer schedules the next one, never two at a time. For
            // ready processes one look is enough for the slot and all its later processes, even if this one exits
            // before the answer.
            process.next_look = None;
            self.looked_exposed |= !is_starting;
            if let Some(pid) = process.context.pid() {
                tokio::task::spawn_blocking(move || {
                    let cpu_seconds = is_starting.then(|| inspect::group_usage(pid).cpu_seconds);
                    report(WorkerEvent::Listens(inspect::group_listeners(pid), cpu_seconds));
                });
            }
        }
    }

    /// Looks repeatedly, on a thread that may block on `/proc`, until a program that said it is ready waits at the
    /// listeners that it was handed, or may do so: a program that waits only at a listener of its own serves no client.
    pub(super) fn look_if_it_accepts(&mut self, incarnation: u64) {
        let report = self.reporter(incarnation);
        let Some(process) = self.processes.get_mut(&incarnation) else { return };
        // If there is no process yet, this is called again when there is one.
        let (Some(group), false) = (process.context.pid(), process.is_looked_at) else { return };
        process.is_looked_at = true;
        let tries = process.context.config.ready_timeout.as_millis() / ACCEPTS_LOOK.as_millis() + 1;
        let ports = self.context.pool.listening().iter().filter_map(Address::port).collect::<HashSet<_>>();
        tokio::spawn(async move {
            for _ in 0..tries {
                let ports = ports.clone();
                let look = tokio::task::spawn_blocking(move || accepts::serves_only_its_own(group, &ports));
                match look.await.unwrap_or_default() {
                    None => return report(WorkerEvent::Accepts),
                    Some(own) => report(WorkerEvent::Listens(own, None)),
                }
                tokio::time::sleep(ACCEPTS_LOOK).await;
            }
        });
    }

    pub(in crate::supervisor) fn listens(
        &mut self,
        incarnation: u64,
        addresses: &[SocketAddr],
        cpu_seconds: Option<f64>,
        now: Instant,
    ) {
        let worker = self.name();
        let is_starting = self.slot.process(incarnation).is_some_and(ProcessState::is_starting);
        let Some(process) = self.processes.get_mut(&incarnation) else { return };
        let pid = process.context.pid();
        // A listener that the program was handed is not one that it has opened.
        let endpoint =
            if process.private.listener.is_some() { &Endpoint::Inherited } else { &process.context.upstream.endpoint };
        if is_starting {
            process.next_look = Some(now + LOOK_AGAIN);
            let (passed_as, public) = (process.context.config.passed_as(), self.context.pool.listening());
            let is_refused = process.failed_check().is_some_and(|check| check.contains("refused"));
            let told = diagnosis::explain_not_ready(endpoint, passed_as, addresses, &public, is_refused);
            match (&told, cpu_seconds) {
                (Some(_), Some(cpu_seconds)) => process.seen_on_other_port(cpu_seconds, now),
                (None, _) => (process.last_look, process.cpu_while_on_other_port) = (None, None),
                (Some(_), None) => {}
            }
            if let Some(told) = told.filter(|told| process.last_look.as_ref() != Some(told)) {
                tracing::warn!(%worker, pid, "{told}");
                process.last_look = Some(told);
            }
        } else {
            // A look that began before the worker was ready may end after it, beside the look that its readiness began.
            let told = diagnosis::explain_exposed(endpoint, addresses);
            if let Some(told) = told.filter(|_| !std::mem::replace(&mut self.warned_exposed, true)) {
                tracing::warn!(%worker, pid, "{told}");
            }
        }
    }
}

/// The next step of a check of a worker that has been ready.
enum ProbePlan {
    /// Ask its endpoint, or its channel.
    Connect,
    /// Ask nothing now.
    Later,
    /// Nothing has to be asked: earlier observations are the answer.
    Answered(Check, String),
}

impl WorkerProcess {
    /// Decides the next check. A connection on which nothing is sent leaves a line in the log of many servers, so it is
    /// made only if nothing better shows the same.
    fn question(&self, is_failing: bool, now: Instant) -> ProbePlan {
        let (endpoint, queue) = (&self.context.upstream.endpoint, self.progress.queue());
        match &self.context.config.health.probe {
            Probe::None | Probe::Channel => ProbePlan::Connect,
            // The worker has not taken the last check yet: that one is still unanswered.
            Probe::Http { .. } if queue.has_own_checks && queue.length > 0 => ProbePlan::Later,
            Probe::Http { .. } => ProbePlan::Connect,
            Probe::Tcp | Probe::ListenTable if !queue.is_listening => {
                ProbePlan::Answered(Check::Fail, format!("{endpoint}: no socket listens there"))
            }
            Probe::ListenTable if is_failing => ProbePlan::Answered(Check::Ok, "ok: it listens".to_owned()),
            Probe::ListenTable => ProbePlan::Later,
            // Clients wait already: a check would only take a client's place in the queue.
            Probe::Tcp if queue.length > 0 => ProbePlan::Later,
            Probe::Tcp if is_failing => ProbePlan::Connect,
            Probe::Tcp => {
                let since = self.progress.last_progress().max(self.last_connect);
                if since.is_none_or(|since| now - since >= CONNECT_INTERVAL) {
                    ProbePlan::Connect
                } else {
                    ProbePlan::Later
                }
            }
        }
    }
}

/// The surroundings of a check that is under way.
struct ProbeContext<R> {
    context: Arc<Context>,
    endpoint: Endpoint,
    report: R,
}

impl<R: Fn(WorkerEvent)> probe::Surroundings for ProbeContext<R> {
    fn sources(&self) -> u8 {
        self.context.pool.config().source_addresses
    }

    fn connected(&self, from: PeerId) {
        (self.report)(WorkerEvent::Checking(from));
    }

    fn is_taken(&self, from: PeerId) -> bool {
        self.context.resources.is_taken(&self.endpoint, from)
    }
}

/// Returns the pause between readiness probes: short at first, since most programs are ready in a moment.
fn readiness_pause(age: Duration) -> Duration {
    match age.as_millis() {
        ..1_000 => Duration::from_millis(10),
        1_000..5_000 => Duration::from_millis(50),
        _ => Duration::from_millis(200),
    }
}
