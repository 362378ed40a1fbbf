//! A slot with its processes: applies the slot's decisions, and keeps the reported state of each process.

mod channel;
mod checks;
mod context;
mod diagnosis;
mod drain;
mod endpoint;
mod exit;
mod foreground;
mod launch;
pub(super) mod listener_owner;
mod log_limit;
pub(super) mod notify;
mod port_owner;
pub(super) mod probe;
mod process;
mod progress;
mod recovery;
mod recycling;
mod samples;
pub(super) mod spec;
mod status;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::WorkerEvent;
use super::slot::process::ProcessState;
use super::slot::{Event, Slot};
use crate::channel::ChannelCommand;
use crate::config::{PassedAs, Probe, Ready};
use crate::mode::Acceptor;
use crate::os::child::EndRequest;
use crate::pool::{ExitStatus, SlotState};
use crate::rotation::{Endpoint, SlotId, Upstream};
use crate::stats::{Restart as Cause, SlotStats};
use notify::NotifyMessage;
use process::{Draining, Processes, WorkerProcess};
use spec::signal_of;

pub(super) use context::Context;
pub(super) use progress::LookAt;

/// A slot and its processes.
pub(super) struct WorkerSlot {
    pub(super) slot: Slot,
    id: SlotId,
    context: Arc<Context>,
    stats: Arc<SlotStats>,
    processes: Processes,
    /// The number of ended processes whose connections are not all counted yet.
    uncounted: usize,
    /// Processes that ended before they were ever in rotation, with the cause: their last lines are still to come.
    failed_starts: Vec<(u64, String)>,
    state: SlotState,
    since: SystemTime,
    starts: u64,
    last_exit: Option<(u64, ExitStatus)>,
    last_start_failed: bool,
    looked_exposed: bool,
    warned_exposed: bool,
    chance: fastrand::Rng,
}

impl WorkerSlot {
    pub(super) fn new(index: usize, generation: u64, context: &Arc<Context>) -> Self {
        let mut chance = fastrand::Rng::new();
        Self {
            slot: Slot::new(Arc::clone(&context.pool.config()), generation, chance.u64(..)),
            id: SlotId(u32::try_from(index).unwrap_or(u32::MAX)),
            stats: Arc::clone(&context.pool.slots()[index]),
            context: Arc::clone(context),
            processes: Processes::new(),
            uncounted: 0,
            failed_starts: Vec::new(),
            state: SlotState::Stopped,
            since: SystemTime::now(),
            starts: 0,
            last_exit: None,
            last_start_failed: false,
            looked_exposed: false,
            warned_exposed: false,
            chance,
        }
    }

    /// Returns `pool/slot`.
    pub(super) fn name(&self) -> String {
        self.context.name_of(self.id)
    }

    /// Returns the pid of an incarnation's process, while there is one.
    pub(super) fn pid_of(&self, incarnation: u64) -> Option<u32> {
        self.processes.get(&incarnation)?.context.pid()
    }

    fn pid(&self, incarnation: u64) -> u32 {
        self.pid_of(incarnation).unwrap_or(0)
    }

    /// The process that serves, or is starting to.
    fn present(&self) -> Option<&WorkerProcess> {
        self.processes.get(&self.slot.current()?.incarnation)
    }

    fn present_mut(&mut self) -> Option<&mut WorkerProcess> {
        self.processes.get_mut(&self.slot.current()?.incarnation)
    }

    /// The process group of the present process.
    pub(super) fn group(&self) -> Option<u32> {
        self.present()?.context.pid()
    }

    /// The upstream of the present process.
    pub(super) fn upstream(&self) -> Option<&Arc<Upstream>> {
        Some(&self.present()?.context.upstream)
    }

