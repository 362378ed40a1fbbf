//! One HTTP request on a connection of its own, read to its end.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use socket2::{Domain, Socket, Type};

use crate::DEADLINE;

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The status line and the fields, without the blank line at the end.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Response {
    /// True if this answer was the last one of its connection.
    #[must_use]
    pub fn says_close(&self) -> bool {
        self.head.starts_with("HTTP/1.0 ") || self.head.to_ascii_lowercase().contains("\r\nconnection: close")
    }
}

/// Sends `GET` on a new connection.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Response> {
    read_answer(send_get(address, path)?)
}

/// A new connection on which the request for `path` was sent, and whose answer was not read.
pub fn send_get(address: SocketAddr, path: &str) -> io::Result<TcpStream> {
    let mut stream = connect(address)?;
    stream.write_all(head_of(path).as_bytes())?;
    Ok(stream)
}

/// A whole request, to be written at once: `write!` would write it in pieces, and a server that answers after its first `recv`
/// has then closed before the second piece comes.
fn head_of(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

/// `GET` on a new connection from that address.
pub fn get_from(source: Ipv4Addr, address: SocketAddr, path: &str) -> io::Result<Response> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&address.into())?;
    socket.set_read_timeout(Some(DEADLINE))?;
    request(TcpStream::from(socket), path)
}

/// `POST` of a text on a new connection.
pub fn post(address: SocketAddr, path: &str, body: &str) -> io::Result<Response> {
    let mut stream = connect(address)?;
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n");
    stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
    read_answer(stream)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// `GET` on a unix socket.
pub fn get_unix(socket: &Path, path: &str) -> io::Result<Response> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    request(stream, path)
}

/// Sends `GET` on any connected stream.
pub fn request(mut stream: impl Read + Write, path: &str) -> io::Result<Response> {
    stream.write_all(head_of(path).as_bytes())?;
    read_answer(stream)
}

/// Reads the answer to a request that was sent. A truncated answer is an error.
pub fn read_answer(mut stream: impl Read) -> io::Result<Response> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
}

fn parse(answer: &[u8]) -> Option<Response> {
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (String::from_utf8_lossy(&answer[..split]).into_owned(), &answer[split + 4..]);
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    // A truncated answer is no answer.
    let is_whole = length.is_none_or(|(_, length)| length.trim().parse() == Ok(body.len()));
    is_whole.then(|| Response { status, head, body: String::from_utf8_lossy(body).into_owned() })
}
