//! One worker's side of the protocol: reads its messages as events, and decides what is sent to it. Pure.

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
    /// The master hands it connections.
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
    /// The queries that have no answer yet, by the worker's numbers.
    asked: BTreeSet<u64>,
    /// The number of descriptors that arrived and that no message has claimed yet.
    descriptors: u64,
    next_seq: u64,
    is_disconnecting: bool,
    is_broken: bool,
}

impl Session {
    /// Records that a descriptor arrived. Call it before [`Session::received`] with the bytes that came along. No
    /// descriptor is ever used, so the caller may close it at once; the worker only waits for the acknowledgement.
    pub fn descriptor_came(&mut self) {
        self.descriptors = self.descriptors.saturating_add(1);
    }

    /// Handles bytes that were read from the worker. Lines before a broken one still count.
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

    /// Gives the worker a client for the server of this key. The result comes as [`NodeEvent::Taken`] or
    /// [`NodeEvent::Refused`], or the channel ends.
    ///
    /// # Errors
    ///
    /// The worker is disconnecting, its channel is broken, it has no such server, or too many connections are pending.
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

    /// Answers a query. Unless it is refused, the worker has a server with that key from now on.
    ///
    /// # Errors
    ///
    /// There is no such query, the worker has that key already, is disconnecting, or its channel is broken.
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

    /// Sends a message to the app. Node drops messages until the app listens for them: wait for
    /// [`NodeEvent::Listening`].
    ///
    /// # Errors
    ///
    /// Node would take the message for its own, too much waits already, or the channel is broken.
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

    /// Tells the worker to finish and exit, after everything that it was given before. Returns false, and sends
    /// nothing, if the worker is leaving already: a second command can end it with an error.
    pub fn disconnect(&mut self) -> bool {
        if self.is_disconnecting || self.is_broken {
            return false;
        }
        self.is_disconnecting = true;
        let seq = self.seq();
        self.outbox.push(encode::disconnect(seq), Payload::Word);
        true
    }

    /// Asks if the worker's event loop runs; [`NodeEvent::Pong`] is the answer. Returns false, and sends nothing, while
    /// another ping waits. A ping counts as a socket in flight, so it waits while a connection is in flight; the
    /// acknowledgement of that connection proves the same.
    pub fn ping(&mut self, token: u64) -> bool {
        if self.is_broken || self.outbox.has_ping() {
            return false;
        }
        self.outbox.push(encode::PING.into(), Payload::Ping(token));
        true
    }

    /// Returns the next line that may be written now. It must be written whole before the next call.
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

    /// Returns the connection in flight: it was written, and the worker has neither acknowledged nor taken it.
    pub fn in_flight(&self) -> Option<u64> {
        match self.outbox.in_flight() {
            Some(Payload::Connection(connection)) if self.connections.has(*connection) => Some(*connection),
            _ => None,
        }
    }

    /// Returns true if the line in flight is the only thing that the worker may not have read. Then the line may be
    /// read back from the worker's end of the channel.
    pub fn is_clean(&self) -> bool {
        self.outbox.is_clean()
    }

    /// Records that the connection in flight was read back before the worker saw it. Returns false, and changes
    /// nothing, if it was not the only thing unread.
    pub fn reclaimed(&mut self, connection: u64) -> bool {
        let may = self.is_clean() && self.in_flight() == Some(connection);
        if may {
            self.outbox.reclaim();
            self.connections.remove(connection);
        }
        may
    }

    /// Takes back a connection that was not written yet, or whose descriptor did not arrive. Returns false if the
    /// worker may have it.
    pub fn withdraw(&mut self, connection: u64) -> bool {
        self.outbox.withdraw(connection) && self.connections.remove(connection)
    }

    /// Returns the connections that were neither taken nor refused, in the order in which they were given. When the
    /// worker is dead and its channel was read to the end, they are untouched and can go to another worker.
    pub fn unacknowledged(&self) -> impl Iterator<Item = u64> {
        self.connections.ids()
    }

    /// Returns the keys of the worker's servers.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Returns true if the worker was told to disconnect, or said that it disconnects.
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
