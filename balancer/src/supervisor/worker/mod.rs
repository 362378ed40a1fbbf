//! A slot with its processes: passes events to the process that they are about, applies the slot's decisions, and tells
//! the state of both.
//!
//! The pure [`Slot`] decides for the slot, and the parts of a [`WorkerProcess`] decide for the process; [`WorkerSlot`]
//! passes on, logs and counts (`events`, `samples`). A part keeps its fields to itself. It is given the [`context::ProcessContext`]
//! and what else it needs, and returns what follows.
//!
//! | part | its question |
//! |---|---|
//! | [`checks`] | When is the next check, and is it needed at all? |
//! | [`progress`] | Does the process make progress, or is it hung? |
//! | [`listens`] | Where does the program listen, if not where it shall? |
//! | [`port_owner`] | May the listener at its private port be trusted? |
//! | [`recovery`] | Does the master hold the listener too, so that it can save the clients in its queue? |
//! | [`notifications`] | What did the process say on its notify socket? |
//! | [`channel`] | Which commands and pings go to its channel, and what do its events mean? |
//! | [`admission`] | Was the process in rotation? |
//! | [`recycling`] | Is it too old, or is its socket path gone? |
//! | [`drain`] | Can a connection still reach the process that left the rotation? |
//! | [`exit`] | Why did it end, and what were its last lines? |

mod admission;
mod channel;
mod checks;
mod context;
mod diagnosis;
mod drain;
mod endpoint;
mod events;
mod exit;
mod exit_history;
mod foreground;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod launch;
pub(super) mod listener_owner;
mod listens;
mod log_limit;
mod notifications;
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
use std::time::SystemTime;

use tokio::time::Instant;

use super::operation::outcome::WorkerOutcome;
use super::operation::startup::StartupReport;
use super::slot::process::ProcessState;
use super::slot::{Event, Slot};
use crate::channel::ChannelCommand;
use crate::pool::operation::OperationStep;
use crate::pool::{OtherStatus, SlotState, WorkerStatus};
use crate::rotation::{SlotId, Upstream};
use crate::stats::{Restart as Cause, SlotStats};
use exit_history::ExitHistory;
use listens::ExposureLook;
use process::{Processes, WorkerProcess};

pub(super) use context::Context;
pub(super) use progress::LookAt;

/// A slot and its processes.
pub(super) struct WorkerSlot {
    pub(super) slot: Slot,
    id: SlotId,
    context: Arc<Context>,
    stats: Arc<SlotStats>,
    processes: Processes,
    exits: ExitHistory,
    exposure: ExposureLook,
    /// The state when it was last recorded, and the time since which it is that.
    state: SlotState,
    since: SystemTime,
    starts: u64,
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
            exits: ExitHistory::default(),
            exposure: ExposureLook::default(),
            state: SlotState::Stopped,
            since: SystemTime::now(),
            starts: 0,
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

    fn logged_pid(&self, incarnation: u64) -> u32 {
        self.pid_of(incarnation).unwrap_or(0)
    }

    /// The process of an incarnation with its state, while there is one.
    fn of(&mut self, incarnation: u64) -> Option<(&ProcessState, &mut WorkerProcess)> {
        Some((self.slot.process(incarnation)?, self.processes.get_mut(&incarnation)?))
    }

    /// All processes with their states.
    fn all(&mut self) -> impl Iterator<Item = (&ProcessState, &mut WorkerProcess)> {
        let slot = &self.slot;
        self.processes.iter_mut().filter_map(|(&incarnation, process)| Some((slot.process(incarnation)?, process)))
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
        self.slot.retiring().iter().all(ProcessState::has_long_drain) && self.exits.is_counted()
    }

    /// Returns true if the slot has no process, will have none, and all connections are counted.
    pub(super) fn is_over(&self) -> bool {
        self.slot.is_over() && self.exits.is_counted()
    }

    /// Returns true if a cause that this worker can repeat without end was already logged a few times within the
    /// minute. The first line after that says how many were left out.
    pub(super) fn is_log_limited(&self, cause: &'static str) -> bool {
        self.context.is_log_limited(self.id, cause)
    }

    /// Sends a command to the channel of a process. Returns false if it has none.
    pub(super) fn send_command(&self, incarnation: u64, command: ChannelCommand) -> bool {
        self.processes.get(&incarnation).is_some_and(|process| process.channel.send(command))
    }

    /// Returns true if that process is being killed because it is hung.
    fn is_hung(&self, incarnation: u64) -> bool {
        self.slot.process(incarnation).is_some_and(|state| state.fault == Some(Cause::Hung))
    }

