//! The packets on a worker's channel, which the master and the worker both read and write. Pure.
//!
//! The channel is a pair of `SOCK_SEQPACKET` sockets, so a packet arrives whole or not at all and needs no length. It
//! begins with one byte, its kind; numbers are little endian.
//!
//! | from | kind | then |
//! |---|---|---|
//! | master | 1 [`ToWorker::Connection`] | id; beside it one descriptor |
//! | master | 2 [`ToWorker::Message`] | a JSON value, UTF-8 |
//! | master | 3 [`ToWorker::Ping`] | token |
//! | worker | 1 [`ToMaster::Taken`] | 1 to [`MAX_IDS`] ids |
//! | worker | 2 [`ToMaster::Refused`] | reason (one byte), 1 to [`MAX_IDS`] ids |
//! | worker | 3 [`ToMaster::Ended`] | 1 to [`MAX_IDS`] ids |
//! | worker | 4 [`ToMaster::Message`] | a JSON value, UTF-8 |
//! | worker | 5 [`ToMaster::Pong`] | token |
//!
//! An id names one connection that is handed over and is never used again on the same channel. Whoever receives a packet
//! that does not decode ignores it.

mod ids;
#[cfg(test)]
mod tests;

pub use ids::Ids;

/// The longest message, in bytes of JSON: 64 KiB. Messages are news, not data; a larger one has a file or a socket.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// The most ids in one packet. With them it still fits on the stack, and a batch is rarely longer.
pub const MAX_IDS: usize = 64;

/// The longest packet in bytes: a kind and the longest message. A buffer of one byte more shows that one was longer.
pub const MAX_PACKET: usize = 1 + MAX_MESSAGE;

const ID: usize = size_of::<u64>();

/// What the master says to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToWorker<'a> {
    /// Take this connection over: the packet carries its socket, connected, streaming and non-blocking, by `SCM_RIGHTS`.
    Connection {
        /// The connection's name from now on.
        id: u64,
    },
    /// One JSON value for the worker's program, 1 to [`MAX_MESSAGE`] bytes. Whether it is JSON is not looked at here.
    Message(&'a str),
    /// Show that the accept loop turns: answer [`ToMaster::Pong`] with the same token.
    Ping {
        /// Any number.
        token: u64,
    },
}

/// What a worker says to the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToMaster<'a> {
    /// These connections are the worker's now. Said before a byte of them is read.
    Taken(Ids<'a>),
    /// These connections are not taken; the worker has closed its copies and has read nothing.
    Refused {
        /// Why. It is one for all of them.
        reason: Refusal,
        /// Which.
        ids: Ids<'a>,
    },
    /// The worker has closed these connections, which it had taken.
    Ended(Ids<'a>),
    /// One JSON value from the worker's program, 1 to [`MAX_MESSAGE`] bytes. Whether it is JSON is not looked at here.
    Message(&'a str),
    /// The answer to [`ToWorker::Ping`].
    Pong {
        /// The number that was asked with.
        token: u64,
    },
}

/// Why a worker does not take a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It drains and accepts no more.
    Draining,
    /// No descriptor came: the worker's table is full, or the master sent none.
    NoDescriptor,
    /// Anything else, also a reason that a newer worker gives and we do not know: not taken is not taken.
    Other,
}

/// Why a packet is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// It has no bytes.
    #[error("an empty packet")]
    Empty,
    /// Its kind is not one that this side is sent.
    #[error("a packet of unknown kind {0}")]
    Kind(u8),
    /// It is longer or shorter than its kind may be.
    #[error("a packet of kind {kind} with {length} bytes, which it cannot have")]
    Length {
        /// Its first byte.
        kind: u8,
        /// All of its bytes.
        length: usize,
    },
    /// Its message is not UTF-8.
    #[error("a message that is not UTF-8")]
    Text,
}

impl ToWorker<'_> {
    const CONNECTION: u8 = 1;
    const MESSAGE: u8 = 2;
    const PING: u8 = 3;

    /// Appends the packet to `packet`. That a message keeps its limits is for who makes it to see.
    pub fn encode(&self, packet: &mut Vec<u8>) {
        match self {
            Self::Connection { id } => put_number(packet, Self::CONNECTION, *id),
            Self::Message(json) => put_text(packet, Self::MESSAGE, json),
            Self::Ping { token } => put_number(packet, Self::PING, *token),
        }
    }
}

