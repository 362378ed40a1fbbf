//! The supervisor's side of a worker's channel: opens it at the start, pings it as a probe, and handles its end.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::context::ProcessContext;
use super::probe::{CheckResult, OUR_OWN_LATENESS};
use crate::channel::{self, Channel, ChannelCommand, ChannelEvent, ChannelHandle};
use crate::config::{PassedAs, Ready};
use crate::os::child::StartError;
use crate::printable::excerpt;
use crate::stats::Check;
use crate::supervisor::WorkerEvent;
use crate::supervisor::slot::Event;

/// The number of characters of a worker's message that are logged.
const EXCERPT: usize = 200;

/// A channel between its creation and its worker's start.
pub(super) struct NewChannel {
    pub(super) channel: Channel,
    pub(super) handle: ChannelHandle,
    pub(super) theirs: Arc<OwnedFd>,
    pub(super) node_id: Option<u64>,
}

/// The master's side of one process's channel, if the process has one.
pub(super) struct WorkerChannel {
    handle: Option<ChannelHandle>,
    /// Node runs in the process and has said so.
    is_online: bool,
}

/// Opens a channel for a process that is about to start, if it gets one.
pub(super) fn open(process: &ProcessContext) -> Result<Option<NewChannel>, StartError> {
    let passed_as = process.config.passed_as();
    if !passed_as.has_channel() {
        return Ok(None);
    }
    let (context, report) = (&process.shared, process.reporter());
    let event = move |event| report(WorkerEvent::Channel(event));
    let opened = channel::open(passed_as, Arc::clone(&context.pool), Arc::clone(&process.upstream), event);
    let opened = opened.map_err(|source| StartError { stage: "making its channel".to_owned(), source })?;
    let node_id = (passed_as == PassedAs::Node).then(|| context.resources.fresh_node_id());
    let theirs = Arc::new(opened.theirs);
    Ok(Some(NewChannel { channel: opened.channel, handle: opened.handle, theirs, node_id }))
}

impl WorkerChannel {
    pub(super) fn new(handle: Option<ChannelHandle>) -> Self {
        Self { handle, is_online: false }
    }

    /// Sends a command to the channel. Returns false if there is none.
    pub(super) fn send(&self, command: ChannelCommand) -> bool {
        self.handle.as_ref().inspect(|handle| handle.send(command)).is_some()
    }

    /// Records that Node runs in the process; the application has not done anything yet.
    pub(super) fn node_runs(&mut self) {
        self.is_online = true;
    }

    /// Returns true if Node runs in the process and has said so.
    pub(super) fn is_online(&self) -> bool {
        self.is_online
    }

    /// Pings the process, in a task of its own that reports the answer.
    pub(super) fn ping(&self, process: &ProcessContext, timeout: Duration) {
        let Some(handle) = self.handle.clone() else { return };
        let report = process.reporter();
        tokio::spawn(async move {
            let begun = Instant::now();
            let (reply, answer) = oneshot::channel();
            handle.send(ChannelCommand::Ping(reply));
            let answer = tokio::time::timeout(timeout, answer).await;
            let took = begun.elapsed();
            let (check, what) = match answer {
                // Our own clock was late: that proves nothing about the worker.
                Err(_) if took > timeout + OUR_OWN_LATENESS => return report(WorkerEvent::Probed(None)),
                Ok(Ok(())) => (Check::Ok, "ok".to_owned()),
                Ok(Err(_)) => (Check::Fail, "channel: it was closed".to_owned()),
                Err(_) => {
                    (Check::Timeout, format!("channel: no answer within {}", humantime::format_duration(timeout)))
                }
            };
            report(WorkerEvent::Probed(Some(CheckResult { check, what, took })));
        });
    }

    /// Ends the channel of an exited process: connections that the process had not taken go to other workers.
    pub(super) fn end(&mut self, was_asked: bool) {
        if let Some(handle) = self.handle.take() {
            handle.send(ChannelCommand::Ended { was_asked });
        }
    }
}

/// The meaning of a channel's event for the process.
#[derive(Debug)]
pub(super) enum ChannelOutcome {
    Nothing,
    /// An event for the slot.
    Event(Event),
    /// The process breaks the protocol: it must be killed.
    Kill,
}

/// Handles an event of a process's channel.
pub(super) fn on_event(process: &ProcessContext, event: ChannelEvent) -> ChannelOutcome {
    let (worker, pid) = (process.name(), process.pid().unwrap_or(0));
    match event {
        ChannelEvent::Message(json) if process.config.ready == Ready::Message && json == channel::READY => {
            return ChannelOutcome::Event(Event::Ready(process.incarnation()));
        }
        ChannelEvent::Message(json) => {
            tracing::info!(%worker, pid, said = excerpt(&json, EXCERPT), "worker message");
        }
        ChannelEvent::LeftOut(count) => {
            tracing::warn!(%worker, pid, count, "worker messages left out of this log: more than 50 a second");
        }
        ChannelEvent::Strange(_) if process.is_log_limited("channel") => {}
        ChannelEvent::Strange(what) => tracing::warn!(%worker, pid, %what, "invalid message on the worker's channel"),
        // Those go to the listeners of the application.
        ChannelEvent::Node(..) => {}
        ChannelEvent::Broken => return ChannelOutcome::Kill,
        // The worker can be handed nothing any more. It ends by its own exit, or at kill-timeout.
        ChannelEvent::Closed => return ChannelOutcome::Event(Event::ChannelClosed(process.incarnation())),
    }
    ChannelOutcome::Nothing
}
