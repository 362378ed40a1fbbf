//! A worker's channel, from the supervisor's side: made at its start, asked as a probe asks, told of its end.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::News;
use super::super::probe::{OUR_OWN_LATENESS, Verdict};
use super::super::slot::Event;
use super::Member;
use crate::channel::{self, Channel, Handle, Order};
use crate::config::{Handing, Ready};
use crate::os::child::StartError;
use crate::printable::excerpt;
use crate::rotation::Upstream;
use crate::stats::Check;

/// How many characters of what a worker says are logged.
const EXCERPT: usize = 200;

/// A channel between its making and its worker's start.
pub(super) struct Line {
    pub(super) channel: Channel,
    pub(super) handle: Handle,
    pub(super) theirs: Arc<OwnedFd>,
    pub(super) node_id: Option<u64>,
}

impl Member {
    /// A channel for a process that is about to start, where it gets one.
    pub(super) fn open_line(&self, handing: Handing, upstream: &Arc<Upstream>) -> Result<Option<Line>, StartError> {
        if !handing.has_channel() {
            return Ok(None);
        }
        let report = self.reporter(upstream.incarnation);
        let news = move |news| report(News::Channel(news));
        let opened = channel::open(handing, Arc::clone(&self.context.pool), Arc::clone(upstream), news);
        let opened = opened.map_err(|source| StartError { stage: "making its channel".to_owned(), source })?;
        let node_id = (handing == Handing::Node).then(|| self.context.resources.fresh_node_id());
        let theirs = Arc::new(opened.theirs);
        Ok(Some(Line { channel: opened.channel, handle: opened.handle, theirs, node_id }))
    }

    /// What a worker said on its channel, or what became of that.
    pub(in crate::supervisor) fn channel_news(&mut self, incarnation: u64, news: channel::News) -> Option<Event> {
        let worker = self.name();
        let process = self.processes.get(&incarnation)?;
        let pid = process.pid.unwrap_or(0);
        match news {
            channel::News::Message(json) if process.rules.ready == Ready::Message && json == channel::READY => {
                Some(Event::Ready(incarnation))
            }
            channel::News::Message(json) => {
                tracing::info!(%worker, pid, said = excerpt(&json, EXCERPT), "worker message");
                None
            }
            channel::News::LeftOut(count) => {
                tracing::warn!(%worker, pid, count, "worker messages left out of this log: it says more than 50 a second");
                None
            }
            channel::News::Strange(_) if self.is_told_enough("channel") => None,
            channel::News::Strange(what) => {
                tracing::warn!(%worker, pid, "on its channel: {what}");
                None
            }
            channel::News::Node(..) => None,
            channel::News::Broken => {
                self.kill(incarnation);
                None
            }
            // It can be handed nothing any more; whether it ends is for it or its kill-timeout to say.
            channel::News::Closed => Some(Event::Parted(incarnation)),
        }
    }

    /// Gives an order to the channel of a process; whether it has one.
    pub(in crate::supervisor) fn order(&self, incarnation: u64, order: Order) -> bool {
        let channel = self.processes.get(&incarnation).and_then(|process| process.channel.as_ref());
        channel.inspect(|channel| channel.order(order)).is_some()
    }

    /// Node runs there; what the application does is to be seen.
    pub(in crate::supervisor) fn node_runs(&mut self, incarnation: u64) {
        if let Some(process) = self.processes.get_mut(&incarnation) {
            process.is_online = true;
        }
    }

    /// The application ends its membership itself (`cluster.worker.disconnect()`, `kill()`).
    pub(in crate::supervisor) fn leaves(&self, incarnation: u64) -> Option<Event> {
        let is_present = self.slot.current().is_some_and(|life| life.incarnation == incarnation);
        is_present.then_some(Event::Leaves(incarnation))
    }

    /// Asks on the channel whether anybody is there.
    pub(super) fn ping(&self, incarnation: u64, timeout: Duration) {
        let Some(handle) = self.processes.get(&incarnation).and_then(|process| process.channel.clone()) else { return };
        let report = self.reporter(incarnation);
        tokio::spawn(async move {
            let begun = Instant::now();
            let (reply, answer) = oneshot::channel();
            handle.order(Order::Ping(reply));
            let answer = tokio::time::timeout(timeout, answer).await;
            let took = begun.elapsed();
            let (check, what) = match answer {
                // Our own clock was late: that says nothing of the worker.
                Err(_) if took > timeout + OUR_OWN_LATENESS => return report(News::Probed(None)),
                Ok(Ok(())) => (Check::Ok, "ok".to_owned()),
                Ok(Err(_)) => (Check::Fail, "channel: it was closed".to_owned()),
                Err(_) => {
                    (Check::Timeout, format!("channel: no answer within {}", humantime::format_duration(timeout)))
                }
            };
            report(News::Probed(Some(Verdict { check, what, took })));
        });
    }

    /// Its process is gone: what it had not taken goes to others.
    pub(super) fn end_line(&self, handle: &Handle, was_asked: bool) {
        handle.order(Order::Ended { was_asked });
    }
}
