//! The head of an HTTP/1 answer. Pure.
//!
//! `httparse` reads it. What that forgives, as browsers do, is refused here before: empty lines in front, and lines that end
//! in a line feed alone.

/// The longest head that is accepted, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// The most headers that are accepted.
const MAX_HEADERS: usize = 256;

/// The parts of a head that a client needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) length: Option<u64>,
    pub(super) is_chunked: bool,
    /// True if the connection carries no further request.
    pub(super) says_close: bool,
    /// The worker, if a header `X-Worker` names it.
    pub(super) worker: Option<String>,
}

/// Collects bytes until a head is complete.
#[derive(Debug, Default)]
pub(super) struct Collector(Vec<u8>);

impl Collector {
    /// Takes the bytes that belong to the head. Returns the head once it is complete, and the bytes that are left.
    ///
    /// # Errors
    ///
    /// Returns the reason why the bytes are no head of an answer.
    pub(super) fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<(Option<Head>, &'a [u8]), String> {
        let before = self.0.len();
        let room = (MAX_HEAD - before).min(bytes.len());
        self.0.extend_from_slice(&bytes[..room]);
        // The end of the head may have begun in earlier bytes.
        let from = before.saturating_sub(3);
        let end = self.0[from..].windows(4).position(|window| window == b"\r\n\r\n").map(|at| from + at + 4);
        // A server with another protocol is recognised by its first bytes, and not by the deadline.
        let start = self.0.len().min(5);
        if self.0[..start] != b"HTTP/"[..start] {
            return Err(format!("{:?} begins no answer", String::from_utf8_lossy(&self.0[..start])));
        }
        let Some(end) = end else {
            if self.0.len() >= MAX_HEAD {
                return Err(format!("no end of the head within {MAX_HEAD} bytes"));
            }
            return Ok((None, &[]));
        };
        let head = parse(&self.0[..end])?;
        self.0.clear();
        Ok((Some(head), &bytes[end - before..]))
    }
}

fn parse(text: &[u8]) -> Result<Head, String> {
    if (0..text.len()).any(|at| text[at] == b'\n' && (at == 0 || text[at - 1] != b'\r')) {
        return Err("a line of the head ends in a line feed alone".to_owned());
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let parsed = answer.parse(text).map_err(|error| format!("no head of an answer: {error}"))?;
    let (true, Some(status)) = (parsed == httparse::Status::Complete(text.len()), answer.code) else {
        return Err("no head of an answer".to_owned());
    };
    let mut head = Head { status, ..Head::default() };
    let mut keeps = answer.version == Some(1);
    for httparse::Header { name, value } in answer.headers {
        let value = String::from_utf8_lossy(value);
        let value = value.trim();
        let mut words = value.split(',').map(str::trim);
        if name.eq_ignore_ascii_case("content-length") {
            let length = value.parse().map_err(|_| format!("{value:?} is no Content-Length"))?;
            if head.length.is_some_and(|other| other != length) {
                return Err("two different Content-Length".to_owned());
            }
            head.length = Some(length);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(format!("Transfer-Encoding {value:?} was not asked for"));
            }
            head.is_chunked = true;
        } else if name.eq_ignore_ascii_case("connection") {
            head.says_close |= words.clone().any(|word| word.eq_ignore_ascii_case("close"));
            keeps |= words.any(|word| word.eq_ignore_ascii_case("keep-alive"));
        } else if name.eq_ignore_ascii_case("x-worker") {
            head.worker = Some(value.to_owned());
        }
    }
    if head.is_chunked && head.length.is_some() {
        return Err("both Content-Length and Transfer-Encoding".to_owned());
    }
    head.says_close |= !keeps;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str =
        "HTTP/1.1 200 OK\r\ncontent-Length: 5\r\nConnection: foo, Close\r\nX-Worker: demo/1\r\n\r\nhello";

    #[test]
    fn head_in_pieces_of_any_size_is_read_alike() {
        let expected = Head {
            status: 200,
            length: Some(5),
            is_chunked: false,
            says_close: true,
            worker: Some("demo/1".to_owned()),
        };
        for size in 1..=ANSWER.len() {
            let mut collector = Collector::default();
            let mut found = None;
            for (index, piece) in ANSWER.as_bytes().chunks(size).enumerate() {
                if let (Some(head), rest) = collector.read(piece).unwrap() {
                    let read = index * size + piece.len() - rest.len();
                    found = Some((head, read));
                    break;
                }
            }
            assert_eq!(found, Some((expected.clone(), ANSWER.len() - 5)), "pieces of {size}");
        }
    }

    #[test]
    fn connection_is_kept_by_version_and_header() {
        for (text, says_close) in [
            ("HTTP/1.1 200 OK", false),
            ("HTTP/1.1 200", false),
            ("HTTP/1.0 200 OK", true),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive", false),
            ("HTTP/1.1 200 OK\r\nConnection: close", true),
            ("HTTP/1.1 200 OK\r\nConnection: keep-alive", false),
        ] {
            let head = parse(format!("{text}\r\n\r\n").as_bytes()).unwrap();
            assert_eq!(head.says_close, says_close, "{text:?}");
        }
    }

    #[test]
    fn invalid_answer_is_refused_at_once() {
        for text in [
            "\0",
            "t00",
            "HTTQ",
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\nx: y\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: y\n\r\n\r\n",
        ] {
            assert!(Collector::default().read(text.as_bytes()).is_err(), "{text:?}");
        }
        for headers in [
            "content-length: x",
            "content-length: 1\r\nContent-Length: 2",
            "transfer-encoding: gzip",
            "no header",
            "a b: c",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n");
            assert!(Collector::default().read(text.as_bytes()).is_err(), "{headers:?}");
        }
        let long = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(MAX_HEAD));
        assert!(Collector::default().read(long.as_bytes()).is_err());
    }
}
