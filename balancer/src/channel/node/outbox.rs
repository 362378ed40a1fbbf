//! The lines that wait to be written to a worker, and the rule when each may be written. Pure.
//!
//! Only one line with a socket is in flight at a time. Until the worker acknowledges it nothing else is written, except
//! our own acknowledgements of sockets that the worker sent.

use std::collections::VecDeque;

use bytes::Bytes;

use super::encode;

/// The number of bytes of the app's messages that may wait for a worker.
pub const MOST_WAITING: usize = 16 * 1024 * 1024;

/// The approximate cost of a waiting message besides its bytes, so that many tiny messages cannot exceed the limit.
const OVERHEAD: usize = 64;

/// The next line to write. It must be written whole before the next one is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Out {
    /// A line.
    pub bytes: Bytes,
    /// The socket that goes along by `SCM_RIGHTS`, in the write that takes the line's first byte. Its descriptor must
    /// be non-blocking: a worker does not set that itself, and would block.
    pub attached: Option<Attached>,
}

/// A socket, by the caller's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// The socket of a client.
    Connection(u64),
    /// A listening socket.
    Listener(u64),
}

/// The content of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// An answer or command of ours.
    Word,
    /// A message for the app.
    Message,
    /// A client, whose socket goes along.
    Connection(u64),
    /// A listening socket for the server of this key.
    Listener { listener: u64, key: String },
    /// A ping: it claims to carry a socket and has none.
    Ping(u64),
}

impl Payload {
    /// Returns true if the worker acknowledges the line.
    fn is_acknowledged(&self) -> bool {
        !matches!(self, Self::Word | Self::Message)
    }

    fn attached(&self) -> Option<Attached> {
        match self {
            Self::Connection(connection) => Some(Attached::Connection(*connection)),
            Self::Listener { listener, .. } => Some(Attached::Listener(*listener)),
            Self::Word | Self::Message | Self::Ping(_) => None,
        }
    }
}

/// A line, its content and its number of attempts.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) line: Bytes,
    pub(super) payload: Payload,
    /// The number of times it was written.
    pub(super) tries: u8,
}

/// The lines that wait, and the line that is in flight.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Our acknowledgements of descriptors that the worker sent; they are written first.
    urgent: VecDeque<&'static [u8]>,
    queue: VecDeque<Item>,
    in_flight: Option<Item>,
    /// The number of lines in `queue` that answer the worker.
    words: usize,
    /// The cost of the app's messages in `queue`.
    waiting: usize,
    /// True if something was written before the line in flight that the worker may not have read; `after` is the same
    /// for what was written after it.
    before: bool,
    after: bool,
}

impl Outbox {
    pub(super) fn push(&mut self, line: Bytes, payload: Payload) {
        self.count(&payload, &line, 1);
        self.queue.push_back(Item { line, payload, tries: 0 });
    }

    /// Returns true if a message of the app of this length still fits.
    pub(super) fn has_room(&self, length: usize) -> bool {
        self.waiting.saturating_add(length).saturating_add(OVERHEAD) <= MOST_WAITING
    }

    /// Tells the worker if the descriptor that it sent has arrived.
    pub(super) fn push_urgent(&mut self, came: bool) {
        self.urgent.push_back(if came { encode::CAME } else { encode::CAME_NOT });
    }

    /// Returns the number of our answers that wait to be written.
    pub(super) fn words(&self) -> usize {
        self.words + self.urgent.len()
    }

    /// Returns the next line that may be written now.
    pub(super) fn next(&mut self) -> Option<Out> {
        if let Some(word) = self.urgent.pop_front() {
            *if self.in_flight.is_some() { &mut self.after } else { &mut self.before } = true;
            return Some(Out { bytes: Bytes::from_static(word), attached: None });
        }
        if self.in_flight.is_some() {
            return None;
        }
        let mut item = self.queue.pop_front()?;
        self.count(&item.payload, &item.line, -1);
        let out = Out { bytes: item.line.clone(), attached: item.payload.attached() };
        if item.payload.is_acknowledged() {
            item.tries = item.tries.saturating_add(1);
            self.in_flight = Some(item);
        } else {
            self.before = true;
        }
        Some(out)
    }

    /// Ends the flight of a line: the worker has acknowledged it, and so has read everything before it. Returns the
    /// line.
    pub(super) fn landed(&mut self) -> Option<Item> {
        let item = self.in_flight.take()?;
        self.before = std::mem::take(&mut self.after);
        Some(item)
    }

    /// Queues a line again, before all that wait.
    pub(super) fn again(&mut self, item: Item) {
        self.count(&item.payload, &item.line, 1);
        self.queue.push_front(item);
    }

    /// Removes a client's line from the queue; false if it is not there.
    pub(super) fn withdraw(&mut self, connection: u64) -> bool {
        let before = self.queue.len();
        self.queue.retain(|item| item.payload != Payload::Connection(connection));
        self.queue.len() < before
    }

    /// Returns the content of the line in flight.
    pub(super) fn in_flight(&self) -> Option<&Payload> {
        self.in_flight.as_ref().map(|item| &item.payload)
    }

    /// Returns true if the line in flight is the only thing that the worker may not have read.
    pub(super) fn is_clean(&self) -> bool {
        self.in_flight.is_some() && !self.before && !self.after
    }

    /// Records that the line in flight was taken back unread: nothing is in flight now.
    pub(super) fn reclaim(&mut self) {
        self.in_flight = None;
    }

    /// Returns true if a ping waits or is in flight.
    pub(super) fn has_ping(&self) -> bool {
        let mut all = self.queue.iter().chain(&self.in_flight);
        all.any(|item| matches!(item.payload, Payload::Ping(_)))
    }

    fn count(&mut self, payload: &Payload, line: &Bytes, by: isize) {
        match payload {
            Payload::Word | Payload::Listener { .. } => self.words = self.words.saturating_add_signed(by),
            Payload::Message => {
                let cost = line.len().saturating_add(OVERHEAD).cast_signed();
                self.waiting = self.waiting.saturating_add_signed(cost * by);
            }
            Payload::Connection(_) | Payload::Ping(_) => (),
        }
    }
}
