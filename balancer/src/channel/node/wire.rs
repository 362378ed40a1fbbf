//! The stream as lines, and a line as a message. Pure.
//!
//! Any cut of the stream into reads gives the same lines. A byte is looked at once, however it comes.

use bytes::{Buf, BytesMut};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::broken::{Broken, excerpt};

/// The longest line that is taken, in bytes. Node itself knows no bound; apps that send that much in one message do not
/// exist, and a program that never ends its line must not fill our memory.
pub const LONGEST_LINE: usize = 16 * 1024 * 1024;

/// A buffer beyond this is given back as soon as it is empty: one long message must not cost its size for ever.
const KEPT: usize = 64 * 1024;

/// The bytes that have arrived and were not taken yet.
#[derive(Debug)]
pub struct Lines {
    buffer: BytesMut,
    /// So many bytes of the buffer hold no end of line.
    searched: usize,
    longest: usize,
}

impl Default for Lines {
    fn default() -> Self {
        Self::within(LONGEST_LINE)
    }
}

impl Lines {
    /// Takes lines of at most `longest` bytes.
    pub fn within(longest: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, longest }
    }

    /// The data that was read. Take the lines before the next read: what is held is at most a line and one read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line, without its end.
    ///
    /// # Errors
    ///
    /// The line is longer than the bound, as soon as that is sure, or not UTF-8. What comes after it means nothing.
    pub fn next_line(&mut self) -> Result<Option<String>, Broken> {
        let fresh = self.buffer.get(self.searched..).unwrap_or_default();
        let end = fresh.iter().position(|byte| *byte == b'\n').map(|i| self.searched + i);
        let length = end.unwrap_or(self.buffer.len());
        if length > self.longest {
            return Err(Broken::LongLine { longest: self.longest });
        }
        if end.is_none() {
            self.searched = length;
            return Ok(None);
        }
        self.searched = 0;
        let line = self.buffer.split_to(length).to_vec();
        self.buffer.advance(1);
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT {
            self.buffer = BytesMut::new();
        }
        match String::from_utf8(line) {
            Ok(line) => Ok(Some(line)),
            Err(error) => Err(Broken::NotText { excerpt: excerpt(&String::from_utf8_lossy(error.as_bytes())) }),
        }
    }
}

/// A line, understood.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Node's own; has a `cmd`.
    Internal(Map<String, Value>),
    /// The app's own.
    User(Value),
    /// JSON, but with half a surrogate pair in a text or nested beyond 128 levels, which [`Value`] does not hold.
    Unreadable,
}

/// Parses a line.
///
/// # Errors
///
/// It is not JSON.
pub fn read(line: &str) -> Result<Message, Broken> {
    let cause = match serde_json::from_str(line) {
        Ok(Value::Object(object)) if is_internal(object.get("cmd")) => return Ok(Message::Internal(object)),
        Ok(value) => return Ok(Message::User(value)),
        Err(cause) => cause,
    };
    if serde_json::from_str::<IgnoredAny>(line).is_err() {
        return Err(Broken::NotJson { excerpt: excerpt(line), cause: cause.to_string() });
    }
    // An app may send any text that JavaScript can hold. Its channel works on, and a socket beside it has to be
    // answered.
    Ok(match serde_json::from_str::<Envelope>(line).map(|envelope| Value::String(envelope.cmd)) {
        Ok(cmd) if is_internal(Some(&cmd)) => Message::Internal(Map::from_iter([("cmd".to_owned(), cmd)])),
        _ => Message::Unreadable,
    })
}

/// Returns true if a receiver would take the value for one of Node's own messages.
pub fn is_of_node(value: &Value) -> bool {
    is_internal(value.get("cmd"))
}

fn is_internal(cmd: Option<&Value>) -> bool {
    let cmd = cmd.and_then(Value::as_str).unwrap_or_default();
    cmd.len() > "NODE_".len() && cmd.starts_with("NODE_")
}

#[derive(Deserialize)]
struct Envelope {
    cmd: String,
}

#[cfg(test)]
mod tests;