    /// The sign against a process, in words.
    pub(super) fn reason(&self, incarnation: u64) -> &'static str {
        self.processes.get(&incarnation).map_or("", |process| process.progress.reason(Instant::now()))
    }

    /// Returns the reason why a process is busy.
    fn why_busy(&self, incarnation: u64) -> &'static str {
        match self.reason(incarnation) {
            "" => "it serves clients and shows no progress",
            reason => reason,
        }
    }

    /// Returns the reason why a process is suspect.
    fn why_suspect(&self, incarnation: u64) -> String {
        let failed = self.processes.get(&incarnation).and_then(|process| process.checks.failed());
        match (self.reason(incarnation), failed) {
            ("", Some(check)) => check.to_owned(),
            ("", None) => "it closed its channel or its listeners, or said that it ends".to_owned(),
            (reason, _) => reason.to_owned(),
        }
    }

    /// The exit of that process in words, if it was the last one to exit.
    pub(super) fn exit_of(&self, incarnation: u64) -> Option<&str> {
        self.exits.of(incarnation)
    }

    /// The last lines of that process, as far as they are known.
    pub(super) fn last_lines(&self, incarnation: u64) -> Arc<[String]> {
        self.processes.get(&incarnation).map(|process| process.exit.last_lines()).unwrap_or_default()
    }

    /// The outcome of a process that was not ready in time, while it is being ended.
    pub(super) fn lateness(&self, incarnation: u64) -> Option<WorkerOutcome> {
        let process = self.processes.get(&incarnation)?;
        let (why, last_lines) = (status::late(process), process.exit.last_lines());
        Some(WorkerOutcome::Failed { slot: self.id.index(), incarnation, why, last_lines })
    }

    /// Records a change of state. Returns the state before.
    pub(super) fn record_state(&mut self) -> SlotState {
        let is = self.slot.state();
        if is != self.state {
            self.since = SystemTime::now();
        }
        std::mem::replace(&mut self.state, is)
    }

    pub(super) fn status(&self) -> WorkerStatus {
        let shown = self.slot.current().or(self.slot.retiring().last()).map(|state| state.incarnation);
        let process = shown.and_then(|incarnation| self.processes.get(&incarnation));
        let backoff = self.slot.next_start().filter(|_| matches!(self.state, SlotState::Backoff | SlotState::Failed));
        let others = self.slot.replacement().into_iter().chain(self.slot.parked()).chain(self.slot.retiring());
        let others = others.filter(|state| Some(state.incarnation) != shown);
        WorkerStatus {
            slot: self.id,
            state: self.state,
            since: self.since,
            generation: self.slot.generation(),
            pid: process.and_then(|process| process.context.pid()),
            started: process.map(|process| process.context.started),
            endpoint: process.map(|process| process.context.upstream.endpoint.clone()),
            status_text: process.and_then(|process| process.notifications.status_text().map(str::to_owned)),
            backoff: backoff.map(|until| until.saturating_duration_since(Instant::now())),
            restarts: self.starts.saturating_sub(1),
            last_exit: self.exits.last().cloned(),
            last_check: process.and_then(|process| process.checks.last().cloned()),
            reason: shown.and_then(|incarnation| match self.state {
                SlotState::Suspect => Some(self.why_suspect(incarnation)),
                SlotState::Busy => Some(self.why_busy(incarnation).to_owned()),
                _ => None,
            }),
            others: others.filter_map(|state| self.other(state)).collect(),
        }
    }

    fn other(&self, state: &ProcessState) -> Option<OtherStatus> {
        let process = self.processes.get(&state.incarnation)?;
        let is_parked = self.slot.parked().is_some_and(|parked| parked.incarnation == state.incarnation);
        Some(status::of_other(process, if is_parked { SlotState::Parked } else { state.state() }))
    }

    /// Returns the progress step of an operation that reports a process in rotation.
    pub(super) fn ready_step(&self, incarnation: u64, from: Option<u64>) -> Option<OperationStep> {
        let process = self.processes.get(&incarnation)?;
        Some(OperationStep::Ready {
            slot: self.id.0,
            pid: process.logged_pid(),
            instead_of: from.map(|from| self.logged_pid(from)).filter(|&pid| pid > 0),
            after: process.context.launched.elapsed(),
        })
    }

    /// Returns the slot's account for the error of a failed start.
    pub(super) fn startup_report(&self) -> StartupReport {
        let (process, exit) = (self.present(), self.exits.last());
        let ready_timeout = humantime::format_duration(self.context.pool.config().ready_timeout);
        let not_ready = || match process {
            Some(process) => status::not_ready(process, ready_timeout),
            None => "was not started".to_owned(),
        };
        StartupReport {
            worker: self.name(),
            exits: self.slot.exits(),
            cannot_start: self.exits.last_start_failed(),
            what: exit.map(|exit| exit.what.clone()).unwrap_or_else(not_ready),
            listen_diagnosis: process.and_then(|process| process.listens.diagnosis().map(str::to_owned)),
            is_idle_on_other_port: process.is_some_and(|process| process.listens.is_idle_on_other_port(Instant::now())),
            last_lines: exit.map(|exit| Arc::clone(&exit.last_lines)).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
