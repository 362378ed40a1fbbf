//! Looks up the addresses where a program listens: while it starts, to explain why it is not ready; once it is ready, to
//! warn of a private port that other machines can reach.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::context::ProcessContext;
use super::diagnosis;
use crate::config::Address;
use crate::os::{accepts, inspect};
use crate::rotation::Endpoint;
use crate::supervisor::WorkerEvent;

/// The pause between looks at a program that said READY=1: does it wait at the listeners that it was handed?
const ACCEPTS_LOOK: Duration = Duration::from_millis(500);
/// The interval at which a program that is not ready is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The most CPU time that an idle group may use: a few ticks of the kernel's clock.
const IDLE_CPU: f64 = 0.03;
/// The time without CPU use after which a group that listens on another address counts as idle there.
const IDLE_FOR: Duration = Duration::from_secs(3);

/// The looks at the addresses where one process listens.
#[derive(Debug, Default)]
pub(super) struct ListenLooks {
    /// The time of the next look; `None` while one is under way, and if none is wanted.
    next: Option<Instant>,
    /// The reason why the process is not ready, if it listens on another address.
    diagnosis: Option<String>,
    /// While the program listens on another address: the CPU seconds that its group had used, and since when it has
    /// used no more.
    cpu_while_on_other_port: Option<(f64, Instant)>,
    /// True once the looks have begun, after READY=1, that show if the process waits at the listeners that it was
    /// handed.
    is_asked_if_it_accepts: bool,
}

impl ListenLooks {
    /// The time of the next look.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// Makes the next look at that time; never, if there is none.
    pub(super) fn schedule(&mut self, next: Option<Instant>) {
        self.next = next;
    }

    /// Begins a look, on a thread that may block on `/proc`. With many connections a look takes long: its answer
    /// schedules the next one, never two at a time.
    pub(super) fn look(&mut self, process: &ProcessContext, is_starting: bool) {
        self.next = None;
        let report = process.reporter();
        if let Some(pid) = process.pid() {
            tokio::task::spawn_blocking(move || {
                let cpu_seconds = is_starting.then(|| inspect::group_usage(pid).cpu_seconds);
                report(WorkerEvent::Listens(inspect::group_listeners(pid), cpu_seconds));
            });
        }
    }

    /// Looks repeatedly, on a thread that may block on `/proc`, until a program that said it is ready waits at the
    /// listeners that it was handed, or may do so: a program that waits only at a listener of its own serves no client.
    pub(super) fn look_if_it_accepts(&mut self, process: &ProcessContext) {
        // If there is no process yet, this is called again when there is one.
        let (Some(group), false) = (process.pid(), self.is_asked_if_it_accepts) else { return };
        self.is_asked_if_it_accepts = true;
        let report = process.reporter();
        let tries = process.config.ready_timeout.as_millis() / ACCEPTS_LOOK.as_millis() + 1;
        let ports = process.shared.pool.listening().iter().filter_map(Address::port).collect::<HashSet<_>>();
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

    /// Takes the addresses where a process listens that is not ready. `endpoint` is where it shall listen; `is_refused`
    /// is true if that refuses connections.
    pub(super) fn seen_before_ready(
        &mut self,
        process: &ProcessContext,
        endpoint: &Endpoint,
        addresses: &[SocketAddr],
        is_refused: bool,
        cpu_seconds: Option<f64>,
        now: Instant,
    ) {
        self.next = Some(now + LOOK_AGAIN);
        let (passed_as, public) = (process.config.passed_as(), process.shared.pool.listening());
        let told = diagnosis::explain_not_ready(endpoint, passed_as, addresses, &public, is_refused);
        if let Some(told) = self.diagnosed(told, cpu_seconds, now) {
            tracing::warn!(worker = %process.name(), pid = process.pid(), why = %told, "program does not listen where it shall");
        }
    }

    /// Stores the diagnosis of a look. Returns it if it is a new one.
    fn diagnosed(&mut self, told: Option<String>, cpu_seconds: Option<f64>, now: Instant) -> Option<&str> {
        match (&told, cpu_seconds) {
            (Some(_), Some(cpu_seconds)) => self.seen_on_other_port(cpu_seconds, now),
            (None, _) => (self.diagnosis, self.cpu_while_on_other_port) = (None, None),
            (Some(_), None) => {}
        }
        let new = told.filter(|told| self.diagnosis.as_ref() != Some(told))?;
        Some(self.diagnosis.insert(new))
    }

    /// Records that the process group listens on another address, and the CPU time that it has used.
    fn seen_on_other_port(&mut self, cpu_seconds: f64, now: Instant) {
        match self.cpu_while_on_other_port {
            Some((used, _)) if cpu_seconds <= used + IDLE_CPU => {}
            _ => self.cpu_while_on_other_port = Some((cpu_seconds, now)),
        }
    }

    /// The reason why the process is not ready, if it listens on another address.
    pub(super) fn diagnosis(&self) -> Option<&str> {
        self.diagnosis.as_deref()
    }

    /// Returns true if the program listens on another address and does nothing more.
    pub(super) fn is_idle_on_other_port(&self, now: Instant) -> bool {
        self.diagnosis.is_some() && self.cpu_while_on_other_port.is_some_and(|(_, since)| now - since >= IDLE_FOR)
    }
}

/// The looks of a slot for a private port that other machines can reach. One look is enough for the slot and all its
/// later processes, even if the process exits before the answer.
#[derive(Debug, Default)]
pub(super) struct ExposureLook {
    is_begun: bool,
    has_warned: bool,
}

impl ExposureLook {
    pub(super) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Records that the look has begun.
    pub(super) fn begin(&mut self) {
        self.is_begun = true;
    }

    /// Takes the addresses where a ready process listens, and warns once. A look that began before the worker was ready
    /// may end after it, beside the look that its readiness began.
    pub(super) fn seen(&mut self, process: &ProcessContext, endpoint: &Endpoint, addresses: &[SocketAddr]) {
        let told = diagnosis::explain_exposed(endpoint, addresses);
        if let Some(told) = told.filter(|_| !std::mem::replace(&mut self.has_warned, true)) {
            tracing::warn!(worker = %process.name(), pid = process.pid(), why = %told, "private port can be reached by others");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagnosis_is_told_once_until_it_changes() {
        let (mut looks, now) = (ListenLooks::default(), Instant::now());
        let mut told = |text: Option<&str>| looks.diagnosed(text.map(str::to_owned), Some(1.0), now).map(str::to_owned);
        assert_eq!(told(Some("a")).as_deref(), Some("a"));
        assert_eq!(told(Some("a")), None);
        assert_eq!(told(Some("b")).as_deref(), Some("b"));
        assert_eq!(told(None), None);
        assert_eq!(told(Some("b")).as_deref(), Some("b"), "it was right in between");
    }

    #[test]
    fn program_is_idle_on_another_port_after_3_s_without_cpu() {
        let (mut looks, begun) = (ListenLooks::default(), Instant::now());
        let mut at = |cpu, seconds| {
            let now = begun + Duration::from_secs(seconds);
            looks.diagnosed(Some("elsewhere".to_owned()), Some(cpu), now);
            looks.is_idle_on_other_port(now)
        };
        assert_eq!([at(1.0, 0), at(1.0, 2), at(2.0, 4), at(2.0, 6), at(2.01, 7)], [false, false, false, false, true]);
    }
}