impl<'a> ToWorker<'a> {
    /// Reads one packet, all of it.
    ///
    /// # Errors
    ///
    /// If it is none that a master sends. A newer master may send kinds that we do not know.
    pub fn decode(packet: &'a [u8]) -> Result<Self, PacketError> {
        let parts = Parts::of(packet)?;
        match parts.kind {
            Self::CONNECTION => Ok(Self::Connection { id: parts.number()? }),
            Self::MESSAGE => Ok(Self::Message(parts.text()?)),
            Self::PING => Ok(Self::Ping { token: parts.number()? }),
            kind => Err(PacketError::Kind(kind)),
        }
    }
}

impl ToMaster<'_> {
    const TAKEN: u8 = 1;
    const REFUSED: u8 = 2;
    const ENDED: u8 = 3;
    const MESSAGE: u8 = 4;
    const PONG: u8 = 5;

    /// Appends the packet to `packet`. That a message keeps its limits is for who makes it to see.
    pub fn encode(&self, packet: &mut Vec<u8>) {
        match self {
            Self::Taken(ids) => put_ids(packet, &[Self::TAKEN], *ids),
            Self::Refused { reason, ids } => put_ids(packet, &[Self::REFUSED, reason.number()], *ids),
            Self::Ended(ids) => put_ids(packet, &[Self::ENDED], *ids),
            Self::Message(json) => put_text(packet, Self::MESSAGE, json),
            Self::Pong { token } => put_number(packet, Self::PONG, *token),
        }
    }
}

impl<'a> ToMaster<'a> {
    /// Reads one packet, all of it.
    ///
    /// # Errors
    ///
    /// If it is none that a worker sends.
    pub fn decode(packet: &'a [u8]) -> Result<Self, PacketError> {
        let parts = Parts::of(packet)?;
        match parts.kind {
            Self::TAKEN => Ok(Self::Taken(parts.ids(parts.body)?)),
            Self::REFUSED => {
                let (reason, ids) = parts.body.split_first().ok_or_else(|| parts.wrong_length())?;
                Ok(Self::Refused { reason: Refusal::of(*reason), ids: parts.ids(ids)? })
            }
            Self::ENDED => Ok(Self::Ended(parts.ids(parts.body)?)),
            Self::MESSAGE => Ok(Self::Message(parts.text()?)),
            Self::PONG => Ok(Self::Pong { token: parts.number()? }),
            kind => Err(PacketError::Kind(kind)),
        }
    }
}

impl Refusal {
    fn number(self) -> u8 {
        match self {
            Refusal::Draining => 1,
            Refusal::NoDescriptor => 2,
            Refusal::Other => 3,
        }
    }

    fn of(number: u8) -> Self {
        match number {
            1 => Refusal::Draining,
            2 => Refusal::NoDescriptor,
            _ => Refusal::Other,
        }
    }
}

/// A packet's kind and what follows it.
struct Parts<'a> {
    kind: u8,
    body: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(packet: &'a [u8]) -> Result<Self, PacketError> {
        let (kind, body) = packet.split_first().ok_or(PacketError::Empty)?;
        Ok(Self { kind: *kind, body })
    }

    fn number(&self) -> Result<u64, PacketError> {
        self.body.try_into().map(u64::from_le_bytes).map_err(|_| self.wrong_length())
    }

    fn ids(&self, bytes: &'a [u8]) -> Result<Ids<'a>, PacketError> {
        Ids::from_bytes(bytes).ok_or_else(|| self.wrong_length())
    }

    fn text(&self) -> Result<&'a str, PacketError> {
        if !(1..=MAX_MESSAGE).contains(&self.body.len()) {
            return Err(self.wrong_length());
        }
        std::str::from_utf8(self.body).map_err(|_| PacketError::Text)
    }

    fn wrong_length(&self) -> PacketError {
        PacketError::Length { kind: self.kind, length: 1 + self.body.len() }
    }
}

fn put_number(packet: &mut Vec<u8>, kind: u8, number: u64) {
    packet.push(kind);
    packet.extend_from_slice(&number.to_le_bytes());
}

fn put_ids(packet: &mut Vec<u8>, head: &[u8], ids: Ids<'_>) {
    packet.extend_from_slice(head);
    for id in ids.iter() {
        packet.extend_from_slice(&id.to_le_bytes());
    }
}

fn put_text(packet: &mut Vec<u8>, kind: u8, text: &str) {
    packet.push(kind);
    packet.extend_from_slice(text.as_bytes());
}
