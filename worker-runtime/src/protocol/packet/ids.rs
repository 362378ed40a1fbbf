//! The ids in one packet, without a copy.

use std::fmt;

use super::{ID, MAX_IDS};

/// 1 to [`MAX_IDS`] ids of connections, borrowed from a packet, or from numbers that are to be encoded.
#[derive(Clone, Copy)]
pub struct Ids<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Numbers(&'a [u64]),
    /// Little endian, as in a packet.
    Bytes(&'a [[u8; ID]]),
}

impl<'a> Ids<'a> {
    /// Makes the ids of a single connection.
    pub fn one(id: &'a u64) -> Self {
        Self(Source::Numbers(std::slice::from_ref(id)))
    }

    /// Splits any number of ids, in order, into as few groups as fit into packets. No ids give no groups.
    pub fn batches(ids: &'a [u64]) -> impl Iterator<Item = Ids<'a>> {
        ids.chunks(MAX_IDS).map(|batch| Ids(Source::Numbers(batch)))
    }

    pub(super) fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        let (ids, rest) = bytes.as_chunks();
        (rest.is_empty() && (1..=MAX_IDS).contains(&ids.len())).then_some(Self(Source::Bytes(ids)))
    }

    /// Returns the number of ids, which is never 0.
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(self) -> usize {
        match self.0 {
            Source::Numbers(ids) => ids.len(),
            Source::Bytes(ids) => ids.len(),
        }
    }

    /// Returns each id, in order.
    pub fn iter(self) -> impl Iterator<Item = u64> + use<'a> {
        let (numbers, bytes) = match self.0 {
            Source::Numbers(ids) => (ids, &[][..]),
            Source::Bytes(ids) => (&[][..], ids),
        };
        numbers.iter().copied().chain(bytes.iter().map(|id| u64::from_le_bytes(*id)))
    }
}

impl fmt::Debug for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Ids<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Ids<'_> {}
