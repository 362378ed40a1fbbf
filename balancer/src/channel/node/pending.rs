//! The clients given to one worker that it has neither taken nor refused yet. Pure.

use crate::rotation::MAX_PENDING;

#[derive(Clone, Copy, Debug)]
struct PendingConnection {
    id: u64,
    /// The number of its `newconn` message; the worker repeats it in its answer.
    seq: u64,
    /// True if the worker may have received it.
    is_written: bool,
}

/// The clients in the order in which they were given. They are few, so a linear search is fastest.
#[derive(Debug, Default)]
pub(super) struct PendingConnections(Vec<PendingConnection>);

impl PendingConnections {
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_PENDING
    }

    pub(super) fn add(&mut self, id: u64, seq: u64) {
        self.0.push(PendingConnection { id, seq, is_written: false });
    }

    pub(super) fn has(&self, id: u64) -> bool {
        self.0.iter().any(|connection| connection.id == id)
    }

    /// Sets whether the worker may have received this client, or it is back and waits again.
    pub(super) fn set_written(&mut self, id: u64, is_written: bool) {
        self.0
            .iter_mut()
            .filter(|connection| connection.id == id)
            .for_each(|connection| connection.is_written = is_written);
    }

    /// Removes the client that the worker has answered for. `None` if the worker cannot have received that number.
    pub(super) fn answered(&mut self, seq: u64) -> Option<u64> {
        let i = self.0.iter().position(|connection| connection.seq == seq && connection.is_written)?;
        Some(self.0.remove(i).id)
    }

    /// Removes a client; false if it was not there.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        let before = self.0.len();
        self.0.retain(|connection| connection.id != id);
        self.0.len() < before
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|connection| connection.id)
    }
}
