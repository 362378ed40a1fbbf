//! Passes each event of a process, and each effect that the slot decides, to the process that it is about.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::time::Instant;

use super::channel::{self, ChannelOutcome};
use super::exit::told_to_end;
use super::launch::{self, Launch};
use super::listener_owner::OwnerCheck;
use super::notify::NotifyMessage;
use super::probe::CheckResult;
use super::spec::signal_of;
use super::{Event, WorkerSlot};
use crate::channel::ChannelEvent;
use crate::os::accept_queue::PeerId;
use crate::os::child::{Exit, StartError};
use crate::pool::ExitStatus;
use crate::rotation::{SlotId, Standing};
use crate::stats::Restart as Cause;
use crate::supervisor::WorkerEvent;
use crate::supervisor::operation::outcome::WorkerOutcome;

/// The effects that the slot decides.
impl WorkerSlot {
    /// Starts the process of an incarnation. If the workers accept, it inherits `public`.
    pub(in crate::supervisor) fn launch(
        &mut self,
        incarnation: u64,
        workers: u32,
        public: &[Arc<OwnedFd>],
        now: Instant,
    ) -> Result<(), StartError> {
        let Some(state) = self.slot.process(incarnation) else { return Ok(()) };
        let is_counted = self.slot.current().is_some_and(|present| present.incarnation == incarnation);
        let launch = Launch { context: &self.context, slot: self.id, stats: &self.stats, workers, public, is_counted };
        let process = launch.run(state, now)?;
        self.starts += u64::from(is_counted);
        self.processes.insert(incarnation, process);
        Ok(())
    }

    /// Counts a replacement that serves for good as a start of the slot.
    pub(in crate::supervisor) fn count_start(&mut self, incarnation: u64) {
        let process = self.processes.get_mut(&incarnation).filter(|process| !process.is_counted);
        if let Some(process) = process {
            process.is_counted = true;
            self.starts += 1;
        }
    }

    /// Records that the process is in rotation now, for the first time or again.
    pub(in crate::supervisor) fn admitted(&mut self, incarnation: u64, now: Instant) {
        let wants_exposure = self.id == SlotId(0) && !self.exposure.is_begun();
        let chance = self.chance.f64();
        if let Some(process) = self.processes.get_mut(&incarnation) {
            process.admitted(wants_exposure, chance, now);
        }
    }

    /// Records that the process is suspect now.
    pub(in crate::supervisor) fn suspected(&mut self, incarnation: u64) {
        self.stats.health_transitions.increment();
        let why = self.why_suspect(incarnation);
        if !self.is_log_limited("suspect") {
            let (worker, pid) = (self.name(), self.logged_pid(incarnation));
            tracing::warn!(%worker, pid, why, "worker unhealthy, removed from rotation");
        }
    }

    /// Records that the process is busy now. Logged at debug level only: a worker that serves one client at a time is
    /// busy all the time.
    pub(in crate::supervisor) fn busy(&mut self, incarnation: u64) {
        let why = self.why_busy(incarnation);
        tracing::debug!(worker = %self.name(), pid = self.logged_pid(incarnation), why, "worker busy");
        if let Some(process) = self.processes.get_mut(&incarnation) {
            process.admissions.busy();
        }
    }

    /// Begins the drain of a process that has left the rotation for good.
    pub(in crate::supervisor) fn begin_drain(&mut self, incarnation: u64, now: Instant) {
        if let Some((state, process)) = self.of(incarnation) {
            process.begin_drain(state.was_busy, now);
        }
    }

    /// From now on closes connections of the process that have no response pending.
    pub(in crate::supervisor) fn close_idle(&self, incarnation: u64) {
        self.context.data_path.close_idle(self.id, incarnation);
    }

    /// Ends the open connections of the process.
    pub(in crate::supervisor) fn abort(&self, incarnation: u64) {
        if let Some(process) = self.processes.get(&incarnation) {
            process.abort();
        }
    }

    /// Records that the process was not ready in time.
    pub(in crate::supervisor) fn late(&mut self, incarnation: u64) {
        if let Some(process) = self.processes.get_mut(&incarnation) {
            process.late();
        }
    }

    /// Disconnects the process from Node's cluster.
    pub(in crate::supervisor) fn disconnect(&mut self, incarnation: u64, now: Instant) {
        if let Some(process) = self.processes.get_mut(&incarnation) {
            process.disconnect(now);
        }
    }

    /// Sends the process its stop signal.
    pub(in crate::supervisor) fn terminate(&mut self, incarnation: u64, now: Instant) {
        if let Some(process) = self.processes.get_mut(&incarnation) {
            process.terminate(now);
        }
    }

