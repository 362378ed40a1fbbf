//! The supervisor's side of a worker's channel: opens it at the start, pings it as a probe, and handles its end.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::WorkerSlot;
use super::probe::{CheckResult, OUR_OWN_LATENESS};
use crate::channel::{self, Channel, ChannelCommand, ChannelHandle};
use crate::config::{PassedAs, Ready};
use crate::os::child::StartError;
use crate::printable::excerpt;
use crate::rotation::Upstream;
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

impl WorkerSlot {
    /// Opens a channel for a process that is about to start, if it gets one.
    pub(super) fn open_channel(
        &self,
        passed_as: PassedAs,
        upstream: &Arc<Upstream>,
    ) -> Result<Option<NewChannel>, StartError> {
        if !passed_as.has_channel() {
            return Ok(None);
        }
        let report = self.reporter(upstream.incarnation);
        let event = move |event| report(WorkerEvent::Channel(event));
        let opened = channel::open(passed_as, Arc::clone(&self.context.pool), Arc::clone(upstream), event);
        let opened = opened.map_err(|source| StartError { stage: "making its channel".to_owned(), source })?;
        let node_id = (passed_as == PassedAs::Node).then(|| self.context.resources.fresh_node_id());
        let theirs = Arc::new(opened.theirs);
        Ok(Some(NewChannel { channel: opened.channel, handle: opened.handle, theirs, node_id }))
    }

    /// Handles an event of a worker's channel.
    pub(in crate::supervisor) fn on_channel_event(
        &mut self,
        incarnation: u64,
        event: channel::ChannelEvent,
    ) -> Option<Event> {
        let worker = self.name();
        let process = self.processes.get(&incarnation)?;
        let pid = process.context.pid().unwrap_or(0);
        match event {
            channel::ChannelEvent::Message(json)
                if process.context.config.ready == Ready::Message && json == channel::READY =>
            {
                Some(Event::Ready(incarnation))
            }
            channel::ChannelEvent::Message(json) => {
                tracing::info!(%worker, pid, said = excerpt(&json, EXCERPT), "worker message");
                None
            }
            channel::ChannelEvent::LeftOut(count) => {
                tracing::warn!(%worker, pid, count, "worker messages left out of this log: more than 50 a second");
                None
            }
            channel::ChannelEvent::Strange(_) if process.context.is_log_limited("channel") => None,
            channel::ChannelEvent::Strange(what) => {
                tracing::warn!(%worker, pid, "worker channel: {what}");
                None
            }
            channel::ChannelEvent::Node(..) => None,
            channel::ChannelEvent::Broken => {
                self.kill(incarnation);
                None
            }
            // The worker can be handed nothing any more. It ends by its own exit, or at kill-timeout.
            channel::ChannelEvent::Closed => Some(Event::ChannelClosed(incarnation)),
        }
    }

    /// Sends a command to the channel of a process. Returns false if it has none.
    pub(in crate::supervisor) fn send_command(&self, incarnation: u64, command: ChannelCommand) -> bool {
        let channel = self.processes.get(&incarnation).and_then(|process| process.channel.as_ref());
        channel.inspect(|channel| channel.send(command)).is_some()
    }

    /// Records that Node runs in that process; the application has not done anything yet.
    pub(in crate::supervisor) fn node_runs(&mut self, incarnation: u64) {
        if let Some(process) = self.processes.get_mut(&incarnation) {
            process.is_online = true;
        }
    }

    /// Returns the event that the application leaves the cluster itself (`cluster.worker.disconnect()`, `kill()`).
    pub(in crate::supervisor) fn leaves(&self, incarnation: u64) -> Option<Event> {
        let is_present = self.slot.current().is_some_and(|process_state| process_state.incarnation == incarnation);
        is_present.then_some(Event::Leaves(incarnation))
    }

    /// Pings the process on its channel.
    pub(super) fn ping(&self, incarnation: u64, timeout: Duration) {
        let Some(handle) = self.processes.get(&incarnation).and_then(|process| process.channel.clone()) else { return };
        let report = self.reporter(incarnation);
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

    /// Ends the channel of an exited process: connections that it had not taken go to other workers.
    pub(super) fn end_channel(&self, handle: &ChannelHandle, was_asked: bool) {
        handle.send(ChannelCommand::Ended { was_asked });
    }
}
