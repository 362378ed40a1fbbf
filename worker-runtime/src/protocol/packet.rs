//! The packets on a worker's channel, which the master and the worker both read and write. Pure.
//!
//! The channel is a pair of `SOCK_SEQPACKET` sockets. So a packet arrives whole or not at all, and needs no length. Its
//! first byte is its kind. Numbers are little endian.
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
//! An id names one connection that is handed over. It is never used again on the same channel. The receiver ignores a
//! packet that does not decode.

mod ids;
#[cfg(test)]
mod tests;

pub use ids::Ids;

/// The length of the longest message, in bytes of JSON: 64 KiB. Messages are for small events. Send larger data through
/// a file or a socket.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// The most ids in one packet. A packet of that many ids still fits on the stack, and a batch is rarely longer.
pub const MAX_IDS: usize = 64;

/// The length of the longest packet in bytes: a kind and the longest message. Read into a buffer of one byte more, to
/// see that a packet was longer.
pub const MAX_PACKET: usize = 1 + MAX_MESSAGE;

const ID: usize = size_of::<u64>();

/// A packet from the master to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToWorker<'a> {
    /// Hands a connection over. The packet carries the connection's socket, connected, streaming and non-blocking, by
    /// `SCM_RIGHTS`.
    Connection {
        /// The name of the connection from now on.
        id: u64,
    },
    /// One JSON value for the worker's program, 1 to [`MAX_MESSAGE`] bytes. This module does not check that it is JSON.
    Message(&'a str),
    /// Asks the worker to show that its accept loop runs: answer [`ToMaster::Pong`] with the same token.
    Ping {
        /// Any number.
        token: u64,
    },
}

/// A packet from a worker to the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToMaster<'a> {
    /// The worker has taken these connections. Sent before a byte of them is read.
    Taken(Ids<'a>),
    /// The worker does not take these connections. It has closed its copies of their sockets and has read nothing.
    Refused {
        /// The reason, the same for all of them.
        reason: Refusal,
        /// The connections.
        ids: Ids<'a>,
    },
    /// The worker has closed these connections, which it had taken before.
    Ended(Ids<'a>),
    /// One JSON value from the worker's program, 1 to [`MAX_MESSAGE`] bytes. This module does not check that it is
    /// JSON.
    Message(&'a str),
    /// The answer to [`ToWorker::Ping`].
    Pong {
        /// The token of the ping.
        token: u64,
    },
}

/// The reason why a worker does not take a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The worker drains and accepts no more connections.
    Draining,
    /// No descriptor arrived: the worker's descriptor table is full, or the master sent none.
    NoDescriptor,
    /// Any other reason, also one that a newer worker sends and this version does not know. All of them mean that the
    /// connection was not taken.
    Other,
}

/// The reason why bytes are not a valid packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The packet has no bytes.
    #[error("an empty packet")]
    Empty,
    /// The kind is not one that this side receives.
    #[error("a packet of unknown kind {0}")]
    Kind(u8),
    /// The packet is longer or shorter than its kind allows.
    #[error("a packet of kind {kind} cannot have {length} bytes")]
    Length {
        /// The packet's first byte.
        kind: u8,
        /// The length of the whole packet.
        length: usize,
    },
    /// The message is not UTF-8.
    #[error("a message that is not UTF-8")]
    Text,
}

impl ToWorker<'_> {
    const CONNECTION: u8 = 1;
    const MESSAGE: u8 = 2;
    const PING: u8 = 3;

    /// Appends the packet to `packet`. The caller must see that a message keeps its limits.
    pub fn encode(&self, packet: &mut Vec<u8>) {
        match self {
            Self::Connection { id } => put_number(packet, Self::CONNECTION, *id),
            Self::Message(json) => put_text(packet, Self::MESSAGE, json),
            Self::Ping { token } => put_number(packet, Self::PING, *token),
        }
    }
}

impl<'a> ToWorker<'a> {
    /// Decodes one whole packet.
    ///
    /// # Errors
    ///
    /// Fails if a master sends no such packet. A newer master may send kinds that this version does not know.
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

    /// Appends the packet to `packet`. The caller must see that a message keeps its limits.
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
    /// Decodes one whole packet.
    ///
    /// # Errors
    ///
    /// Fails if a worker sends no such packet.
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

/// A packet's kind, and the bytes after it.
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
