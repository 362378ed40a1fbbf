//! Checks an answer while it arrives. Pure.

mod chunked;
mod head;

use crate::content::Content;
use crate::failure::End;

pub use chunked::Chunked;
use head::{Collector, Head};

/// The longest answer that names a worker, in bytes.
const MAX_WORKER_ANSWER: u64 = 4 << 10;

/// The answer that must come back.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// These bytes.
    Content(Content),
    /// A line with `from NAME (`, such as `hello from demo/1 (pid 40113), request 17`.
    Worker,
    /// Any answer that is complete by its own framing.
    Any,
}

/// One answer, complete or not.
#[derive(Debug)]
pub(crate) struct Answer {
    state: State,
    expected: Expected,
    /// The number of bytes of content so far.
    content: u64,
    /// The content so far, if the answer should name its worker.
    text: Vec<u8>,
    worker: Option<String>,
    says_close: bool,
    /// True if only the end of the connection ends the answer.
    needs_end: bool,
}

#[derive(Debug)]
enum State {
    Head(Collector),
    Length(u64),
    Chunked(Chunked),
    ToEnd,
    Complete,
}

impl Answer {
    /// Expects an HTTP/1.1 answer.
    pub(crate) fn http(expected: Expected) -> Self {
        Self::new(State::Head(Collector::default()), expected)
    }

    /// Expects exactly these bytes.
    pub(crate) fn bytes(content: Content) -> Self {
        Self::new(State::Length(content.length()), Expected::Content(content))
    }

    /// Expects these bytes up to the end of the connection.
    pub(crate) fn bytes_to_end(content: Content) -> Self {
        Self { needs_end: true, ..Self::new(State::ToEnd, Expected::Content(content)) }
    }

    fn new(state: State, expected: Expected) -> Self {
        Self { state, expected, content: 0, text: Vec::new(), worker: None, says_close: false, needs_end: false }
    }

    /// Takes the bytes that have arrived.
    ///
    /// # Errors
    ///
    /// Fails if they are not the expected ones: [`End::Wrong`] or [`End::Status`].
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> Result<(), End> {
        while !bytes.is_empty() {
            bytes = match &mut self.state {
                State::Head(collector) => {
                    let (head, rest) = collector.read(bytes).map_err(End::Wrong)?;
                    head.map_or(Ok(()), |head| self.begin(head))?;
                    rest
                }
                State::Length(left) => {
                    let now = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= now as u64;
                    let is_complete = *left == 0;
                    let (content, rest) = bytes.split_at(now);
                    self.take(content)?;
                    if is_complete {
                        self.complete()?;
                    }
                    rest
                }
                State::Chunked(chunked) => {
                    let no_chunk = |byte| End::Wrong(format!("byte {byte:#04x} amid the framing of chunks"));
                    let (content, rest) = chunked.read(bytes).map_err(no_chunk)?;
                    let is_complete = *chunked == Chunked::Done;
                    self.take(content)?;
                    if is_complete {
                        self.complete()?;
                    }
                    rest
                }
                State::ToEnd => {
                    self.take(bytes)?;
                    &[]
                }
                State::Complete => return Err(End::Wrong(format!("{} bytes after the answer", bytes.len()))),
            };
        }
        Ok(())
    }

    /// Records that the peer ended the connection.
    ///
    /// # Errors
    ///
    /// Fails with [`End::Closed`] if the answer was not complete.
    pub(crate) fn end(&mut self) -> Result<(), End> {
        match self.state {
            State::Complete => Ok(()),
            State::ToEnd if self.is_whole() => self.complete(),
            _ => Err(End::Closed),
        }
    }

