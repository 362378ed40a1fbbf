//! Packets that the master has sent and that the worker has not used yet.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use crate::protocol::packet::{Ids, MAX_PACKET, PacketError, Refusal, ToMaster, ToWorker};
use crate::stream::Stream;

#[cfg(feature = "messages")]
use super::mailbox::Mailbox;
use super::outbox::Outbox;
use super::receive::{Received, receive};

/// The number of packets that are read in one turn, and the most that may wait here for an answer. Further packets stay
/// in the kernel's queue, where the master sees that the worker does not keep up.
const BATCH: usize = 16;

/// Everything that was read and not yet used.
#[derive(Debug)]
pub(super) struct Inbox {
    buffer: Box<[u8]>,
    /// Connections that have no answer yet.
    arrived: Vec<(u64, Result<OwnedFd, Refusal>)>,
    pings: Vec<u64>,
    /// Connections that the worker has taken. They can be used as soon as the master has been told, which is when
    /// `said` packets have left the outbox.
    taken: VecDeque<(u64, Stream)>,
    said: u64,
    #[cfg(feature = "messages")]
    pub(super) mailbox: Mailbox,
    has_ended: bool,
    has_complained: bool,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            // One byte more than the longest packet, so that a packet that is too long does not look like a valid one.
            buffer: vec![0; MAX_PACKET + 1].into(),
            arrived: Vec::new(),
            pings: Vec::new(),
            taken: VecDeque::new(),
            said: 0,
            #[cfg(feature = "messages")]
            mailbox: Mailbox::default(),
            has_ended: false,
            has_complained: false,
        }
    }
}

impl Inbox {
    /// Reads a batch. Returns true if the kernel has no more packets.
    pub(super) fn read(&mut self, channel: impl AsFd) -> bool {
        for _ in 0..BATCH {
            if self.has_ended {
                return true;
            }
            if self.is_full() {
                return false;
            }
            match receive(&channel, &mut self.buffer) {
                Received::Packet { length, socket } => self.sort(length, socket),
                Received::Nothing => return true,
                Received::End => self.has_ended = true,
            }
        }
        false
    }

    /// Decodes the packet in the buffer and stores its contents.
    fn sort(&mut self, length: usize, socket: Result<OwnedFd, Refusal>) {
        match ToWorker::decode(&self.buffer[..length]) {
            Ok(ToWorker::Connection { id }) => self.arrived.push((id, socket)),
            Ok(ToWorker::Ping { token }) => self.pings.push(token),
            #[cfg(feature = "messages")]
            Ok(ToWorker::Message(json)) => self.mailbox.put(json),
            #[cfg(not(feature = "messages"))]
            Ok(ToWorker::Message(_)) => {}
            // A newer master may send kinds of packets that this version does not know.
            Err(PacketError::Kind(_)) => {}
            Err(error) => self.complain(error),
        }
    }

    /// Reports a bad packet on standard error, only the first time: a master that sends one sends many.
    fn complain(&mut self, error: PacketError) {
        if !std::mem::replace(&mut self.has_complained, true) {
            let _ = writeln!(io::stderr(), "worker-runtime: ignored a packet from the master: {error}");
        }
    }

    /// Answers the packets that were read. Pings are returned. Connections are taken, or refused if they cannot be
    /// taken or if `is_closed`. While taken connections are waiting to be used, new ones are not answered.
    pub(super) fn answer(&mut self, channel: impl AsFd, outbox: &mut Outbox, is_closed: bool) {
        for token in self.pings.drain(..) {
            outbox.push(&channel, |packet| ToMaster::Pong { token }.encode(packet));
        }
        if !self.taken.is_empty() || self.arrived.is_empty() {
            return;
        }
        let mut refused = Vec::new();
        for (id, socket) in self.arrived.drain(..) {
            let closed = if is_closed { Err(Refusal::Draining) } else { Ok(()) };
            match closed.and_then(|()| take(socket?)) {
                Ok(stream) => self.taken.push_back((id, stream)),
                Err(reason) => refused.push((reason, id)),
            }
        }
        let taken: Vec<_> = self.taken.iter().map(|(id, _)| *id).collect();
        for ids in Ids::batches(&taken) {
            outbox.push(&channel, |packet| ToMaster::Taken(ids).encode(packet));
        }
        self.said = outbox.pushed();
        for reason in [Refusal::Draining, Refusal::NoDescriptor, Refusal::Other] {
            let ids: Vec<_> = refused.iter().filter(|(why, _)| *why == reason).map(|(_, id)| *id).collect();
            for ids in Ids::batches(&ids) {
                outbox.push(&channel, |packet| ToMaster::Refused { reason, ids }.encode(packet));
            }
        }
    }

    /// Returns the next connection that the master knows to be taken.
    pub(super) fn next_taken(&mut self, outbox: &Outbox) -> Option<(u64, Stream)> {
        outbox.has_sent(self.said).then(|| self.taken.pop_front())?
    }

    /// Connections that are taken and that the accept loop has not asked for yet.
    pub(super) fn taken(&mut self) -> &mut VecDeque<(u64, Stream)> {
        &mut self.taken
    }

    /// Returns true if nothing more is read until something is answered.
    pub(super) fn is_full(&self) -> bool {
        self.arrived.len() + self.pings.len() >= BATCH
    }

    /// Returns true if a packet is waiting for the accept loop's answer.
    #[cfg(feature = "messages")]
    pub(super) fn is_owed_an_answer(&self) -> bool {
        !(self.arrived.is_empty() && self.pings.is_empty())
    }

    /// Returns true if the other end is closed.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }
}

/// Makes a stream of a handed socket. The protocol says that the socket is non-blocking, but this function sets it: a
/// blocking socket would stop the worker.
fn take(socket: OwnedFd) -> Result<Stream, Refusal> {
    let stream =
        rustix::io::ioctl_fionbio(&socket, true).map_err(io::Error::from).and_then(|()| Stream::from_fd(socket));
    stream.map_err(|_| Refusal::Other)
}
