//! A plain blocking HTTP client. Tests should see the bytes themselves, not another library's view of them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(30);

pub(super) struct Client(TcpStream);

pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("connect"))
    }

    pub(super) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).expect("timeout");
        Self(stream)
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.0
    }

    pub(super) fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).expect("write");
    }

    pub(super) fn request(&mut self, method: &str, path: &str) -> Answer {
        self.send(&format!("{method} {path} HTTP/1.1\r\nhost: demo\r\n\r\n"));
        let head = self.head();
        let length = if method == "HEAD" { 0 } else { length(&head) };
        self.body(head, length)
    }

    pub(super) fn answer(&mut self) -> Answer {
        let head = self.head();
        let length = length(&head);
        self.body(head, length)
    }

    /// Reads the status line and the headers. hyper writes the names of headers in lower case.
    pub(super) fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.bytes(1));
        }
        String::from_utf8(head).expect("text")
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).expect("read");
        bytes
    }

    /// Reads everything until the other side closes.
    pub(super) fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).expect("read");
        rest
    }

    /// Returns true if bytes have arrived that were not read yet.
    pub(super) fn has_answer(&self) -> bool {
        self.0.set_nonblocking(true).expect("nonblocking");
        let peeked = self.0.peek(&mut [0]);
        self.0.set_nonblocking(false).expect("blocking");
        match peeked {
            Ok(n) => n > 0,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        }
    }

    fn body(&mut self, head: String, length: usize) -> Answer {
        let status = head[9..12].parse().expect("status");
        Answer { status, head, body: self.bytes(length) }
    }
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn length(head: &str) -> usize {
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.expect("a length").parse().expect("a number")
}
