//! Builds the status of a slot, and its report if a start failed.

use std::time::SystemTime;

use tokio::time::Instant;

use super::WorkerSlot;
use super::process::WorkerProcess;
use crate::config::{PassedAs, Ready};
use crate::pool::operation::OperationStep;
use crate::pool::{OtherStatus, SlotState, WorkerStatus};
use crate::rotation::Endpoint;
use crate::supervisor::operation::startup::StartupReport;
use crate::supervisor::slot::process::ProcessState;

/// Returns true if the process has no endpoint of its own to be ready on.
fn is_handed(process: &WorkerProcess) -> bool {
    let endpoint = &process.context.upstream.endpoint;
    matches!(endpoint, Endpoint::Inherited | Endpoint::Channel) || process.private.listener.is_some()
}

/// Returns the step that an application on Node's channel has not done, and the likely reasons.
fn node_not_ready(ready: Ready, is_online: bool) -> &'static str {
    match (ready, is_online) {
        (_, false) => "did not say on Node's channel that it runs (it must be `node FILE`, not what starts that)",
        (Ready::Message, true) => "did not send the message \"ready\"",
        (Ready::Notify, true) => "did not say READY=1",
        (_, true) => {
            "runs, but did not ask for a listener on a port: one on a path is bound there and is not the public one; one that is `exclusive`, has `reusePort`, or is in a worker thread or \
             in a process that it started (npm start, node --watch) is its own, and needs mode = \"proxy\"; it did not listen"
        }
    }
}

impl WorkerSlot {
    /// Records a change of state. Returns the state before.
    pub(in crate::supervisor) fn record_state(&mut self) -> SlotState {
        let is = self.slot.state();
        if is != self.state {
            self.since = SystemTime::now();
        }
        std::mem::replace(&mut self.state, is)
    }

    pub(in crate::supervisor) fn status(&self) -> WorkerStatus {
        let shown = self.slot.current().or(self.slot.retiring().last()).map(|process_state| process_state.incarnation);
        let process = shown.and_then(|incarnation| self.processes.get(&incarnation));
        let backoff = self.slot.next_start().filter(|_| matches!(self.state, SlotState::Backoff | SlotState::Failed));
        let others = self.slot.replacement().into_iter().chain(self.slot.parked()).chain(self.slot.retiring());
        let others = others.filter(|process_state| Some(process_state.incarnation) != shown);
        WorkerStatus {
            slot: self.id,
            state: self.state,
            since: self.since,
            generation: self.slot.generation(),
            pid: process.and_then(|process| process.context.pid()),
            started: process.map(|process| process.context.started),
            endpoint: process.map(|process| process.context.upstream.endpoint.clone()),
            status_text: process.and_then(|process| process.status_text.clone()),
            backoff: backoff.map(|until| until.saturating_duration_since(Instant::now())),
            restarts: self.starts.saturating_sub(1),
            last_exit: self.last_exit.as_ref().map(|(_, exit)| exit.clone()),
            last_check: process.and_then(|process| process.last_check.clone()),
            reason: shown.and_then(|incarnation| match self.state {
                SlotState::Suspect => Some(self.why_suspect(incarnation)),
                SlotState::Busy => Some(self.why_busy(incarnation).to_owned()),
                _ => None,
            }),
            others: others.filter_map(|process_state| self.other(process_state)).collect(),
        }
    }

    fn other(&self, process_state: &ProcessState) -> Option<OtherStatus> {
        let process = self.processes.get(&process_state.incarnation)?;
        let is_parked = self.slot.parked().is_some_and(|parked| parked.incarnation == process_state.incarnation);
        Some(OtherStatus {
            state: if is_parked { SlotState::Parked } else { process_state.state() },
            generation: process_state.generation,
            pid: process.context.pid(),
            started: process.context.started,
            last_check: process.last_check.clone(),
            active: process.context.upstream.active(),
        })
    }

    /// Returns the progress step of an operation that reports a process in rotation.
    pub(in crate::supervisor) fn ready_step(&self, incarnation: u64, from: Option<u64>) -> Option<OperationStep> {
        let process = self.processes.get(&incarnation)?;
        Some(OperationStep::Ready {
            slot: self.id.0,
            pid: process.context.pid().unwrap_or(0),
            instead_of: from.map(|from| self.pid(from)).filter(|&pid| pid > 0),
            after: process.context.launched.elapsed(),
        })
    }

    /// Returns the slot's account for the error of a failed start.
    pub(in crate::supervisor) fn startup_report(&self) -> StartupReport {
        let ready_timeout = humantime::format_duration(self.context.pool.config().ready_timeout);
        let listen_diagnosis = self.present().and_then(|process| process.last_look.clone());
        let not_ready = || match self.present() {
            Some(process) if process.context.config.passed_as() == PassedAs::Node => {
                let (pid, is_online) = (process.context.pid().unwrap_or(0), process.is_online);
                format!("pid {pid} {} within {ready_timeout}", node_not_ready(process.context.config.ready, is_online))
            }
            Some(process) if is_handed(process) => {
                format!("pid {} did not say READY=1 within {ready_timeout}", process.context.pid().unwrap_or(0))
            }
            Some(process) => {
                let pid = process.context.pid().unwrap_or(0);
                let check = process.failed_check().map_or(String::new(), |check| format!("; its last check: {check}"));
                format!(
                    "pid {pid} was not ready on {} within {ready_timeout}{check}",
                    process.context.upstream.endpoint
                )
            }
            None => "was not started".to_owned(),
        };
        let exit = self.last_exit.as_ref().map(|(_, exit)| exit);
        let what = exit.map(|exit| exit.what.clone()).unwrap_or_else(not_ready);
        let last_lines = exit.map(|exit| exit.last_lines.clone()).unwrap_or_default();
        StartupReport {
            worker: self.name(),
            exits: self.slot.exits(),
            cannot_start: self.last_start_failed,
            what,
            listen_diagnosis,
            is_idle_on_other_port: self.present().is_some_and(|process| process.is_idle_on_other_port(Instant::now())),
            last_lines,
        }
    }
}
