//! The connections that were handed to one worker: which of them it has not taken yet, and which it has.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use crate::rotation::Guest;
use crate::stats::{ConnectError, Outcome};

/// Guests by the numbers that the channel knows them by. A number is never used again.
#[derive(Default)]
pub(super) struct Table {
    guests: HashMap<u64, Held>,
    /// Those not taken, oldest first; with some that have been taken since.
    untaken: VecDeque<u64>,
    next: u64,
}

struct Held {
    guest: Box<dyn Guest>,
    given: Instant,
    is_taken: bool,
}

impl Table {
    /// Takes a guest in and gives it a number.
    pub(super) fn add(&mut self, guest: Box<dyn Guest>, now: Instant) -> u64 {
        let id = self.next;
        self.next += 1;
        self.guests.insert(id, Held { guest, given: now, is_taken: false });
        self.untaken.push_back(id);
        id
    }

    /// A guest that the worker has not taken.
    pub(super) fn untaken(&self, id: u64) -> Option<&dyn Guest> {
        self.guests.get(&id).filter(|held| !held.is_taken).map(|held| &*held.guest)
    }

    /// Since when the oldest guest that was not taken waits.
    pub(super) fn oldest(&mut self) -> Option<Instant> {
        while let Some(id) = self.untaken.front() {
            match self.guests.get(id) {
                Some(held) if !held.is_taken => return Some(held.given),
                _ => drop(self.untaken.pop_front()),
            }
        }
        None
    }

    /// The worker has taken it; it is kept until its end if that will be told. False if there is no such guest.
    pub(super) fn taken(&mut self, id: u64, is_kept: bool) -> bool {
        let Some(held) = self.guests.get_mut(&id).filter(|held| !held.is_taken) else { return false };
        held.guest.taken();
        held.is_taken = true;
        if !is_kept {
            self.guests.remove(&id);
        }
        true
    }

    /// The worker will not have it. False if there is no such guest.
    pub(super) fn returned(&mut self, id: u64, why: ConnectError) -> bool {
        if self.untaken(id).is_none() {
            return false;
        }
        if let Some(held) = self.guests.remove(&id) {
            held.guest.returned(why);
        }
        true
    }

    /// It has ended. False if there is no such guest.
    pub(super) fn ended(&mut self, id: u64) -> bool {
        if !self.guests.get(&id).is_some_and(|held| held.is_taken) {
            return false;
        }
        if let Some(held) = self.guests.remove(&id) {
            held.guest.ended(Outcome::Finished);
        }
        true
    }

    /// The worker is gone, and all that it said was heard: what it had not taken goes to others, what it had ends so.
    pub(super) fn clear(&mut self, outcome: Outcome) {
        self.untaken.clear();
        let mut held: Vec<_> = self.guests.drain().collect();
        held.sort_unstable_by_key(|(id, _)| *id);
        for (_, held) in held {
            match held.is_taken {
                true => held.guest.ended(outcome),
                false => held.guest.returned(ConnectError::Reset),
            }
        }
    }
}
