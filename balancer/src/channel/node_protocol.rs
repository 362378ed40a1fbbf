//! The channel of an unmodified Node worker: reads and writes the messages that [`node`](super::node) defines.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;

use super::node::{Answer, Attached, NodeEvent, Out, SendError, Session, Why};
use super::socket::{self, Received};
use super::task::{ChannelProtocol, Core};
use super::{ChannelCommand, ChannelEvent, Unsent};
use crate::rotation::HandedConnection;
use crate::stats::ConnectError;

/// A session, and the line that is being written.
#[derive(Default)]
pub(super) struct NodeProtocol {
    session: Session,
    /// The line that is being written, and the socket that goes with its first byte.
    writing: Option<Out>,
    /// For each public listener, the key of the worker's server that takes its connections.
    keys_of_listeners: HashMap<u32, String>,
    /// Listening sockets that the worker was or will be sent and has not closed, with their keys, by the session's
    /// numbers. Each must be removed in time: an entry keeps its port open even when no worker accepts there.
    listeners: HashMap<u64, (String, Arc<OwnedFd>)>,
    last_listener: u64,
    /// The last line that was written with a connection. If it is read back, it must come back whole.
    in_flight: Bytes,
    /// True if the worker is told to disconnect after the next pong.
    shall_disconnect: bool,
    /// The token of the last ping.
    asked: u64,
    /// Connections that could not be sent; they are returned at the next chance.
    not_sent: Vec<(u64, ConnectError)>,
}

impl NodeProtocol {
    fn answer(
        &mut self,
        core: &mut Core,
        seq: u64,
        answer: Answer,
        listener_id: Option<u32>,
        listener: Option<Arc<OwnedFd>>,
    ) {
        let answer = match (answer, listener) {
            (Answer::Shared { key, data, .. }, Some(listener)) => {
                self.last_listener += 1;
                self.listeners.insert(self.last_listener, (key.clone(), listener));
                Answer::Shared { key, data, listener: self.last_listener }
            }
            (answer, _) => answer,
        };
        if let (Answer::RoundRobin { key, .. }, Some(listener_id)) = (&answer, listener_id) {
            self.keys_of_listeners.insert(listener_id, key.clone());
        }
        if let Err(error) = self.session.answer(seq, answer) {
            core.complain(format!("the worker's listen() could not be answered: {error}"));
        }
    }

    fn descriptor<'a>(&'a self, core: &'a Core, attached: Attached) -> Option<BorrowedFd<'a>> {
        match attached {
            Attached::Connection(id) => core.pending.untaken(id).and_then(HandedConnection::socket),
            Attached::Listener(listener) => self.listeners.get(&listener).map(|(_, listener)| listener.as_fd()),
        }
    }

    fn on_event(&mut self, core: &mut Core, event: NodeEvent) {
        match event {
            NodeEvent::Taken(id) => {
                // The pong proves that the worker lives, and that is all a ping asks; but an answer may wait behind
                // many others.
                core.ponged(self.asked);
                core.pending.taken(id, false);
            }
            NodeEvent::Refused(id, why) => {
                core.reads();
                let why = match why {
                    Why::NotAccepted => ConnectError::Refused,
                    Why::NoDescriptorAfterRetries => {
                        core.worker.has_no_descriptor();
                        ConnectError::Busy
                    }
                };
                core.pending.returned(id, why);
            }
            NodeEvent::Pong(_) => {
                core.ponged(self.asked);
                if self.shall_disconnect {
                    self.session.disconnect();
                }
            }
            NodeEvent::Message(value) => core.said(value.to_string()),
            NodeEvent::StrayDescriptor => core.complain("the worker sent a socket, which was closed".to_owned()),
            NodeEvent::Ignored(what) => core.complain(what.to_owned()),
            NodeEvent::Broken(broken) => {
                (core.worker.events)(ChannelEvent::Strange(broken.to_string()));
                (core.worker.events)(ChannelEvent::Broken);
            }
            NodeEvent::Closed { ref key } => {
                self.keys_of_listeners.retain(|_, of| of != key);
                self.listeners.retain(|_, (of, _)| of != key);
                core.worker.tell_node(event);
            }
            NodeEvent::Online | NodeEvent::Query(_) | NodeEvent::Listening { .. } | NodeEvent::Disconnecting => {
                core.worker.tell_node(event)
            }
        }
    }
}

impl ChannelProtocol for NodeProtocol {
    const LONGEST: usize = 64 * 1024;
    const IS_STREAM: bool = true;

