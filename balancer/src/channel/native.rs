//! The channel of a worker made with `worker-runtime`: one packet, one thing said.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use worker_runtime::protocol::packet::{MAX_MESSAGE, MAX_PACKET, Refusal, ToMaster, ToWorker};

use super::socket::{self, Received};
use super::task::{Core, Dialect};
use super::{Order, Unsent};
use crate::rotation::Guest;
use crate::stats::ConnectError;

/// How many messages may wait for a worker that does not read.
const MOST_WAITING: usize = 64;

/// What waits to be sent, in order.
#[derive(Default)]
pub(super) struct Native {
    outbox: VecDeque<Out>,
    packet: Vec<u8>,
}

enum Out {
    Guest(u64),
    Message(Vec<u8>),
    Ping(u64),
}

impl Dialect for Native {
    const LONGEST: usize = MAX_PACKET;
    const IS_STREAM: bool = false;

    fn give(&mut self, _core: &mut Core, id: u64) {
        self.outbox.push_back(Out::Guest(id));
    }

    fn ping(&mut self, token: u64) {
        // Its answer is one to all who asked before: a worker that does not read is not asked again and again.
        let waiting = self.outbox.iter_mut().find_map(|out| match out {
            Out::Ping(token) => Some(token),
            Out::Guest(_) | Out::Message(_) => None,
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

    fn obey(&mut self, _core: &mut Core, _order: Order) {
        // Such a worker is told to end by a signal, and has asked nothing.
    }

    fn heard(&mut self, core: &mut Core, bytes: &[u8], received: &Received) {
        if !received.descriptors.is_empty() {
            core.complain("it sent a descriptor, which was closed".to_owned());
        }
        if received.is_cut {
            return core.complain(format!("it sent a packet of more than {MAX_PACKET} bytes"));
        }
        let is_known = match ToMaster::decode(bytes) {
            Ok(ToMaster::Taken(ids)) => {
                core.reads();
                ids.iter().filter(|&id| !core.table.taken(id, true)).count() == 0
            }
            Ok(ToMaster::Refused { reason, ids }) => {
                let why = match reason {
                    Refusal::NoDescriptor => {
                        core.worker.has_no_descriptor();
                        ConnectError::Busy
                    }
                    Refusal::Draining | Refusal::Other => ConnectError::Refused,
                };
                ids.iter().filter(|&id| !core.table.returned(id, why)).count() == 0
            }
            Ok(ToMaster::Ended(ids)) => ids.iter().filter(|&id| !core.table.ended(id)).count() == 0,
            Ok(ToMaster::Pong { token }) => {
                core.ponged(token);
                true
            }
            Ok(ToMaster::Message(json)) => {
                core.said(json.to_owned());
                true
            }
            Err(error) => return core.complain(format!("it sent {error}")),
        };
        if !is_known {
            core.complain("it spoke of a connection that it does not have".to_owned());
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
                Out::Guest(id) => match core.table.untaken(*id).and_then(Guest::socket) {
                    Some(guest) => {
                        self.packet.clear();
                        ToWorker::Connection { id: *id }.encode(&mut self.packet);
                        socket::send(core.socket.get_ref(), &self.packet, Some(guest))
                    }
                    None => Ok(0),
                },
            };
            match (sent, out) {
                (Err(error), _) if error.raw_os_error() == Some(libc::EAGAIN) => return,
                // Too many descriptors of this user are under way: this one goes to another worker, or is tried later.
                (Err(error), &Out::Guest(id)) if socket::is_full(&error) => {
                    self.outbox.pop_front();
                    core.table.returned(id, ConnectError::Busy);
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

    fn take_back(&mut self, _core: &mut Core, end: &OwnedFd, buffer: &mut [u8]) -> Vec<u64> {
        let (mut back, mut again, mut asked) = (Vec::new(), Vec::new(), None);
        while let Ok(unread) = socket::receive(end, buffer) {
            let packet = buffer.get(..unread.length).unwrap_or_default();
            match ToWorker::decode(packet) {
                Ok(ToWorker::Connection { id }) => back.push(id),
                Ok(ToWorker::Message(_)) => again.push(Out::Message(packet.to_vec())),
                Ok(ToWorker::Ping { token }) => asked = Some(token),
                // Closed: nothing more comes.
                Err(_) => break,
            }
        }
        again.into_iter().rev().for_each(|out| self.outbox.push_front(out));
        if let Some(token) = asked {
            self.ping(token);
        }
        back.extend(self.close_guests());
        back
    }

    fn close(&mut self) -> Vec<u64> {
        let guests = self.close_guests();
        self.outbox.clear();
        guests
    }
}

impl Native {
    /// The guests that were not sent.
    fn close_guests(&mut self) -> Vec<u64> {
        let mut guests = Vec::new();
        self.outbox.retain(|out| match out {
            Out::Guest(id) => {
                guests.push(*id);
                false
            }
            Out::Message(_) | Out::Ping(_) => true,
        });
        guests
    }
}
