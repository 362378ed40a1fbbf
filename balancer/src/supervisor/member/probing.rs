//! When a worker is asked how it is, and looked at where it listens.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::super::probe::{self, Verdict};
use super::super::{News, elsewhere};
use super::Member;
use crate::config::Probe;
use crate::net::proxy_header;
use crate::os::inspect;
use crate::pool::{CheckStatus, SlotState};
use crate::stats::Check;

/// How often a program that is not ready is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

impl Member {
    pub(in crate::supervisor) fn next_deadline(&self) -> Option<Instant> {
        let process = self.process.as_ref();
        let probe = process.and_then(|process| process.next_probe);
        let look = process.and_then(|process| process.next_look);
        [self.slot.next_deadline(), probe, look].into_iter().flatten().min()
    }

    /// Something looked wrong from the data path: ask now.
    pub(in crate::supervisor) fn probe_soon(&mut self, now: Instant) {
        if let Some(process) = &mut self.process
            && let Some(next) = &mut process.next_probe
        {
            *next = now.min(*next);
        }
    }

    pub(in crate::supervisor) fn probe_if_due(&mut self, now: Instant) {
        let Some(process) = &mut self.process else { return };
        if process.next_probe.is_none_or(|due| due > now) {
            return;
        }
        // The verdict sets the next one: never two questions at a time.
        process.next_probe = None;
        let endpoint = process.upstream.endpoint.clone();
        let incarnation = process.upstream.incarnation;
        let rules = &self.context.pool.config().health;
        let question = match &rules.probe {
            Probe::None => Probe::Tcp,
            asked => asked.clone(),
        };
        let header = proxy_header::of_probe(self.context.pool.config().proxy_protocol);
        let (timeout, report) = (rules.timeout, self.reporter(incarnation));
        tokio::spawn(async move { report(News::Probed(probe::ask(&endpoint, &question, &header, timeout).await)) });
    }

    /// Notes a verdict and sets the next probe.
    pub(in crate::supervisor) fn probed(&mut self, verdict: Option<Verdict>, now: Instant) {
        let state = self.slot.state();
        let rules = &self.context.pool.config().health;
        let Some(process) = &mut self.process else { return };
        let wait = match state {
            SlotState::Starting => readiness_pause(now - process.launched),
            _ if verdict.as_ref().is_some_and(|verdict| verdict.check != Check::Ok) || self.slot.is_in_doubt() => {
                rules.fast_interval
            }
            _ => rules.interval.mul_f64(0.9 + 0.2 * self.chance.f64()),
        };
        let goes_on = matches!(state, SlotState::Starting | SlotState::Ready | SlotState::Suspect);
        process.next_probe = goes_on.then(|| now + wait);
        let Some(verdict) = verdict else { return };
        if state != SlotState::Starting {
            process.upstream.stats.checks[verdict.check as usize].increment();
            self.context.pool.stats.check.shard(0).record(verdict.took);
        }
        let is_ok = verdict.check == Check::Ok;
        self.last_check = Some(CheckStatus { what: verdict.what, is_ok, took: verdict.took, at: SystemTime::now() });
    }

    pub(in crate::supervisor) fn look_if_due(&mut self, now: Instant) {
        let is_starting = self.slot.state() == SlotState::Starting;
        let Some(process) = &mut self.process else { return };
        if process.next_look.is_none_or(|due| due > now) {
            return;
        }
        process.next_look = is_starting.then(|| now + LOOK_AGAIN);
        if let Some(pid) = process.pid {
            let report = self.reporter(self.slot.incarnation());
            tokio::task::spawn_blocking(move || report(News::Listens(inspect::group_listeners(pid))));
        }
    }

    pub(in crate::supervisor) fn listens(&mut self, addresses: &[SocketAddr]) {
        let (state, worker, pid) = (self.slot.state(), self.name(), self.pid());
        let Some(process) = &mut self.process else { return };
        if state == SlotState::Starting {
            let told =
                elsewhere::explain_not_ready(&process.upstream.endpoint, addresses, &self.context.pool.listening);
            if let Some(told) = told.filter(|told| process.last_look.as_ref() != Some(told)) {
                tracing::warn!(%worker, pid, "{told}");
                process.last_look = Some(told);
            }
        } else {
            // Once is enough: the next incarnation is the same program.
            self.looked_exposed = true;
            if let Some(told) = elsewhere::explain_exposed(&process.upstream.endpoint, addresses) {
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
