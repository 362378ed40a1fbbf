//! Describes one process: for the status of its slot, and for the error if its start fails.

use super::process::WorkerProcess;
use crate::config::{PassedAs, Ready};
use crate::pool::{OtherStatus, SlotState};
use crate::rotation::Endpoint;

/// Returns the status of a process beside the one that its slot shows.
pub(super) fn of_other(process: &WorkerProcess, state: SlotState) -> OtherStatus {
    OtherStatus {
        state,
        generation: process.context.generation,
        pid: process.context.pid(),
        started: process.context.started,
        last_check: process.checks.last().cloned(),
        active: process.context.upstream.active(),
    }
}

/// Returns the step that a starting process has not done within `ready_timeout`, for the error of a failed start.
pub(super) fn not_ready(process: &WorkerProcess, ready_timeout: impl std::fmt::Display) -> String {
    let (pid, config) = (process.logged_pid(), &process.context.config);
    if config.passed_as() == PassedAs::Node {
        let told = node_not_ready(config.ready, process.channel.is_online());
        return format!("pid {pid} {told} within {ready_timeout}");
    }
    let endpoint = &process.context.upstream.endpoint;
    // Such a process has no endpoint of its own to be ready on.
    if matches!(endpoint, Endpoint::Inherited | Endpoint::Channel) || process.listener.is_inherited() {
        return format!("pid {pid} did not say READY=1 within {ready_timeout}");
    }
    let check = process.checks.failed().map_or(String::new(), |check| format!("; its last check: {check}"));
    format!("pid {pid} was not ready on {endpoint} within {ready_timeout}{check}")
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

/// Returns the reason why a process that was not ready in time is ended.
pub(super) fn late(process: &WorkerProcess) -> String {
    let why = process.exit.start_error().unwrap_or("not ready in time");
    match process.listens.diagnosis() {
        Some(diagnosis) => format!("{why}: {diagnosis}"),
        None => why.to_owned(),
    }
}
