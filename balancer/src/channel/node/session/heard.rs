//! What a worker's lines mean to its session. Pure.

use serde_json::{Map, Value};

use super::Session;
use crate::channel::node::broken::{Broken, excerpt};
use crate::channel::node::news::{News, Why};
use crate::channel::node::outbox::Cargo;
use crate::channel::node::query::{Answer, Query};
use crate::channel::node::say;
use crate::channel::node::wire::{self, Message};

/// So often a socket is sent before it is given up: once, and three times more as Node itself does.
const MOST_TRIES: u8 = 4;

/// So many answers a worker may wait for or leave unread. An app that listens on more at once does not exist; a program
/// that only ever asks must not fill our memory.
const MOST_ASKED: usize = 1024;

/// The longest cluster message that is taken, in bytes. Its longest part is a path.
const LONGEST_INTERNAL: usize = 64 * 1024;

impl Session {
    pub(super) fn read_lines(&mut self, news: &mut Vec<News>) -> Result<(), Broken> {
        while let Some(line) = self.lines.next_line()? {
            news.extend(match wire::read(&line)? {
                Message::User(message) => Some(News::Message(message)),
                Message::Unreadable => Some(News::Ignored("a message with half a character, or nested too deep")),
                Message::Internal(message) => self.internal(message, &line)?,
            });
            if self.asked.len() + self.outbox.words() > MOST_ASKED {
                return Err(Broken::Greedy(MOST_ASKED));
            }
        }
        Ok(())
    }

    fn internal(&mut self, message: Map<String, Value>, line: &str) -> Result<Option<News>, Broken> {
        Ok(match message.get("cmd").and_then(Value::as_str) {
            Some("NODE_CLUSTER") if line.len() > LONGEST_INTERNAL => {
                return Err(Broken::LongInternal { length: line.len(), excerpt: excerpt(line) });
            }
            Some("NODE_CLUSTER") => self.cluster(message),
            Some("NODE_HANDLE") => {
                let came = self.descriptors > 0;
                self.descriptors = self.descriptors.saturating_sub(1);
                self.outbox.push_urgent(came);
                let lost = News::Ignored("a socket that did not arrive; the worker was told so");
                Some(if came { News::StrayDescriptor } else { lost })
            }
            Some("NODE_HANDLE_ACK") => self.landed(true)?,
            Some("NODE_HANDLE_NACK") => self.landed(false)?,
            _ => Some(News::Ignored("a message of Node that has no meaning here")),
        })
    }

    /// What was on its way is there, with its socket or without.
    fn landed(&mut self, came: bool) -> Result<Option<News>, Broken> {
        let Some(item) = self.outbox.landed() else {
            return Ok(Some(News::Ignored("an acknowledgement of no socket")));
        };
        let is_last = item.tries >= MOST_TRIES;
        match &item.cargo {
            // That it seems to have come with a socket is odd, but the worker lives.
            Cargo::Ping(token) => return Ok(Some(News::Pong(*token))),
            _ if came => (),
            // The worker has answered for it already, without having it: there is nothing to be sent again.
            Cargo::Guest(guest) if !self.guests.has(*guest) => (),
            Cargo::Guest(guest) if is_last => {
                self.guests.remove(*guest);
                return Ok(Some(News::Refused(*guest, Why::NoDescriptorAfterRetries)));
            }
            Cargo::Listener { key, .. } if is_last => {
                return Err(Broken::NoListener { key: excerpt(key), tries: MOST_TRIES });
            }
            Cargo::Guest(guest) => {
                self.guests.set_written(*guest, false);
                self.outbox.again(item);
            }
            Cargo::Listener { .. } => self.outbox.again(item),
            Cargo::Word | Cargo::Message => (),
        }
        Ok(None)
    }

    fn cluster(&mut self, mut message: Map<String, Value>) -> Option<News> {
        let number = |name| message.get(name).and_then(Value::as_u64);
        let (seq, ack) = (number("seq"), number("ack"));
        if let Some(guest) = ack.and_then(|ack| self.guests.answered(ack)) {
            let is_taken = message.get("accepted") == Some(&Value::Bool(true));
            return Some(if is_taken { News::Taken(guest) } else { News::Refused(guest, Why::NotAccepted) });
        }
        Some(match message.get("act").and_then(Value::as_str) {
            Some("online") => News::Online,
            Some("queryServer") => return self.query(seq, &mut message),
            Some("listening") => match Query::read(&mut message) {
                Some(Query { address, port, address_type, .. }) => News::Listening { address, port, address_type },
                None => News::Ignored("a `listening` of an unknown form"),
            },
            Some("close") => match message.get("key").and_then(Value::as_str) {
                Some(key) if self.keys.remove(key).is_some() => News::Closed { key: key.to_owned() },
                _ => News::Ignored("a `close` of a server that it has not"),
            },
            Some("exitedAfterDisconnect") => {
                if let Some(ack) = seq {
                    let seq = self.seq();
                    self.outbox.push(say::heard(ack, seq), Cargo::Word);
                }
                self.is_leaving = true;
                News::Leaving
            }
            Some(_) => News::Ignored("a cluster message that has no meaning here"),
            None => News::Ignored("an answer to nothing"),
        })
    }

    fn query(&mut self, seq: Option<u64>, message: &mut Map<String, Value>) -> Option<News> {
        let Some(seq) = seq else { return Some(News::Ignored("a query without a number")) };
        if self.is_leaving {
            return Some(News::Ignored("a query of a worker that is leaving"));
        }
        if let Some(query) = Query::read(message) {
            let is_new = self.asked.insert(seq);
            return Some(if is_new { News::Query(query) } else { News::Ignored("a query by a used number") });
        }
        // It would wait for ever, and its app with it.
        let refusal = Answer::Refused { errno: libc::EINVAL, key: String::new() };
        let line = say::answer(&refusal, seq, self.seq());
        self.outbox.push(line, Cargo::Word);
        Some(News::Ignored("a query of an unknown form; it was answered EINVAL"))
    }
}
