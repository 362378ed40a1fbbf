//! A client connection that stays open between requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{DEADLINE, Response};

/// One open connection. Every wait has the kit's deadline.
#[derive(Debug)]
pub(crate) struct Kept {
    stream: BufReader<TcpStream>,
}

impl Kept {
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// The client's own address.
    #[track_caller]
    pub(crate) fn local(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().unwrap()
    }

    #[track_caller]
    pub(crate) fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Receives exactly `length` bytes.
    #[track_caller]
    pub(crate) fn receive(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.answer()
    }

    /// Reads the next answer. An answer that does not say its length ends with the connection.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Response {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut head).unwrap(), 0, "the connection ended after {head:?}");
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body = match length {
            Some(length) => self.receive(length.trim().parse().unwrap()),
            None => self.rest(),
        };
        Response { status, head: head.trim_end().to_owned(), body }
    }

    /// Reads everything that still comes. The connection must end in order, without a reset.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).unwrap();
        rest
    }
}
