//! Parses one answer in pieces of any size: its status, its end, and the worker that sent it. The body is counted, not
//! kept. Pure.

use std::mem::MaybeUninit;

use roundelay_checker::{Chunked, End};

use super::naming::Naming;

/// The longest head that is accepted, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// The most header fields of a head.
const MAX_FIELDS: usize = 96;

/// The known part of an answer. It is used again for the next one on the same connection, so that it allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Answer {
    state: State,
    /// The pieces of a head that did not arrive whole.
    head: Vec<u8>,
    naming: Naming,
    status: u16,
    is_to_head: bool,
    keeps: bool,
    received: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    /// This many bytes of the body are missing, above 0.
    Length(u64),
    Chunked(Chunked),
    /// The end of the connection ends it.
    ToEnd,
    Complete,
}

/// The content of a head.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    body: Body,
    keeps: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Body {
    Length(u64),
    Chunked,
    ToEnd,
}

impl Answer {
    /// Starts a new answer; `is_to_head` if it is the answer to a HEAD request.
    pub(super) fn begin(&mut self, is_to_head: bool) {
        self.state = State::Head;
        self.head.clear();
        self.naming.begin();
        self.status = 0;
        self.is_to_head = is_to_head;
        self.keeps = false;
        self.received = 0;
    }

    /// Adds bytes that arrived.
    ///
    /// # Errors
    ///
    /// [`End::Wrong`]: it is not a valid answer, or there are bytes behind its end.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.received += bytes.len() as u64;
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match &mut self.state {
                State::Head => self.read_head(rest)?,
                State::Length(left) => {
                    let now = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    let (content, behind) = rest.split_at(now);
                    *left -= now as u64;
                    if *left == 0 {
                        self.state = State::Complete;
                    }
                    self.naming.read(content);
                    behind
                }
                State::Chunked(chunked) => {
                    let no_chunk = |byte| End::Wrong(format!("byte {byte:#04x} amid the framing of chunks"));
                    let (content, behind) = chunked.read(rest).map_err(no_chunk)?;
                    if *chunked == Chunked::Done {
                        self.state = State::Complete;
                    }
                    self.naming.read(content);
                    behind
                }
                State::ToEnd => {
                    self.naming.read(rest);
                    &[]
                }
                State::Complete => return Err(End::Wrong(format!("{} bytes behind the answer", rest.len()))),
            };
        }
        Ok(())
    }

    /// Notes that the peer ended the connection.
    ///
    /// # Errors
    ///
    /// [`End::Closed`]: the answer was not complete.
    pub(super) fn end(&mut self) -> Result<(), End> {
        match self.state {
            State::Complete => Ok(()),
            State::ToEnd => {
                self.state = State::Complete;
                Ok(())
            }
            State::Head | State::Length(_) | State::Chunked(_) => Err(End::Closed),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// Returns its status; 0 until its head is complete.
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// Returns true if the connection may carry another request.
    pub(super) fn keeps(&self) -> bool {
        self.keeps
    }

    /// Returns the bytes so far, including the head.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Returns the worker that sent it, if it says so.
    pub(super) fn worker(&self) -> Option<&str> {
        self.naming.worker()
    }

    /// Reads some of `bytes`, and returns what is left.
    fn read_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], End> {
        let before = self.head.len();
        // It nearly always arrives whole, and is then parsed in place.
        let text = if before == 0 {
            bytes
        } else {
            self.head.extend_from_slice(bytes);
            &self.head
        };
        let Some((head, length)) = parse(text, &mut self.naming).map_err(End::Wrong)? else {
            if text.len() >= MAX_HEAD {
                return Err(End::Wrong(format!("no end of the head within {MAX_HEAD} bytes")));
            }
            if before == 0 {
                self.head.extend_from_slice(bytes);
            }
            return Ok(&[]);
        };
        self.head.clear();
        let Head { status, body, keeps } = head;
        // 100 Continue and the like come before the answer; 101 was not requested.
        let is_interim = (100..200).contains(&status) && status != 101;
        if !is_interim {
            self.status = status;
            self.keeps = keeps;
            self.state = match body {
                _ if self.is_to_head || matches!(status, 204 | 304) => State::Complete,
                Body::Length(0) => State::Complete,
                Body::Length(length) => State::Length(length),
                Body::Chunked => State::Chunked(Chunked::default()),
                Body::ToEnd => State::ToEnd,
            };
            if matches!(self.state, State::ToEnd) || status == 101 {
                self.keeps = false;
            }
        }
        Ok(bytes.get(length - before..).unwrap_or_default())
    }
}

/// Parses the head at the start of `text`. Returns it and its length; `None` if it is not complete. Notes the worker
/// that it names.
fn parse(text: &[u8], naming: &mut Naming) -> Result<Option<(Head, usize)>, String> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut response, text, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => {
            let start = String::from_utf8_lossy(&text[..text.len().min(16)]);
            return Err(format!("{error} in an answer that begins {start:?}"));
        }
    };
    let is_1_0 = response.version == Some(0);
    let (mut says_close, mut says_keep) = (false, false);
    let mut declared = None;
    let mut is_chunked = false;
    for field in response.headers.iter() {
        // Compares lengths first: that is enough to tell most fields apart.
        match field.name.len() {
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                let value = std::str::from_utf8(field.value).ok().and_then(|value| value.trim().parse::<u64>().ok());
                let value = value.ok_or("a Content-Length that is no number")?;
                if declared.is_some_and(|other| other != value) {
                    return Err("two different Content-Length".to_owned());
                }
                declared = Some(value);
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                if !field.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err("a Transfer-Encoding that was not asked for".to_owned());
                }
                is_chunked = true;
            }
            10 if field.name.eq_ignore_ascii_case("connection") => {
                let says = |word: &[u8]| {
                    field.value.split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(word))
                };
                says_close |= says(b"close");
                says_keep |= says(b"keep-alive");
            }
            8 if field.name.eq_ignore_ascii_case("x-worker") => naming.is_named(field.value),
            _ => {}
        }
    }
    let body = match declared {
        _ if is_chunked => Body::Chunked,
        Some(length) => Body::Length(length),
        None => Body::ToEnd,
    };
    let keeps = !says_close && (!is_1_0 || says_keep);
    Ok(Some((Head { status: response.code.unwrap_or(0), body, keeps }, length)))
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
