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
    Packet(Vec<u8>),
}

impl Native {
    fn say(&mut self, what: &ToWorker<'_>) {
        let mut packet = Vec::new();
        what.encode(&mut packet);
        self.outbox.push_back(Out::Packet(packet));
    }
}

impl Dialect for Native {
    const LONGEST: usize = MAX_PACKET;

    fn give(&mut self, _core: &mut Core, id: u64) {
        self.outbox.push_back(Out::Guest(id));
    }

    fn ping(&mut self, token: u64) {
        self.say(&ToWorker::Ping { token });
    }

    fn message(&mut self, json: &str) -> Result<(), Unsent> {
        if json.len() > MAX_MESSAGE {
            return Err(Unsent::TooLong(json.len()));
        }
        if self.outbox.len() >= MOST_WAITING {
            return Err(Unsent::Full);
        }
        self.say(&ToWorker::Message(json));
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
                    Refusal::NoDescriptor => ConnectError::Busy,
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
                Out::Packet(packet) => socket::send(core.socket.get_ref(), packet, None),
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
                (Err(error), Out::Packet(_)) if socket::is_full(&error) => return,
                (Err(_), _) => return core.close(self),
                (Ok(_), _) => drop(self.outbox.pop_front()),
            }
        }
    }

    fn has_more(&self) -> bool {
        !self.outbox.is_empty()
    }

    fn take_back(&mut self, _core: &mut Core, end: &OwnedFd, buffer: &mut [u8]) -> Vec<u64> {
        let (mut back, mut again) = (Vec::new(), Vec::new());
        while let Ok(unread) = socket::receive(end, buffer) {
            let packet = buffer.get(..unread.length).unwrap_or_default();
            match ToWorker::decode(packet) {
                Ok(ToWorker::Connection { id }) => back.push(id),
                Ok(ToWorker::Message(_)) => again.push(Out::Packet(packet.to_vec())),
                // It is asked again.
                Ok(ToWorker::Ping { .. }) => {}
                // Closed: nothing more comes.
                Err(_) => break,
            }
        }
        again.into_iter().rev().for_each(|out| self.outbox.push_front(out));
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
            Out::Packet(_) => true,
        });
        guests
    }
}
