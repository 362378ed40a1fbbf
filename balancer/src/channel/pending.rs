//! The connections that were handed to one worker: those that it has not taken yet, and those that it has.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

use crate::rotation::HandedConnection;
use crate::stats::{ConnectError, Outcome};

/// Connections by their numbers in the channel. A number is never used again.
#[derive(Default)]
pub(super) struct PendingTable {
    /// The connections that are not taken, oldest first, and the time since which each waits.
    untaken: BTreeMap<u64, (Instant, Box<dyn HandedConnection>)>,
    taken: HashMap<u64, Box<dyn HandedConnection>>,
    next: u64,
}

impl PendingTable {
    /// Adds a connection and returns its number.
    pub(super) fn add(&mut self, connection: Box<dyn HandedConnection>, now: Instant) -> u64 {
        let id = self.next;
        self.next += 1;
        self.untaken.insert(id, (now, connection));
        id
    }

    /// Returns a connection that the worker has not taken.
    pub(super) fn untaken(&self, id: u64) -> Option<&dyn HandedConnection> {
        self.untaken.get(&id).map(|(_, connection)| &**connection)
    }

    /// Returns the time since which the oldest untaken connection waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.untaken.first_key_value().map(|(_, (since, _))| *since)
    }

    /// Records that the worker has taken a connection. It is kept until its end if the worker reports ends. False if
    /// there is no such connection.
    pub(super) fn taken(&mut self, id: u64, is_kept: bool) -> bool {
        let Some((_, mut connection)) = self.untaken.remove(&id) else { return false };
        connection.taken();
        if is_kept {
            self.taken.insert(id, connection);
        }
        true
    }

    /// Records that the worker will not take a connection. False if there is no such connection.
    pub(super) fn returned(&mut self, id: u64, why: ConnectError) -> bool {
        let Some((_, connection)) = self.untaken.remove(&id) else { return false };
        connection.returned(why);
        true
    }

    /// Records the end of a connection. False if there is no such connection.
    pub(super) fn ended(&mut self, id: u64) -> bool {
        let Some(connection) = self.taken.remove(&id) else { return false };
        connection.ended(Outcome::Finished);
        true
    }

    /// Ends all: the worker is gone, and everything that it sent was read. Untaken connections go to other workers;
    /// those that it had taken end with this outcome.
    pub(super) fn clear(&mut self, outcome: Outcome) {
        for (_, connection) in self.taken.drain() {
            connection.ended(outcome);
        }
        for (_, connection) in std::mem::take(&mut self.untaken).into_values() {
            connection.returned(ConnectError::Reset);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;

    use super::*;

    struct Nobody;

    impl HandedConnection for Nobody {
        fn socket(&self) -> Option<BorrowedFd<'_>> {
            None
        }

        fn listener_id(&self) -> u32 {
            0
        }

        fn taken(&mut self) {}

        fn ended(self: Box<Self>, _outcome: Outcome) {}

        fn returned(self: Box<Self>, _why: ConnectError) {}
    }

    #[test]
    fn never_taken_entry_does_not_keep_later_memory() {
        let (mut pending, now) = (PendingTable::default(), Instant::now());
        pending.add(Box::new(Nobody), now);
        for _ in 0..1_000 {
            let id = pending.add(Box::new(Nobody), now);
            assert!(pending.taken(id, true) && pending.ended(id));
        }
        assert_eq!(pending.oldest(), Some(now));
        assert_eq!((pending.untaken.len(), pending.taken.len()), (1, 0));
    }
}
