//! One worker's side of the talk: what it said, what that means, and what it is told. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::guests::Guests;
use super::news::{News, Unsaid};
use super::outbox::{Attached, Cargo, Out, Outbox};
use super::query::Answer;
use super::say;
use super::wire::{self, Lines};

/// How a worker serves a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It is handed connections.
    Handed,
    /// It accepts by itself.
    Accepts,
}

/// What is known of one worker's channel.
#[derive(Debug, Default)]
pub struct Session {
    lines: Lines,
    outbox: Outbox,
    guests: Guests,
    keys: BTreeMap<String, Way>,
    /// The queries without an answer, by the worker's numbers.
    asked: BTreeSet<u64>,
    /// Descriptors that came and that no message has named yet.
    descriptors: u64,
    next_seq: u64,
    is_leaving: bool,
    is_broken: bool,
}

impl Session {
    /// A descriptor came. To be said before the bytes that came with it. Since none is ever used, the caller may close it
    /// at once; the worker only wants to hear that it arrived.
    pub fn descriptor_came(&mut self) {
        self.descriptors = self.descriptors.saturating_add(1);
    }

    /// What was read from the worker. The lines that stand before a broken one are news all the same.
    pub fn received(&mut self, bytes: &[u8]) -> Vec<News> {
        let mut news = Vec::new();
        if self.is_broken {
            return news;
        }
        self.lines.push(bytes);
        if let Err(broken) = self.read_lines(&mut news) {
            self.is_broken = true;
            news.push(News::Broken(broken));
        }
        news
    }

    /// Gives the worker a client for the server of this key; its end is [`News::Taken`], [`News::Refused`] or the end of
    /// the channel.
    ///
    /// # Errors
    ///
    /// It is leaving, broken, not on the key, or has more than it can answer for.
    pub fn give(&mut self, guest: u64, key: &str) -> Result<(), Unsaid> {
        self.must_stay()?;
        if self.keys.get(key) != Some(&Way::Handed) {
            return Err(Unsaid::NotOn(key.to_owned()));
        }
        if self.guests.has(guest) || self.outbox.flight() == Some(&Cargo::Guest(guest)) {
            return Err(Unsaid::GivenTwice(guest));
        }
        if self.guests.is_full() {
            return Err(Unsaid::Full);
        }
        let seq = self.seq();
        self.guests.add(guest, seq);
        self.outbox.push(say::newconn(key, seq), Cargo::Guest(guest));
        Ok(())
    }

    /// Answers a query. The worker is on the key from now on, if it is not refused.
    ///
    /// # Errors
    ///
    /// It did not ask, is on the key already, is leaving or broken.
    pub fn answer(&mut self, seq: u64, answer: Answer) -> Result<(), Unsaid> {
        self.must_stay()?;
        if !self.asked.contains(&seq) {
            return Err(Unsaid::NotAsked(seq));
        }
        if let Answer::RoundRobin { key, .. } | Answer::Shared { key, .. } = &answer
            && self.keys.contains_key(key)
        {
            return Err(Unsaid::AlreadyOn(key.clone()));
        }
        self.asked.remove(&seq);
        let line = say::answer(&answer, seq, self.seq());
        let cargo = match answer {
            Answer::RoundRobin { key, .. } => {
                self.keys.insert(key, Way::Handed);
                Cargo::Word
            }
            Answer::Shared { key, listener, .. } => {
                self.keys.insert(key.clone(), Way::Accepts);
                Cargo::Listener { listener, key }
            }
            Answer::Refused { .. } => Cargo::Word,
        };
        self.outbox.push(line, cargo);
        Ok(())
    }

    /// Tells the app something. Before the app listens for messages, Node drops them: wait for [`News::Listening`].
    ///
    /// # Errors
    ///
    /// It would be taken for Node's own, or too much waits already; the channel is broken.
    pub fn message(&mut self, message: &Value) -> Result<(), Unsaid> {
        if self.is_broken {
            return Err(Unsaid::Broken);
        }
        if wire::is_of_node(message) {
            return Err(Unsaid::OfNode);
        }
        let line = say::line(message);
        if !self.outbox.has_room(line.len()) {
            return Err(Unsaid::NoRoom(line.len()));
        }
        self.outbox.push(line, Cargo::Message);
        Ok(())
    }

    /// Orders the worker to finish and go, after what it was given before. False, and nothing is said, if it goes already:
    /// a second order can end it with an error.
    pub fn disconnect(&mut self) -> bool {
        if self.is_leaving || self.is_broken {
            return false;
        }
        self.is_leaving = true;
        let seq = self.seq();
        self.outbox.push(say::disconnect(seq), Cargo::Word);
        true
    }

    /// Asks whether the worker's loop turns; [`News::Pong`] says yes. False, and nothing is said, while one waits for its
    /// answer. It needs the way of the sockets: while a guest is on its way, that guest's acknowledgement says the same.
    pub fn ping(&mut self, token: u64) -> bool {
        if self.is_broken || self.outbox.has_ping() {
            return false;
        }
        self.outbox.push(say::PING.into(), Cargo::Ping(token));
        true
    }

    /// What may be written now. It has to be written whole before the next is asked for.
    pub fn next_out(&mut self) -> Option<Out> {
        if self.is_broken {
            return None;
        }
        let out = self.outbox.next()?;
        if let Some(Attached::Guest(guest)) = out.attached {
            self.guests.set_written(guest, true);
        }
        Some(out)
    }

    /// The guest that is on its way: written, and the worker has neither said that it came nor taken it.
    pub fn in_flight(&self) -> Option<u64> {
        match self.outbox.flight() {
            Some(Cargo::Guest(guest)) if self.guests.has(*guest) => Some(*guest),
            _ => None,
        }
    }

    /// Whether the line on its way is all that the worker can have left unread: then whoever holds the worker's end of the
    /// channel may read it back.
    pub fn is_clean(&self) -> bool {
        self.outbox.is_clean()
    }

    /// The guest on its way was read back before the worker saw it: it is forgotten, and the way is free. False, and
    /// nothing changes, if it is not on its way alone.
    pub fn taken_back(&mut self, guest: u64) -> bool {
        let may = self.is_clean() && self.in_flight() == Some(guest);
        if may {
            self.outbox.take_back();
            self.guests.remove(guest);
        }
        may
    }

    /// Takes a guest back that was not written yet, or whose descriptor did not arrive. False if the worker may have it.
    pub fn withdraw(&mut self, guest: u64) -> bool {
        self.outbox.withdraw(guest) && self.guests.remove(guest)
    }

    /// The guests that were neither taken nor refused, in the order in which they were given. When the worker is dead and
    /// its channel was read to the end, they are untouched and can go to another one.
    pub fn unacknowledged(&self) -> impl Iterator<Item = u64> {
        self.guests.ids()
    }

    /// The servers that the worker has, by key.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Whether it was told to go, or said that it does.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    fn must_stay(&self) -> Result<(), Unsaid> {
        match (self.is_broken, self.is_leaving) {
            (true, _) => Err(Unsaid::Broken),
            (_, true) => Err(Unsaid::Leaving),
            _ => Ok(()),
        }
    }

    fn seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }
}

mod heard;
#[cfg(test)]
mod tests;