    fn give(&mut self, core: &mut Core, id: u64) {
        let listener_id = core.pending.untaken(id).map(HandedConnection::listener_id);
        let given = match listener_id.and_then(|listener_id| self.keys_of_listeners.get(&listener_id)) {
            Some(key) => self.session.give(id, key),
            // The worker has not asked for that listener yet, or has closed it.
            None => Err(SendError::Disconnecting),
        };
        match given {
            Ok(()) => {}
            Err(SendError::Full) => self.not_sent.push((id, ConnectError::Busy)),
            Err(_) => self.not_sent.push((id, ConnectError::Refused)),
        }
    }

    fn ping(&mut self, token: u64) {
        // Only one ping waits at a time; its answer counts for all pings sent by then.
        self.asked = token;
        self.session.ping(token);
    }

    fn message(&mut self, json: &str) -> Result<(), Unsent> {
        let value = serde_json::from_str(json).map_err(|error| Unsent::NoJson(error.to_string()))?;
        self.session.message(&value).map_err(|error| match error {
            SendError::NoRoom(_) => Unsent::Full,
            SendError::OfNode => Unsent::NoJson(error.to_string()),
            _ => Unsent::Closed,
        })
    }

    fn handle(&mut self, core: &mut Core, command: ChannelCommand) {
        match command {
            // Waits for a pong: by then the worker has read all that it was handed before. When Node 26 closes a
            // server, it also closes connections whose request it has not read yet.
            ChannelCommand::Disconnect => {
                self.shall_disconnect = true;
                self.session.ping(self.asked);
            }
            ChannelCommand::Answer { seq, answer, listener_id, listener } => {
                self.answer(core, seq, answer, listener_id, listener)
            }
            ChannelCommand::Ping(_) | ChannelCommand::Message(..) | ChannelCommand::Ended { .. } => {}
        }
    }

    fn on_received(&mut self, core: &mut Core, bytes: &[u8], received: &Received) {
        received.descriptors.iter().for_each(|_| self.session.descriptor_came());
        for event in self.session.received(bytes) {
            self.on_event(core, event);
        }
    }

    fn flush(&mut self, core: &mut Core) {
        for (id, why) in std::mem::take(&mut self.not_sent) {
            core.pending.returned(id, why);
        }
        loop {
            let Some(out) = self.writing.take().or_else(|| self.session.next_out()) else { return };
            let descriptor = out.attached.and_then(|attached| self.descriptor(core, attached));
            match socket::send(core.socket.get_ref(), &out.bytes, descriptor) {
                Ok(sent) => {
                    if matches!(out.attached, Some(Attached::Connection(_))) {
                        self.in_flight = if sent == out.bytes.len() { out.bytes.clone() } else { Bytes::new() };
                    }
                    let rest = out.bytes.slice(sent..);
                    if !rest.is_empty() {
                        // The descriptor went with the first byte.
                        self.writing = Some(Out { bytes: rest, attached: None });
                        return;
                    }
                }
                Err(error) if socket::is_full(&error) => {
                    self.writing = Some(out);
                    return;
                }
                Err(_) => return core.close(self),
            }
        }
    }

    fn has_more(&self) -> bool {
        self.writing.is_some()
    }

    fn reclaim(&mut self, core: &mut Core, end: &OwnedFd, buffer: &mut [u8]) -> Vec<u64> {
        let mut back = Vec::new();
        if let Some(id) = self.session.in_flight().filter(|_| self.session.is_clean() && self.writing.is_none()) {
            // The queue holds only this whole line, or nothing if the worker has read it.
            match socket::receive(end, buffer) {
                Ok(unread)
                    if unread.length == self.in_flight.len()
                        && unread.descriptors.len() == 1
                        && self.session.reclaimed(id) =>
                {
                    back.push(id);
                }
                Ok(unread) if unread.length > 0 => {
                    // The worker could not parse the rest of that line.
                    core.complain("a line was read back in part".to_owned());
                    (core.worker.events)(ChannelEvent::Broken);
                }
                _ => {}
            }
        }
        // The connections behind it were not written yet.
        let waiting: Vec<u64> = self.session.unacknowledged().collect();
        back.extend(waiting.into_iter().filter(|id| self.session.withdraw(*id)));
        back
    }

    fn close(&mut self) -> Vec<u64> {
        self.writing = None;
        let waiting: Vec<u64> = self.session.unacknowledged().collect();
        let not_sent = std::mem::take(&mut self.not_sent).into_iter().map(|(id, _)| id);
        not_sent.chain(waiting.into_iter().filter(|id| self.session.withdraw(*id))).collect()
    }
}
