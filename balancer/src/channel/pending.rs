//! The connections that were handed to one worker: which of them it has not taken yet, and which it has.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

use crate::rotation::HandedConnection;
use crate::stats::{ConnectError, Outcome};

/// Connections by the numbers that the channel knows them by. A number is never used again.
#[derive(Default)]
pub(super) struct PendingTable {
    /// Those not taken, oldest first, and since when they wait.
    untaken: BTreeMap<u64, (Instant, Box<dyn HandedConnection>)>,
    taken: HashMap<u64, Box<dyn HandedConnection>>,
    next: u64,
}

impl PendingTable {
    /// Takes a connection in and gives it a number.
    pub(super) fn add(&mut self, connection: Box<dyn HandedConnection>, now: Instant) -> u64 {
        let id = self.next;
        self.next += 1;
        self.untaken.insert(id, (now, connection));
        id
    }

    /// A connection that the worker has not taken.
    pub(super) fn untaken(&self, id: u64) -> Option<&dyn HandedConnection> {
        self.untaken.get(&id).map(|(_, connection)| &**connection)
    }

    /// Since when the oldest connection that was not taken waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.untaken.first_key_value().map(|(_, (since, _))| *since)
    }

    /// The worker has taken it; it is kept until its end if that will be told. False if there is no such connection.
    pub(super) fn taken(&mut self, id: u64, is_kept: bool) -> bool {
        let Some((_, mut connection)) = self.untaken.remove(&id) else { return false };
        connection.taken();
        if is_kept {
            self.taken.insert(id, connection);
        }
        true
    }

    /// The worker will not have it. False if there is no such connection.
    pub(super) fn returned(&mut self, id: u64, why: ConnectError) -> bool {
        let Some((_, connection)) = self.untaken.remove(&id) else { return false };
        connection.returned(why);
        true
    }

    /// It has ended. False if there is no such connection.
    pub(super) fn ended(&mut self, id: u64) -> bool {
        let Some(connection) = self.taken.remove(&id) else { return false };
        connection.ended(Outcome::Finished);
        true
    }

    /// The worker is gone, and all that it said was heard: what it had not taken goes to others, what it had ends so.
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
