//! Bytes of our own that go to a worker before the client's first one.
//!
//! They are not the client's. A worker that was given only these bytes may still be replaced, and the next worker gets
//! them again, whole and once.

/// The bytes that a connection sends first to every worker that it tries. Boxed where it is kept: most pools have none.
#[derive(Debug)]
pub(crate) struct Preamble {
    bytes: Box<[u8]>,
    /// The number of its bytes at the front of the data that is still to be written.
    unsent: usize,
}

impl Preamble {
    /// Makes a preamble of bytes that are to be written; `None` if there are none.
    pub(crate) fn new(bytes: Vec<u8>) -> Option<Box<Self>> {
        (!bytes.is_empty()).then(|| Box::new(Self { unsent: bytes.len(), bytes: bytes.into() }))
    }

    /// Records that the next `n` bytes were written. Returns how many of them were the client's.
    pub(crate) fn written(&mut self, n: usize) -> usize {
        let ours = n.min(self.unsent);
        self.unsent -= ours;
        n - ours
    }

    /// Returns true if the worker has all of the preamble.
    pub(crate) fn is_sent(&self) -> bool {
        self.unsent == 0
    }

    /// Begins again for another worker. Returns the bytes to write to it: the preamble, then the client's part of
    /// `kept`, which this worker was not sent.
    pub(crate) fn renew(&mut self, kept: &[u8]) -> Vec<u8> {
        let clients = kept.get(self.unsent..).unwrap_or_default();
        self.unsent = self.bytes.len();
        [&self.bytes, clients].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_worker_gets_whole_preamble_once() {
        for taken in 0..=6 {
            let all = b"HEADERclient";
            let mut preamble = Preamble::new(b"HEADER".to_vec()).unwrap();
            assert_eq!(preamble.written(taken), 0);
            assert_eq!(preamble.is_sent(), taken == 6);
            assert_eq!(preamble.renew(&all[taken..]), all);
            assert_eq!(preamble.written(9), 3, "of nine bytes three are the client's");
        }
        assert!(Preamble::new(Vec::new()).is_none());
    }
}