    /// Sets the length of the expected content, once the last of it was sent.
    pub(crate) fn cut(&mut self, length: u64) {
        if let Expected::Content(content) = &mut self.expected {
            *content = content.clone().cut(length);
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// Returns the number of right bytes of content so far.
    pub(crate) fn content(&self) -> u64 {
        self.content
    }

    /// Returns the worker that answered, if the answer named it.
    pub(crate) fn worker(&self) -> Option<&str> {
        self.worker.as_deref()
    }

    /// Returns true if the peer announced the end of the connection.
    pub(crate) fn says_close(&self) -> bool {
        self.says_close
    }

    /// Returns true if another answer may follow on this connection. Only the framing decides this.
    pub(crate) fn is_followed(&self) -> bool {
        self.is_complete() && !self.needs_end
    }

    fn begin(&mut self, head: Head) -> Result<(), End> {
        let Head { status, length, is_chunked, says_close, worker } = head;
        // 100 Continue and similar answers come before the real one. 101 was not asked for.
        if (100..200).contains(&status) && status != 101 {
            return Ok(());
        }
        self.says_close = says_close;
        self.worker = worker;
        if status != 200 {
            return Err(End::Status(status));
        }
        let wanted = match &self.expected {
            Expected::Content(content) => content.length(),
            Expected::Worker | Expected::Any => u64::MAX,
        };
        match length {
            Some(length) if wanted != u64::MAX && length != wanted => {
                return Err(End::Wrong(format!("Content-Length {length}, not {wanted}")));
            }
            Some(0) => return self.complete(),
            Some(length) => self.state = State::Length(length),
            None if is_chunked => self.state = State::Chunked(Chunked::default()),
            None => {
                self.state = State::ToEnd;
                self.needs_end = true;
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), End> {
        match &self.expected {
            Expected::Content(content) => {
                content.check(self.content, bytes).map_err(|difference| End::Wrong(difference.to_string()))?;
            }
            Expected::Worker if self.content + bytes.len() as u64 > MAX_WORKER_ANSWER => {
                return Err(End::Wrong(format!("more than {MAX_WORKER_ANSWER} bytes to name a worker")));
            }
            Expected::Worker => self.text.extend_from_slice(bytes),
            Expected::Any => {}
        }
        self.content += bytes.len() as u64;
        Ok(())
    }

    fn complete(&mut self) -> Result<(), End> {
        if !self.is_whole() {
            return Err(End::Wrong(format!("complete after {} bytes of content, which are too few", self.content)));
        }
        if matches!(self.expected, Expected::Worker) {
            let text = String::from_utf8_lossy(&self.text);
            let name = text.split_once("from ").and_then(|(_, rest)| rest.split_once(" (")).map(|(name, _)| name);
            let name = name.filter(|name| !name.is_empty());
            self.worker = Some(name.ok_or_else(|| End::Wrong(format!("{text:?} names no worker")))?.to_owned());
        }
        self.state = State::Complete;
        Ok(())
    }

    /// Returns true if all content has arrived, as far as that can be known.
    fn is_whole(&self) -> bool {
        match &self.expected {
            Expected::Content(content) => self.content == content.length(),
            Expected::Worker => self.text.ends_with(b"\n"),
            Expected::Any => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Content {
        Content::repeated(b"hello", 10)
    }

    /// Reads an answer in pieces of `size` bytes, and then its end. Returns the answer or its failure.
    fn http_in(text: &str, expected: Expected, size: usize) -> Result<Answer, End> {
        let mut answer = Answer::http(expected);
        text.as_bytes().chunks(size).try_for_each(|piece| answer.read(piece))?;
        answer.end()?;
        Ok(answer)
    }

    fn http(text: &str) -> Result<Answer, End> {
        http_in(text, Expected::Content(hello()), 1000)
    }

    #[test]
    fn right_answer_is_good_in_each_of_three_framings() {
        let length = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhellohello";
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n7\r\nlohello\r\n0\r\n\r\n";
        let to_end = "HTTP/1.1 200 OK\r\n\r\nhellohello";
        for (text, is_followed) in [(length, true), (chunked, true), (to_end, false)] {
            for size in 1..text.len() {
                let answer = http_in(text, Expected::Content(hello()), size).unwrap();
                assert_eq!((answer.is_followed(), answer.says_close(), answer.content()), (is_followed, false, 10));
            }
        }
    }

    #[test]
    fn early_end_is_found_with_and_without_a_length() {
        for framing in
            ["Content-Length: 10\r\n\r\nhelloh", "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", "\r\nhelloh"]
        {
            assert_eq!(http(&format!("HTTP/1.1 200 OK\r\n{framing}")).err(), Some(End::Closed), "{framing:?}");
        }
        assert_eq!(http("HTTP/1.1 200 OK\r\nContent-Le").err(), Some(End::Closed));
    }

    #[test]
    fn wrong_content_is_found() {
        for framing in [
            "Content-Length: 10\r\n\r\nhelloHello",
            "Content-Length: 9\r\n\r\nhellohell",
            "Content-Length: 11\r\n\r\nhellohelloh",
            "Content-Length: 10\r\n\r\nhellohelloh",
            "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n",
            "\r\nhellohelloh",
        ] {
            let end = http(&format!("HTTP/1.1 200 OK\r\n{framing}")).err();
            assert!(matches!(end, Some(End::Wrong(_))), "{framing:?}: {end:?}");
        }
    }

    #[test]
    fn interim_answers_are_skipped_and_other_statuses_found() {
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhellohello";
        assert!(http_in(interim, Expected::Content(hello()), 3).is_ok());
        assert_eq!(http("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n").err(), Some(End::Status(503)));
        assert_eq!(http("HTTP/1.1 101 Yes\r\n\r\n").err(), Some(End::Status(101)));
    }

    #[test]
    fn worker_is_known_by_its_text_or_its_header() {
        let text = |text: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        let hello = http_in(&text("hello from demo/1 (pid 40113), request 17\n"), Expected::Worker, 5).unwrap();
        assert_eq!(hello.worker(), Some("demo/1"));
        for other in ["hello\n", "hello from demo/1 (pid 401", "from  (\n", &"x".repeat(5000)] {
            assert!(http_in(&text(other), Expected::Worker, 100).is_err(), "{other:?}");
        }
        let header = http("HTTP/1.1 200 OK\r\nX-Worker: a/0\r\nContent-Length: 10\r\n\r\nhellohello").unwrap();
        assert_eq!(header.worker(), Some("a/0"));
    }

    #[test]
    fn page_is_good_if_its_framing_is_complete() {
        let any = |framing: &str| http_in(&format!("HTTP/1.1 200 OK\r\n{framing}"), Expected::Any, 3);
        for good in [
            "Content-Length: 0\r\n\r\n",
            "Content-Length: 3\r\n\r\nabc",
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Connection: close\r\n\r\nabc",
            "Connection: close\r\n\r\n",
        ] {
            assert!(any(good).is_ok(), "{good:?}");
        }
        for early in ["Content-Length: 3\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "Conn"] {
            assert_eq!(any(early).err(), Some(End::Closed), "{early:?}");
        }
        assert!(matches!(any("Content-Length: 3\r\n\r\nabcd").err(), Some(End::Wrong(_))));
    }

    #[test]
    fn raw_bytes_end_with_their_length_or_with_the_connection() {
        let mut known = Answer::bytes(hello());
        known.read(b"hellohell").unwrap();
        assert_eq!((known.is_complete(), known.end()), (false, Err(End::Closed)));
        known.read(b"o").unwrap();
        assert!(known.is_followed() && known.end().is_ok());
        assert!(matches!(known.read(b"h"), Err(End::Wrong(_))));

        let mut to_end = Answer::bytes_to_end(Content::repeated(b"hello", u64::MAX));
        to_end.read(b"hellohello").unwrap();
        assert_eq!(to_end.end(), Err(End::Closed));
        to_end.cut(10);
        assert!(to_end.end().is_ok() && !to_end.is_followed());
    }
}
