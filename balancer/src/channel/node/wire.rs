//! Splits the stream into lines, and parses a line into a message. Pure.
//!
//! The lines do not depend on how the stream was cut into reads, and each byte is looked at once.

use bytes::{Buf, BytesMut};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::broken::{Broken, excerpt};

/// The length limit of a line, in bytes. Node itself has no limit. No app sends that much in one message, and a program
/// that never ends its line must not fill our memory.
pub const LONGEST_LINE: usize = 16 * 1024 * 1024;

/// A larger buffer is freed as soon as it is empty: one long message must not occupy its memory forever.
const KEPT: usize = 64 * 1024;

/// The bytes that have arrived and are not returned as a line yet.
#[derive(Debug)]
pub struct Lines {
    buffer: BytesMut,
    /// The number of bytes at the beginning of the buffer that contain no end of line.
    searched: usize,
    longest: usize,
}

impl Default for Lines {
    fn default() -> Self {
        Self::within(LONGEST_LINE)
    }
}

impl Lines {
    /// Returns a reader whose lines have at most `longest` bytes.
    pub fn within(longest: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, longest }
    }

    /// Adds bytes that were read. Take the lines before the next read: then at most one line and one read are held.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next whole line, without its end.
    ///
    /// # Errors
    ///
    /// The line is longer than the limit (as soon as that is certain), or is not UTF-8. The rest of the stream is
    /// useless then.
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

/// A line after parsing.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A message of Node's own; it has a `cmd`.
    Internal(Map<String, Value>),
    /// A message of the app.
    User(Value),
    /// JSON that [`Value`] cannot hold: half a surrogate pair in a text, or more than 128 levels.
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
    // An app may send any text that JavaScript can hold. The channel goes on, and a socket that came along must be
    // acknowledged.
    Ok(match serde_json::from_str::<Envelope>(line).map(|envelope| Value::String(envelope.cmd)) {
        Ok(cmd) if is_internal(Some(&cmd)) => Message::Internal(Map::from_iter([("cmd".to_owned(), cmd)])),
        _ => Message::Unreadable,
    })
}

/// Returns true if the receiver would take the value for one of Node's own messages.
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