    pub(in crate::supervisor) fn kill(&self, incarnation: u64) {
        if let Some(process) = self.processes.get(&incarnation) {
            process.kill();
        }
    }

    /// Logs the reason why the process's group is about to be killed, unless that was logged already.
    pub(in crate::supervisor) fn tell_why_killed(&self, incarnation: u64) {
        let (worker, pid) = (self.name(), self.logged_pid(incarnation));
        match self.slot.process(incarnation).is_some_and(|state| state.kept_its_queue) {
            _ if self.is_hung(incarnation) => {}
            true => tracing::warn!(
                %worker, pid,
                "draining worker does not take its waiting clients: killing its process group, other workers answer them"
            ),
            false => tracing::warn!(%worker, pid, "worker did not end within kill-timeout: killing its process group"),
        }
    }
}

/// The events of processes. Each returns the event that it means for the slot, if any.
impl WorkerSlot {
    pub(in crate::supervisor) fn forked(
        &mut self,
        incarnation: u64,
        pid: u32,
        stdout: OwnedFd,
        stderr: OwnedFd,
    ) -> Option<Event> {
        self.processes.get_mut(&incarnation)?.forked(pid, stdout, stderr, &self.context.resources.output)
    }

    pub(in crate::supervisor) fn executed(&mut self, incarnation: u64, now: Instant) -> Option<Event> {
        self.processes.get_mut(&incarnation)?.executed(now)
    }

    /// Reports that the program could not be started. Returns an event if there is no process whose exit follows.
    pub(in crate::supervisor) fn start_failed(&mut self, incarnation: u64, error: &StartError) -> Option<Event> {
        let what = launch::start_error(self.slot.process(incarnation), error);
        tracing::error!(worker = %self.name(), why = %what, "worker could not be started");
        self.exits.set_last_start_failed(true);
        match self.processes.get_mut(&incarnation) {
            Some(process) => {
                process.exit.fail_start(what);
                if process.context.pid().is_some() {
                    return None;
                }
                self.exited(incarnation, None);
            }
            None => {
                self.exits.record(incarnation, ExitStatus::new(what.clone(), -1));
                self.stats.last_exit.set(-1);
                self.exits.record_failed_start(incarnation, what);
                self.context.reporter(self.id, incarnation)(WorkerEvent::LastLines(Arc::default()));
            }
        }
        Some(Event::Exited(incarnation))
    }

    /// Handles a message that the process sent to its `NOTIFY_SOCKET`.
    pub(in crate::supervisor) fn on_notify(
        &mut self,
        incarnation: u64,
        message: NotifyMessage,
        now: Instant,
    ) -> Option<Event> {
        let event = self.processes.get_mut(&incarnation)?.notified(&message, now);
        if message == NotifyMessage::Beat { self.reconsider(now) } else { event }
    }

    /// Handles an event of a process's channel.
    pub(in crate::supervisor) fn on_channel_event(&mut self, incarnation: u64, event: ChannelEvent) -> Option<Event> {
        let process = self.processes.get(&incarnation)?;
        match channel::on_event(&process.context, event) {
            ChannelOutcome::Nothing => None,
            ChannelOutcome::Event(event) => Some(event),
            ChannelOutcome::Kill => {
                process.kill();
                None
            }
        }
    }

    /// Records that Node runs in that process; the application has not done anything yet.
    pub(in crate::supervisor) fn node_runs(&mut self, incarnation: u64) {
        if let Some(process) = self.processes.get_mut(&incarnation) {
            process.channel.node_runs();
        }
    }

    /// Returns the event that the application leaves the cluster itself (`cluster.worker.disconnect()`, `kill()`).
    pub(in crate::supervisor) fn leaves(&self, incarnation: u64) -> Option<Event> {
        let is_present = self.slot.current().is_some_and(|state| state.incarnation == incarnation);
        is_present.then_some(Event::Leaves(incarnation))
    }

    /// Records that a check has connected to that process from this address.
    pub(in crate::supervisor) fn checking(&mut self, incarnation: u64, from: PeerId) {
        if let Some(process) = self.processes.get_mut(&incarnation) {
            process.progress.record_check(from);
        }
    }

    /// Takes the result of a check; `None` if our own clock was too late for one.
    pub(in crate::supervisor) fn probed(
        &mut self,
        incarnation: u64,
        result: Option<CheckResult>,
        now: Instant,
    ) -> Option<Event> {
        let chance = self.chance.f64();
        let (state, process) = self.of(incarnation)?;
        process.probed(state, result, chance, now)
    }

    /// Probes a worker at once, because the data path saw a failure.
    pub(in crate::supervisor) fn probe_soon(&mut self, incarnation: u64, now: Instant) {
        if let Some(process) = self.processes.get_mut(&incarnation) {
            process.checks.hurry(now);
        }
    }

