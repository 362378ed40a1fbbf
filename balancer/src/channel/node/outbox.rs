//! What is to be said to a worker, and when it may be. Pure.
//!
//! One line with a socket is on its way at a time; until the worker says that it came, nothing follows but our own word
//! on what the worker sent.

use std::collections::VecDeque;

use bytes::Bytes;

use super::encode;

/// So many bytes of the app's messages wait for a worker at most.
pub const MOST_WAITING: usize = 16 * 1024 * 1024;

/// The approximate cost of a waiting message besides its bytes: so that no number of tiny ones goes beyond the bound.
const OVERHEAD: usize = 64;

/// The next thing to be written, whole, before anything else is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Out {
    /// A line.
    pub bytes: Bytes,
    /// The socket that goes along, by `SCM_RIGHTS`, with the write that takes the line's first byte. Its descriptor
    /// must not block: a worker does not set that, and would stand still.
    pub attached: Option<Attached>,
}

/// A socket, in the caller's numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// A client's.
    Connection(u64),
    /// A listening one.
    Listener(u64),
}

/// The kind of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// Our answer or command.
    Word,
    /// The app's message.
    Message,
    /// A client comes with it.
    Connection(u64),
    /// A listening socket comes with it, for the server of this key.
    Listener { listener: u64, key: String },
    /// A socket seems to come with it.
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

/// A line with what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) line: Bytes,
    pub(super) payload: Payload,
    /// The number of times it was written.
    pub(super) tries: u8,
}

/// The lines that wait, and the line that is on its way.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Our word on descriptors that the worker sent; goes first.
    urgent: VecDeque<&'static [u8]>,
    queue: VecDeque<Item>,
    in_flight: Option<Item>,
    /// The number of lines in `queue` that the worker caused.
    words: usize,
    /// The cost of the app's messages in `queue`.
    waiting: usize,
    /// Something was written that the worker may not have read: before what is on its way, and after it.
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

    /// Tells the worker whether the descriptor came that it sent.
    pub(super) fn push_urgent(&mut self, came: bool) {
        self.urgent.push_back(if came { encode::CAME } else { encode::CAME_NOT });
    }

    /// The number of messages that wait for this worker to read.
    pub(super) fn words(&self) -> usize {
        self.words + self.urgent.len()
    }

    /// The data that may be written now.
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

    /// The worker has read all up to what was on its way, and says whether its socket came. The way is free.
    pub(super) fn landed(&mut self) -> Option<Item> {
        let item = self.in_flight.take()?;
        self.before = std::mem::take(&mut self.after);
        Some(item)
    }

    /// Writes it once more, before all that waits.
    pub(super) fn again(&mut self, item: Item) {
        self.count(&item.payload, &item.line, 1);
        self.queue.push_front(item);
    }

    /// Forgets a client that was not written or came back; false if there is none.
    pub(super) fn withdraw(&mut self, connection: u64) -> bool {
        let before = self.queue.len();
        self.queue.retain(|item| item.payload != Payload::Connection(connection));
        self.queue.len() < before
    }

    /// The line that is on its way.
    pub(super) fn in_flight(&self) -> Option<&Payload> {
        self.in_flight.as_ref().map(|item| &item.payload)
    }

    /// Returns true if the line on its way is all that the worker may have left unread.
    pub(super) fn is_clean(&self) -> bool {
        self.in_flight.is_some() && !self.before && !self.after
    }

    /// Records that the line on its way was taken back unread: the way is free, and there is nothing on it.
    pub(super) fn reclaim(&mut self) {
        self.in_flight = None;
    }

    /// Returns true if a ping waits or is on its way.
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
