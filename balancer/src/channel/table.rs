//! The connections that were handed to one worker: which of them it has not taken yet, and which it has.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

use crate::rotation::Guest;
use crate::stats::{ConnectError, Outcome};

/// Guests by the numbers that the channel knows them by. A number is never used again.
#[derive(Default)]
pub(super) struct Table {
    /// Those not taken, oldest first, and since when they wait.
    untaken: BTreeMap<u64, (Instant, Box<dyn Guest>)>,
    taken: HashMap<u64, Box<dyn Guest>>,
    next: u64,
}

impl Table {
    /// Takes a guest in and gives it a number.
    pub(super) fn add(&mut self, guest: Box<dyn Guest>, now: Instant) -> u64 {
        let id = self.next;
        self.next += 1;
        self.untaken.insert(id, (now, guest));
        id
    }

    /// A guest that the worker has not taken.
    pub(super) fn untaken(&self, id: u64) -> Option<&dyn Guest> {
        self.untaken.get(&id).map(|(_, guest)| &**guest)
    }

    /// Since when the oldest guest that was not taken waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.untaken.first_key_value().map(|(_, (since, _))| *since)
    }

    /// The worker has taken it; it is kept until its end if that will be told. False if there is no such guest.
    pub(super) fn taken(&mut self, id: u64, is_kept: bool) -> bool {
        let Some((_, mut guest)) = self.untaken.remove(&id) else { return false };
        guest.taken();
        if is_kept {
            self.taken.insert(id, guest);
        }
        true
    }

    /// The worker will not have it. False if there is no such guest.
    pub(super) fn returned(&mut self, id: u64, why: ConnectError) -> bool {
        let Some((_, guest)) = self.untaken.remove(&id) else { return false };
        guest.returned(why);
        true
    }

    /// It has ended. False if there is no such guest.
    pub(super) fn ended(&mut self, id: u64) -> bool {
        let Some(guest) = self.taken.remove(&id) else { return false };
        guest.ended(Outcome::Finished);
        true
    }

    /// The worker is gone, and all that it said was heard: what it had not taken goes to others, what it had ends so.
    pub(super) fn clear(&mut self, outcome: Outcome) {
        for (_, guest) in self.taken.drain() {
            guest.ended(outcome);
        }
        for (_, guest) in std::mem::take(&mut self.untaken).into_values() {
            guest.returned(ConnectError::Reset);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;

    use super::*;

    struct Nobody;

    impl Guest for Nobody {
        fn socket(&self) -> Option<BorrowedFd<'_>> {
            None
        }

        fn door(&self) -> u32 {
            0
        }

        fn taken(&mut self) {}

        fn ended(self: Box<Self>, _outcome: Outcome) {}

        fn returned(self: Box<Self>, _why: ConnectError) {}
    }

    #[test]
    fn one_that_is_never_taken_does_not_keep_the_memory_of_those_after_it() {
        let (mut table, now) = (Table::default(), Instant::now());
        table.add(Box::new(Nobody), now);
        for _ in 0..1_000 {
            let id = table.add(Box::new(Nobody), now);
            assert!(table.taken(id, true) && table.ended(id));
        }
        assert_eq!(table.oldest(), Some(now));
        assert_eq!((table.untaken.len(), table.taken.len()), (1, 0));
    }
}