    /// All upstreams of the slot, also those of starting and retiring processes.
    pub(super) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.processes.values().map(|process| &process.context.upstream)
    }

    /// Returns true if the slot has any process, in whatever state.
    pub(super) fn has_process(&self) -> bool {
        !self.processes.is_empty()
    }

    /// Returns true if no process of the slot is retiring any more, and the connections of those that left are counted.
    /// A busy process that was replaced may drain for long, so it is not waited for here, only when the slot itself
    /// ends.
    pub(super) fn has_none_retiring(&self) -> bool {
        self.slot.retiring().iter().all(ProcessState::has_long_drain) && self.uncounted == 0
    }

    /// Returns true if the slot has no process, will have none, and all connections are counted.
    pub(super) fn is_over(&self) -> bool {
        self.slot.is_over() && self.uncounted == 0
    }

    /// Returns a function that sends events of an incarnation from another task or thread.
    fn reporter(&self, incarnation: u64) -> impl Fn(WorkerEvent) + Send + Sync + Clone + 'static {
        self.context.reporter(self.id, incarnation)
    }

    /// Handles a message that the process sent to its `NOTIFY_SOCKET`.
    pub(super) fn on_notify(&mut self, incarnation: u64, message: NotifyMessage, now: Instant) -> Option<Event> {
        let process = self.processes.get_mut(&incarnation)?;
        match message {
            NotifyMessage::Ready => {
                process.said_ready = true;
                return self.ready_said(incarnation, now);
            }
            NotifyMessage::Beat => {
                process.progress.beat(now);
                return self.reconsider(now);
            }
            NotifyMessage::DrainsBySignal => process.drains_by_signal = true,
            NotifyMessage::Status(text) => process.status_text = Some(text),
            NotifyMessage::Stopping => {
                process.status_text = Some("stopping".to_owned());
                process.said_stopping = true;
                // A quiesced process has no queue, and most say this when the master has told them to end.
                if process.drain.as_ref().is_some_and(|drain| drain.next_look.is_some()) {
                    self.recall_queue(incarnation);
                }
                return Some(Event::Stopping(incarnation));
            }
        }
        None
    }

    /// Handles `READY=1`. A preforking server sends it before its application is imported, and a program that cannot be
    /// a worker of this mode may send it too: if the program can be probed, the first check is made at once and
    /// decides.
    pub(super) fn ready_said(&mut self, incarnation: u64, now: Instant) -> Option<Event> {
        let process = self.processes.get_mut(&incarnation)?;
        let config = &process.context.config;
        let is_asked = matches!(config.health.probe, Probe::Http { .. } | Probe::Channel);
        match config.ready {
            Ready::Probe => {
                self.probe_soon(incarnation, now);
                None
            }
            Ready::Notify if is_asked => {
                process.next_probe.get_or_insert(now);
                self.probe_soon(incarnation, now);
                None
            }
            _ if process.context.upstream.endpoint == Endpoint::Inherited && config.passed_as() != PassedAs::Node => {
                self.look_if_it_accepts(incarnation);
                None
            }
            _ => process.context.pid().map(|_| Event::Ready(incarnation)),
        }
    }

    /// Records that the process is in rotation now, for the first time or again.
    pub(super) fn admitted(&mut self, incarnation: u64, now: Instant) {
        let (name, id, looked) = (self.name(), self.id, self.looked_exposed);
        let Some(process) = self.processes.get_mut(&incarnation) else { return };
        // Only a port can be reached from other machines, and the look is expensive.
        let can_be_exposed = matches!(process.context.upstream.endpoint, Endpoint::Tcp(_));
        process.next_look = (can_be_exposed && id == SlotId(0) && !looked).then_some(now);
        process.next_probe = (process.context.config.health.probe != Probe::None).then_some(now);
        let (pid, endpoint) = (process.context.pid().unwrap_or(0), process.context.upstream.endpoint.to_string());
        if std::mem::take(&mut process.was_busy) {
            tracing::debug!(worker = %name, pid, "worker no longer busy");
            return;
        }
        if std::mem::replace(&mut process.was_ready, true) {
            self.stats.health_transitions.increment();
            if !self.is_log_limited("healthy") {
                tracing::info!(worker = %name, pid, "worker healthy again");
            }
            return;
        }
        let took = now - process.context.launched;
        process.recycling.begin(process.context.config.max_age, self.chance.f64(), now);
        self.context.pool.stats.spawn.of_thread(0).record(took);
        let after = humantime::format_duration(Duration::from_millis(took.as_millis().try_into().unwrap_or(0)));
        tracing::info!(worker = %name, pid, endpoint, %after, "worker ready");
        self.take_listener_dup(incarnation);
    }

    /// Records that the process is suspect now.
    pub(super) fn suspected(&mut self, incarnation: u64) {
        self.stats.health_transitions.increment();
        let why = self.why_suspect(incarnation);
        if !self.is_log_limited("suspect") {
            tracing::warn!(worker = %self.name(), pid = self.pid(incarnation), why, "worker unhealthy, removed from rotation");
        }
    }

    /// Returns the reason why a process is busy.
    pub(super) fn why_busy(&self, incarnation: u64) -> &'static str {
        match self.reason(incarnation) {
            "" => "it serves clients and shows no progress",
            reason => reason,
        }
    }

    /// Returns true if that process is being killed because it is hung.
    fn is_hung(&self, incarnation: u64) -> bool {
        self.slot.process(incarnation).is_some_and(|process_state| process_state.fault == Some(Cause::Hung))
    }

    /// Returns the reason why a process is suspect.
    pub(super) fn why_suspect(&self, incarnation: u64) -> String {
        let check = self.processes.get(&incarnation).and_then(|process| process.last_check.as_ref());
        match (self.reason(incarnation), check.filter(|check| !check.is_ok)) {
            ("", Some(check)) => check.what.clone(),
            ("", None) => "it closed its channel or its listeners, or said that it ends".to_owned(),
            (reason, _) => reason.to_owned(),
        }
    }

    /// Counts a replacement that serves for good as a start of the slot.
    pub(super) fn count_start(&mut self, incarnation: u64) {
        let process = self.processes.get_mut(&incarnation).filter(|process| !process.is_counted);
        if let Some(process) = process {
            process.is_counted = true;
            self.starts += 1;
        }
    }

    /// Returns true if a cause that this worker can repeat without end was already logged a few times within the
    /// minute. The first line after that says how many were left out.
    pub(super) fn is_log_limited(&self, cause: &'static str) -> bool {
        self.context.is_log_limited(self.id, cause)
    }

    /// Records that the process is busy now. Logged at debug level only: a worker that serves one client at a time is
    /// busy all the time.
    pub(super) fn busy(&mut self, incarnation: u64) {
        let why = self.why_busy(incarnation);
        tracing::debug!(worker = %self.name(), pid = self.pid(incarnation), why, "worker busy");
        if let Some(process) = self.processes.get_mut(&incarnation) {
            process.was_busy = true;
        }
    }

    /// From now on closes connections of the process that have no response pending.
    pub(super) fn close_idle(&self, incarnation: u64) {
        self.context.data_path.close_idle(self.id, incarnation);
    }

    pub(super) fn abort(&self, incarnation: u64) {
        let Some(process) = self.processes.get(&incarnation) else { return };
        let (open, pid) = (process.context.upstream.active(), self.pid(incarnation));
        if open > 0 {
            tracing::warn!(worker = %self.name(), pid, open, "drain deadline: cutting open connections");
        }
        self.context.data_path.abort(self.id, incarnation);
    }

    /// Sends the process its stop signal.
    pub(super) fn terminate(&mut self, incarnation: u64, now: Instant) {
        self.record_end(incarnation, now);
        let Some(process) = self.processes.get_mut(&incarnation) else { return };
        process.listener_dup = None;
        let (signal, to) = (signal_of(process.context.config.stop_signal), process.context.config.stop_signal_to);
        self.context.resources.launcher.end(process.child, EndRequest::Stop(signal, to));
    }

    /// Logs that the process that was started has exited while others of its group have not.
    pub(super) fn leader_ended(&self, incarnation: u64) {
        let (worker, pid) = (self.name(), self.pid(incarnation));
        tracing::debug!(%worker, pid, "leader ended, waiting for the rest of its process group");
    }

    /// Disconnects the process from Node's cluster.
    pub(super) fn disconnect(&mut self, incarnation: u64, now: Instant) {
        self.record_end(incarnation, now);
        if let Some(process) = self.processes.get(&incarnation) {
            let (signal, to) = (signal_of(process.context.config.stop_signal), process.context.config.stop_signal_to);
            self.context.resources.launcher.end(process.child, EndRequest::Expected(signal, to));
        }
        self.send_command(incarnation, ChannelCommand::Disconnect);
    }

    /// Records the begin of a drain if the workers accept: there the drain begins with the stop signal or the
    /// disconnect.
    fn record_end(&mut self, incarnation: u64, now: Instant) {
        let is_observed = self.context.pool.mode.acceptor() == Acceptor::Master;
        let Some(process) = self.processes.get_mut(&incarnation) else { return };
        if process.was_ready && !is_observed {
            process.drain.get_or_insert(Draining {
                since: now,
                before: Default::default(),
                next_look: None,
                looks: 0,
                closed_looks: 0,
            });
        }
    }

    /// Logs the reason why the process's group is about to be killed, unless that was logged already.
    pub(super) fn tell_why_killed(&self, incarnation: u64) {
        let (worker, pid) = (self.name(), self.pid(incarnation));
        match self.slot.process(incarnation).is_some_and(|process_state| process_state.kept_its_queue) {
            _ if self.is_hung(incarnation) => {}
            true => tracing::warn!(
                %worker, pid,
                "draining worker does not take its waiting clients: killing its process group, other workers answer them"
            ),
            false => tracing::warn!(%worker, pid, "worker did not end within kill-timeout: killing its process group"),
        }
    }

    pub(super) fn kill(&self, incarnation: u64) {
        if let Some(process) = self.processes.get(&incarnation) {
            self.context.resources.launcher.end(process.child, EndRequest::Kill);
        }
    }
}
