//! Turns the lines of a worker into events of its session. Pure.

use serde_json::{Map, Value};

use super::Session;
use crate::channel::node::broken::{Broken, excerpt};
use crate::channel::node::encode;
use crate::channel::node::event::{NodeEvent, Why};
use crate::channel::node::outbox::Payload;
use crate::channel::node::query::{Answer, Query};
use crate::channel::node::wire::{self, Message};

/// The number of times that a socket is sent before it is given up: once, and three times more as Node itself does.
const MOST_TRIES: u8 = 4;

/// The number of answers that a worker may wait for or leave unread. No app listens on more at once, and a program that
/// sends queries without end must not fill our memory.
const MOST_ASKED: usize = 1024;

/// The length limit of a cluster message, in bytes. Its longest part is a path.
const LONGEST_INTERNAL: usize = 64 * 1024;

impl Session {
    pub(super) fn read_lines(&mut self, events: &mut Vec<NodeEvent>) -> Result<(), Broken> {
        while let Some(line) = self.lines.next_line()? {
            events.extend(match wire::read(&line)? {
                Message::User(message) => Some(NodeEvent::Message(message)),
                Message::Unreadable => Some(NodeEvent::Ignored("a message with half a character, or nested too deep")),
                Message::Internal(message) => self.internal(message, &line)?,
            });
            if self.asked.len() + self.outbox.words() > MOST_ASKED {
                return Err(Broken::Greedy(MOST_ASKED));
            }
        }
        Ok(())
    }

    fn internal(&mut self, message: Map<String, Value>, line: &str) -> Result<Option<NodeEvent>, Broken> {
        Ok(match message.get("cmd").and_then(Value::as_str) {
            Some("NODE_CLUSTER") if line.len() > LONGEST_INTERNAL => {
                return Err(Broken::LongInternal { length: line.len(), excerpt: excerpt(line) });
            }
            Some("NODE_CLUSTER") => self.cluster(message),
            Some("NODE_HANDLE") => {
                let came = self.descriptors > 0;
                self.descriptors = self.descriptors.saturating_sub(1);
                self.outbox.push_urgent(came);
                let lost = NodeEvent::Ignored("a socket that did not arrive; the worker was told so");
                Some(if came { NodeEvent::StrayDescriptor } else { lost })
            }
            Some("NODE_HANDLE_ACK") => self.landed(true)?,
            Some("NODE_HANDLE_NACK") => self.landed(false)?,
            _ => Some(NodeEvent::Ignored("a message of Node that has no meaning here")),
        })
    }

    /// Handles the acknowledgement of the line in flight. `came` is false if its socket did not arrive.
    fn landed(&mut self, came: bool) -> Result<Option<NodeEvent>, Broken> {
        let Some(item) = self.outbox.landed() else {
            return Ok(Some(NodeEvent::Ignored("an acknowledgement, but no socket was sent")));
        };
        let is_last = item.tries >= MOST_TRIES;
        match &item.payload {
            // It is odd if this line seems to have come with a socket, but the answer proves that the worker lives.
            Payload::Ping(token) => return Ok(Some(NodeEvent::Pong(*token))),
            _ if came => (),
            // The worker has answered for this client already, although its socket did not arrive: do not send it
            // again.
            Payload::Connection(connection) if !self.connections.has(*connection) => (),
            Payload::Connection(connection) if is_last => {
                self.connections.remove(*connection);
                return Ok(Some(NodeEvent::Refused(*connection, Why::NoDescriptorAfterRetries)));
            }
            Payload::Listener { key, .. } if is_last => {
                return Err(Broken::NoListener { key: excerpt(key), tries: MOST_TRIES });
            }
            Payload::Connection(connection) => {
                self.connections.set_written(*connection, false);
                self.outbox.again(item);
            }
            Payload::Listener { .. } => self.outbox.again(item),
            Payload::Word | Payload::Message => (),
        }
        Ok(None)
    }

    fn cluster(&mut self, mut message: Map<String, Value>) -> Option<NodeEvent> {
        let number = |name| message.get(name).and_then(Value::as_u64);
        let (seq, ack) = (number("seq"), number("ack"));
        if let Some(connection) = ack.and_then(|ack| self.connections.answered(ack)) {
            let is_taken = message.get("accepted") == Some(&Value::Bool(true));
            return Some(if is_taken {
                NodeEvent::Taken(connection)
            } else {
                NodeEvent::Refused(connection, Why::NotAccepted)
            });
        }
        Some(match message.get("act").and_then(Value::as_str) {
            Some("online") => NodeEvent::Online,
            Some("queryServer") => return self.query(seq, &mut message),
            Some("listening") => match Query::read(&mut message) {
                Some(Query { address, port, address_type, .. }) => NodeEvent::Listening { address, port, address_type },
                None => NodeEvent::Ignored("a `listening` of an unknown form"),
            },
            Some("close") => match message.get("key").and_then(Value::as_str) {
                Some(key) if self.keys.remove(key).is_some() => NodeEvent::Closed { key: key.to_owned() },
                _ => NodeEvent::Ignored("a `close` of a server that it does not have"),
            },
            Some("exitedAfterDisconnect") => {
                if let Some(ack) = seq {
                    let seq = self.seq();
                    self.outbox.push(encode::ack(ack, seq), Payload::Word);
                }
                self.is_disconnecting = true;
                NodeEvent::Disconnecting
            }
            Some(_) => NodeEvent::Ignored("a cluster message that has no meaning here"),
            None => NodeEvent::Ignored("an answer, but nothing was asked"),
        })
    }

    fn query(&mut self, seq: Option<u64>, message: &mut Map<String, Value>) -> Option<NodeEvent> {
        let Some(seq) = seq else { return Some(NodeEvent::Ignored("a query without a number")) };
        if self.is_disconnecting {
            return Some(NodeEvent::Ignored("a query of a worker that is disconnecting"));
        }
        if let Some(query) = Query::read(message) {
            let is_new = self.asked.insert(seq);
            return Some(if is_new { NodeEvent::Query(query) } else { NodeEvent::Ignored("a query by a used number") });
        }
        // Without an answer the worker, and its app, would wait forever.
        let refusal = Answer::Refused { errno: libc::EINVAL, key: String::new() };
        let line = encode::answer(&refusal, seq, self.seq());
        self.outbox.push(line, Payload::Word);
        Some(NodeEvent::Ignored("a query of an unknown form; it was answered EINVAL"))
    }
}
