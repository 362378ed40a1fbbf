//! One worker's side of the protocol: what it said, what that means, and what it is told. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::encode;
use super::event::{NodeEvent, SendError};
use super::outbox::{Attached, Out, Outbox, Payload};
use super::pending::PendingConnections;
use super::query::Answer;
use super::wire::{self, Lines};

/// The way in which a worker serves a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServeMode {
    /// It is handed connections.
    Handed,
    /// It accepts by itself.
    Accepts,
}

/// The state of one worker's channel.
#[derive(Debug, Default)]
pub struct Session {
    lines: Lines,
    outbox: Outbox,
    connections: PendingConnections,
    keys: BTreeMap<String, ServeMode>,
    /// The queries without an answer, by the worker's numbers.
    asked: BTreeSet<u64>,
    /// Descriptors that came and that no message has named yet.
    descriptors: u64,
    next_seq: u64,
    is_disconnecting: bool,
    is_broken: bool,
}

impl Session {
    /// A descriptor came. To be said before the bytes that came with it. Since none is ever used, the caller may close
    /// it at once; the worker only wants to hear that it arrived.
    pub fn descriptor_came(&mut self) {
        self.descriptors = self.descriptors.saturating_add(1);
    }

    /// Takes the bytes read from the worker. The lines before a broken one count all the same.
    pub fn received(&mut self, bytes: &[u8]) -> Vec<NodeEvent> {
        let mut events = Vec::new();
        if self.is_broken {
            return events;
        }
        self.lines.push(bytes);
        if let Err(broken) = self.read_lines(&mut events) {
            self.is_broken = true;
            events.push(NodeEvent::Broken(broken));
        }
        events
    }

    /// Gives the worker a client for the server of this key; its end is [`NodeEvent::Taken`], [`NodeEvent::Refused`] or
    /// the end of the channel.
    ///
    /// # Errors
    ///
    /// It is disconnecting, broken, not on the key, or has more than it can answer for.
    pub fn give(&mut self, connection: u64, key: &str) -> Result<(), SendError> {
        self.must_be_connected()?;
        if self.keys.get(key) != Some(&ServeMode::Handed) {
            return Err(SendError::NotOn(key.to_owned()));
        }
        if self.connections.has(connection) || self.outbox.in_flight() == Some(&Payload::Connection(connection)) {
            return Err(SendError::GivenTwice(connection));
        }
        if self.connections.is_full() {
            return Err(SendError::Full);
        }
        let seq = self.seq();
        self.connections.add(connection, seq);
        self.outbox.push(encode::newconn(key, seq), Payload::Connection(connection));
        Ok(())
    }

    /// Answers a query. The worker is on the key from now on, if it is not refused.
    ///
    /// # Errors
    ///
    /// It did not ask, is on the key already, is disconnecting or broken.
    pub fn answer(&mut self, seq: u64, answer: Answer) -> Result<(), SendError> {
        self.must_be_connected()?;
        if !self.asked.contains(&seq) {
            return Err(SendError::NotAsked(seq));
        }
        if let Answer::RoundRobin { key, .. } | Answer::Shared { key, .. } = &answer
            && self.keys.contains_key(key)
        {
            return Err(SendError::AlreadyOn(key.clone()));
        }
        self.asked.remove(&seq);
        let line = encode::answer(&answer, seq, self.seq());
        let payload = match answer {
            Answer::RoundRobin { key, .. } => {
                self.keys.insert(key, ServeMode::Handed);
                Payload::Word
            }
            Answer::Shared { key, listener, .. } => {
                self.keys.insert(key.clone(), ServeMode::Accepts);
                Payload::Listener { listener, key }
            }
            Answer::Refused { .. } => Payload::Word,
        };
        self.outbox.push(line, payload);
        Ok(())
    }

    /// Tells the app something. Before the app listens for messages, Node drops them: wait for
    /// [`NodeEvent::Listening`].
    ///
    /// # Errors
    ///
    /// It would be taken for Node's own, or too much waits already; the channel is broken.
    pub fn message(&mut self, message: &Value) -> Result<(), SendError> {
        if self.is_broken {
            return Err(SendError::Broken);
        }
        if wire::is_of_node(message) {
            return Err(SendError::OfNode);
        }
        let line = encode::line(message);
        if !self.outbox.has_room(line.len()) {
            return Err(SendError::NoRoom(line.len()));
        }
        self.outbox.push(line, Payload::Message);
        Ok(())
    }

    /// Tells the worker to finish and go, after what it was given before. False, and nothing is said, if it goes
    /// already: a second command can end it with an error.
    pub fn disconnect(&mut self) -> bool {
        if self.is_disconnecting || self.is_broken {
            return false;
        }
        self.is_disconnecting = true;
        let seq = self.seq();
        self.outbox.push(encode::disconnect(seq), Payload::Word);
        true
    }

    /// Asks whether the worker's loop turns; [`NodeEvent::Pong`] says yes. False, and nothing is said, while one waits
    /// for its answer. It needs the way of the sockets: while a connection is on its way, that connection's
    /// acknowledgement says the same.
    pub fn ping(&mut self, token: u64) -> bool {
        if self.is_broken || self.outbox.has_ping() {
            return false;
        }
        self.outbox.push(encode::PING.into(), Payload::Ping(token));
        true
    }

    /// The data that may be written now. It has to be written whole before the next is asked for.
    pub fn next_out(&mut self) -> Option<Out> {
        if self.is_broken {
            return None;
        }
        let out = self.outbox.next()?;
        if let Some(Attached::Connection(connection)) = out.attached {
            self.connections.set_written(connection, true);
        }
        Some(out)
    }

    /// The connection that is on its way: written, and the worker has neither said that it came nor taken it.
    pub fn in_flight(&self) -> Option<u64> {
        match self.outbox.in_flight() {
            Some(Payload::Connection(connection)) if self.connections.has(*connection) => Some(*connection),
            _ => None,
        }
    }

    /// Returns true if the line on its way is all that the worker can have left unread: then a holder of its end of the
    /// channel may read it back.
    pub fn is_clean(&self) -> bool {
        self.outbox.is_clean()
    }

    /// The connection on its way was read back before the worker saw it: it is forgotten, and the way is free. False,
    /// and nothing changes, if it is not on its way alone.
    pub fn reclaimed(&mut self, connection: u64) -> bool {
        let may = self.is_clean() && self.in_flight() == Some(connection);
        if may {
            self.outbox.reclaim();
            self.connections.remove(connection);
        }
        may
    }

    /// Takes a connection back that was not written yet, or whose descriptor did not arrive. False if the worker may
    /// have it.
    pub fn withdraw(&mut self, connection: u64) -> bool {
        self.outbox.withdraw(connection) && self.connections.remove(connection)
    }

    /// The connections that were neither taken nor refused, in the order in which they were given. When the worker is
    /// dead and its channel was read to the end, they are untouched and can go to another one.
    pub fn unacknowledged(&self) -> impl Iterator<Item = u64> {
        self.connections.ids()
    }

    /// The servers that the worker has, by key.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Returns true if the worker was told to disconnect, or said that it does.
    pub fn is_disconnecting(&self) -> bool {
        self.is_disconnecting
    }

    fn must_be_connected(&self) -> Result<(), SendError> {
        match (self.is_broken, self.is_disconnecting) {
            (true, _) => Err(SendError::Broken),
            (_, true) => Err(SendError::Disconnecting),
            _ => Ok(()),
        }
    }

    fn seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }
}

mod receive;
#[cfg(test)]
mod tests;
