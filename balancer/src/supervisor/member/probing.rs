//! When a worker is asked how it is, and looked at where it listens.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::super::health::Sign;
use super::super::life::Life;
use super::super::probe::{self, Verdict};
use super::super::slot::Event;
use super::super::{News, elsewhere};
use super::Member;
use crate::config::Probe;
use crate::net::proxy_header;
use crate::os::inspect;
use crate::pool::{CheckStatus, SlotState};
use crate::rotation::Endpoint;
use crate::stats::Check;

/// How often a program that is not ready is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

impl Member {
    pub(in crate::supervisor) fn next_deadline(&self) -> Option<Instant> {
        let of_process = self.processes.values().flat_map(|process| {
            let gate = process.drain.as_ref().and_then(|draining| draining.next_look);
            [process.next_probe, process.next_look, gate].into_iter().flatten()
        });
        of_process.chain(self.slot.next_deadline()).chain(self.next_beat()).min()
    }

    /// Something looked wrong from the data path: ask now.
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
            let report = self.reporter(incarnation);
            let Some(process) = self.processes.get_mut(&incarnation) else { continue };
            let is_starting = self.slot.life(incarnation).is_some_and(Life::is_starting);
            // The kernel would answer, and the question take a client's place: a queue that does not move says enough.
            if !is_starting && process.rules.health.probe == Probe::Tcp && process.vitals.has_queue() {
                process.next_probe = Some(now + process.rules.health.interval);
                self.ask_port_owner_again(incarnation);
                continue;
            }
            // The verdict sets the next one: never two questions at a time.
            process.next_probe = None;
            if process.rules.health.probe == Probe::Channel {
                let timeout = process.rules.health.timeout;
                self.ping(incarnation, timeout);
                continue;
            }
            let endpoint = process.upstream.endpoint.clone();
            let rules = &process.rules.health;
            let question = match &rules.probe {
                Probe::None => Probe::Tcp,
                asked => asked.clone(),
            };
            let header = proxy_header::of_probe(process.rules.proxy_protocol);
            let (timeout, sources) = (rules.timeout, process.rules.source_addresses);
            tokio::spawn(async move {
                report(News::Probed(probe::ask(&endpoint, &question, &header, timeout, sources).await));
            });
        }
    }

    /// Takes a verdict; `None` where our own clock was too late for one. What it means for the slot.
    pub(in crate::supervisor) fn probed(
        &mut self,
        incarnation: u64,
        verdict: Option<Verdict>,
        now: Instant,
    ) -> Option<Event> {
        self.ask_port_owner_again(incarnation);
        let life = self.slot.life(incarnation)?;
        let (state, is_starting, is_in_doubt) = (life.state(), life.is_starting(), life.is_in_doubt());
        let process = self.processes.get_mut(&incarnation)?;
        let rules = &process.rules.health;
        let wait = match state {
            SlotState::Starting => readiness_pause(now - process.launched),
            _ if verdict.as_ref().is_some_and(|verdict| verdict.check != Check::Ok) || is_in_doubt => {
                rules.fast_interval
            }
            _ => rules.interval.mul_f64(0.9 + 0.2 * self.chance.f64()),
        };
        let goes_on = matches!(state, SlotState::Starting | SlotState::Ready | SlotState::Suspect);
        process.next_probe = goes_on.then(|| now + wait);
        let verdict = verdict?;
        let sign = match verdict.check {
            Check::Ok => Sign::Good,
            Check::Fail => Sign::Bad,
            Check::Timeout => Sign::Silent,
        };
        if state != SlotState::Starting {
            process.upstream.stats.checks[verdict.check as usize].increment();
            self.context.pool.stats.check.shard(0).record(verdict.took);
        }
        let is_ok = verdict.check == Check::Ok;
        self.last_check = Some(CheckStatus { what: verdict.what, is_ok, took: verdict.took, at: SystemTime::now() });
        match (is_starting, is_ok) {
            (true, true) => Some(Event::Ready(incarnation)),
            (true, false) => None,
            (false, _) => Some(Event::Sign(incarnation, sign)),
        }
    }

    /// Looks, on a thread that may wait for `/proc`, where a program listens.
    pub(in crate::supervisor) fn look_if_due(&mut self, now: Instant) {
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let due: Vec<u64> =
            self.processes.iter().filter(|(_, process)| is_due(process.next_look)).map(|(&n, _)| n).collect();
        for incarnation in due {
            let is_starting = self.slot.life(incarnation).is_some_and(Life::is_starting);
            let report = self.reporter(incarnation);
            let Some(process) = self.processes.get_mut(&incarnation) else { continue };
            // Among many connections a look takes long: the answer sets the next one, never two at a time. Of one that is
            // ready one look is enough for all that come after it, whether or not it lives to see the answer.
            process.next_look = None;
            self.looked_exposed |= !is_starting;
            if let Some(pid) = process.pid {
                tokio::task::spawn_blocking(move || report(News::Listens(inspect::group_listeners(pid))));
            }
        }
    }

    pub(in crate::supervisor) fn listens(&mut self, incarnation: u64, addresses: &[SocketAddr]) {
        let worker = self.name();
        let is_starting = self.slot.life(incarnation).is_some_and(Life::is_starting);
        let Some(process) = self.processes.get_mut(&incarnation) else { return };
        let pid = process.pid;
        // A listener that was handed over is not one that it has opened.
        let endpoint =
            if process.private.listener.is_some() { &Endpoint::Inherited } else { &process.upstream.endpoint };
        if is_starting {
            process.next_look = Some(Instant::now() + LOOK_AGAIN);
            let (handing, public) = (process.rules.handing(), self.context.pool.listening());
            let told = elsewhere::explain_not_ready(endpoint, handing, addresses, &public);
            if let Some(told) = told.filter(|told| process.last_look.as_ref() != Some(told)) {
                tracing::warn!(%worker, pid, "{told}");
                process.last_look = Some(told);
            }
        } else {
            if let Some(told) = elsewhere::explain_exposed(endpoint, addresses) {
                tracing::warn!(%worker, pid, "{told}");
            }
        }
    }
}

/// Between readiness probes: short at first, since most programs are ready in a moment.
fn readiness_pause(age: Duration) -> Duration {
    match age.as_millis() {
        ..1_000 => Duration::from_millis(10),
        1_000..5_000 => Duration::from_millis(50),
        _ => Duration::from_millis(200),
    }
}
