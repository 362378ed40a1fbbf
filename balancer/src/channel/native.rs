//! The channel protocol of a worker made with `worker-runtime`: one packet for each message.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use worker_runtime::protocol::packet::{MAX_MESSAGE, MAX_PACKET, Refusal, ToMaster, ToWorker};

use super::socket::{self, Received};
use super::task::{ChannelProtocol, Core};
use super::{ChannelCommand, Unsent};
use crate::rotation::HandedConnection;
use crate::stats::ConnectError;

/// The number of messages that may wait for a worker that does not read its channel.
const MOST_WAITING: usize = 64;

/// The messages that wait to be sent, in order.
#[derive(Default)]
pub(super) struct NativeProtocol {
    outbox: VecDeque<Out>,
    packet: Vec<u8>,
}

enum Out {
    Connection(u64),
    Message(Vec<u8>),
    Ping(u64),
}

impl ChannelProtocol for NativeProtocol {
    const LONGEST: usize = MAX_PACKET;
    const IS_STREAM: bool = false;

    fn give(&mut self, _core: &mut Core, id: u64) {
        self.outbox.push_back(Out::Connection(id));
    }

    fn ping(&mut self, token: u64) {
        // One pong answers all earlier pings, so a worker that does not read has only one ping waiting.
        let waiting = self.outbox.iter_mut().find_map(|out| match out {
            Out::Ping(token) => Some(token),
            Out::Connection(_) | Out::Message(_) => None,
        });
        match waiting {
            Some(waiting) => *waiting = token.max(*waiting),
            None => self.outbox.push_back(Out::Ping(token)),
        }
    }

    fn message(&mut self, json: &str) -> Result<(), Unsent> {
        if json.len() > MAX_MESSAGE {
            return Err(Unsent::TooLong(json.len()));
        }
        if self.outbox.len() >= MOST_WAITING {
            return Err(Unsent::Full);
        }
        let mut packet = Vec::new();
        ToWorker::Message(json).encode(&mut packet);
        self.outbox.push_back(Out::Message(packet));
        Ok(())
    }

    fn handle(&mut self, _core: &mut Core, _order: ChannelCommand) {
        // Native workers are told to end by a signal, and send no queries: these commands are for Node only.
    }

    fn on_received(&mut self, core: &mut Core, bytes: &[u8], received: &Received) {
        if !received.descriptors.is_empty() {
            core.complain("the worker sent a descriptor, which was closed".to_owned());
        }
        if received.is_cut {
            return core.complain(format!("the worker sent a packet of more than {MAX_PACKET} bytes"));
        }
        let is_known = match ToMaster::decode(bytes) {
            Ok(ToMaster::Taken(ids)) => {
                core.reads();
                ids.iter().filter(|&id| !core.pending.taken(id, true)).count() == 0
            }
            Ok(ToMaster::Refused { reason, ids }) => {
                let why = match reason {
                    Refusal::NoDescriptor => {
                        core.worker.has_no_descriptor();
                        ConnectError::Busy
                    }
                    Refusal::Draining | Refusal::Other => ConnectError::Refused,
                };
                ids.iter().filter(|&id| !core.pending.returned(id, why)).count() == 0
            }
            Ok(ToMaster::Ended(ids)) => ids.iter().filter(|&id| !core.pending.ended(id)).count() == 0,
            Ok(ToMaster::Pong { token }) => {
                core.ponged(token);
                true
            }
            Ok(ToMaster::Message(json)) => {
                core.said(json.to_owned());
                true
            }
            Err(error) => return core.complain(format!("the worker sent {error}")),
        };
        if !is_known {
            core.complain("the worker reported on a connection that it does not have".to_owned());
        }
    }

    fn flush(&mut self, core: &mut Core) {
        while let Some(out) = self.outbox.front() {
            let sent = match out {
                Out::Message(packet) => socket::send(core.socket.get_ref(), packet, None),
                Out::Ping(token) => {
                    self.packet.clear();
                    ToWorker::Ping { token: *token }.encode(&mut self.packet);
                    socket::send(core.socket.get_ref(), &self.packet, None)
                }
                Out::Connection(id) => match core.pending.untaken(*id).and_then(HandedConnection::socket) {
                    Some(connection) => {
                        self.packet.clear();
                        ToWorker::Connection { id: *id }.encode(&mut self.packet);
                        socket::send(core.socket.get_ref(), &self.packet, Some(connection))
                    }
                    None => Ok(0),
                },
            };
            match (sent, out) {
                (Err(error), _) if error.raw_os_error() == Some(libc::EAGAIN) => return,
                // Too many descriptors of this user are in flight: this connection goes to another worker, or is tried
                // later.
                (Err(error), &Out::Connection(id)) if socket::is_full(&error) => {
                    self.outbox.pop_front();
                    core.pending.returned(id, ConnectError::Busy);
                }
                (Err(error), Out::Message(_) | Out::Ping(_)) if socket::is_full(&error) => return,
                (Err(_), _) => return core.close(self),
                (Ok(_), _) => drop(self.outbox.pop_front()),
            }
        }
    }

    fn has_more(&self) -> bool {
        !self.outbox.is_empty()
    }

    fn reclaim(&mut self, _core: &mut Core, end: &OwnedFd, buffer: &mut [u8]) -> Vec<u64> {
        let (mut back, mut again, mut asked) = (Vec::new(), Vec::new(), None);
        while let Ok(unread) = socket::receive(end, buffer) {
            let packet = buffer.get(..unread.length).unwrap_or_default();
            match ToWorker::decode(packet) {
                Ok(ToWorker::Connection { id }) => back.push(id),
                Ok(ToWorker::Message(_)) => again.push(Out::Message(packet.to_vec())),
                Ok(ToWorker::Ping { token }) => asked = Some(token),
                // The worker closed its end: nothing more can be read.
                Err(_) => break,
            }
        }
        again.into_iter().rev().for_each(|out| self.outbox.push_front(out));
        if let Some(token) = asked {
            self.ping(token);
        }
        back.extend(self.close_connections());
        back
    }

    fn close(&mut self) -> Vec<u64> {
        let connections = self.close_connections();
        self.outbox.clear();
        connections
    }
}

impl NativeProtocol {
    /// Drops all waiting output, and returns the connections that were not sent.
    fn close_connections(&mut self) -> Vec<u64> {
        let mut connections = Vec::new();
        self.outbox.retain(|out| match out {
            Out::Connection(id) => {
                connections.push(*id);
                false
            }
            Out::Message(_) | Out::Ping(_) => true,
        });
        connections
    }
}