    /// Takes the addresses where a program listens.
    pub(in crate::supervisor) fn listens(
        &mut self,
        incarnation: u64,
        addresses: &[SocketAddr],
        cpu_seconds: Option<f64>,
        now: Instant,
    ) {
        let is_starting = self.slot.process(incarnation).is_some_and(|state| state.is_starting());
        if let Some(process) = self.processes.get_mut(&incarnation) {
            process.listens(is_starting, addresses, cpu_seconds, &mut self.exposure, now);
        }
    }

    /// Delays the ready event of a process until the owner of its port is known.
    pub(in crate::supervisor) fn after_port_owner(&mut self, event: Event) -> Option<Event> {
        let Event::Ready(incarnation) = event else { return Some(event) };
        let is_delayed = self
            .of(incarnation)
            .is_some_and(|(state, process)| state.is_starting() && process.port_owner.delays_ready(&process.context));
        (!is_delayed).then_some(event)
    }

    /// Takes the result of a check of a port's owner.
    pub(in crate::supervisor) fn port_owner_seen(&mut self, incarnation: u64, look: OwnerCheck) -> Option<Event> {
        let (state, process) = self.of(incarnation)?;
        process.port_owner_seen(state.is_starting(), look)
    }

    /// Stores the duplicate of a process's listener, or logs why there is none.
    pub(in crate::supervisor) fn listener_dup(&mut self, incarnation: u64, taken: std::io::Result<OwnedFd>) {
        if let Some(process) = self.processes.get_mut(&incarnation) {
            process.listener_dup(taken);
        }
    }

    /// Logs that the process that was started has exited while others of its group have not.
    pub(in crate::supervisor) fn leader_ended(&self, incarnation: u64) {
        let (worker, pid) = (self.name(), self.logged_pid(incarnation));
        tracing::debug!(%worker, pid, "leader ended, waiting for the rest of its process group");
    }

    /// Records that the process has exited by itself with code 0 while a process of this name went on.
    pub(in crate::supervisor) fn went_to_background(&mut self, incarnation: u64, name: String, now: Instant) {
        let is_asked = self.slot.retiring().iter().any(|state| state.incarnation == incarnation);
        if let Some(process) = self.processes.get_mut(&incarnation).filter(|_| !is_asked) {
            process.went_to_background(name, now);
        }
    }

    /// Handles the exit of a process; `exit` is `None` if there never was a process.
    pub(in crate::supervisor) fn exited(&mut self, incarnation: u64, exit: Option<Exit>) {
        let Some(process) = self.processes.remove(&incarnation) else { return };
        let config = &process.context.config;
        process.context.upstream.set_standing(Standing::Dead);
        let what = process.exit.in_words(exit, self.is_hung(incarnation), &config.program);
        let (worker, pid) = (self.name(), process.logged_pid());
        let retiring = self.slot.retiring().iter().find(|state| state.incarnation == incarnation);
        let is_asked = retiring.is_some();
        let told = retiring.and_then(|state| state.told_to_end);
        let why = told.map(|told| told_to_end(told, exit, signal_of(config.stop_signal).as_raw()));
        if process.exit.start_error().is_none() {
            if is_asked {
                tracing::info!(%worker, pid, exit = %what, why, "worker ended");
            } else {
                tracing::warn!(%worker, pid, exit = %what, "worker died");
            }
            self.exits.set_last_start_failed(false);
        }
        // A late process was reported already, and no operation waits for an abandoned one.
        let is_late = self.slot.process(incarnation).is_some_and(|state| state.fault == Some(Cause::NeverReady));
        if !process.admissions.was_ready() && !is_asked && !is_late {
            self.exits.record_failed_start(incarnation, what.clone());
        }
        let code = exit.map_or(-1, Exit::code);
        self.stats.last_exit.set(i64::from(code));
        self.exits.record(incarnation, ExitStatus { why, ..ExitStatus::new(what.clone(), code) });
        if process.drain.is_some() {
            self.exits.begin_count();
        }
        process.clean_up(what);
    }

    /// Records that the connections of an exited process have all ended and are counted.
    pub(in crate::supervisor) fn counted(&mut self) {
        self.exits.counted();
    }

    /// Stores the last lines of a process. Returns an outcome if it never was in rotation.
    pub(in crate::supervisor) fn record_last_lines(
        &mut self,
        incarnation: u64,
        lines: Arc<[String]>,
    ) -> Option<WorkerOutcome> {
        let why = self.exits.record_last_lines(incarnation, &lines)?;
        Some(WorkerOutcome::Failed { slot: self.id.index(), incarnation, why, last_lines: lines })
    }
}
