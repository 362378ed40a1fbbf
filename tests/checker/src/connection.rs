//! A client's socket, of which nothing is hidden: each call is one system call, and how it ended is told as it was.

use std::io;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::plan::Target;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    /// Complete answers that it has carried.
    pub(crate) answers: u64,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// How a connection looks on which nothing is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// Ready for a request.
    Quiet,
    /// The peer has ended it.
    Closed,
    /// The peer has reset it.
    Reset,
    /// Bytes came that nobody asked for.
    Talks,
}

impl Connection {
    /// Connects; `receive_buffer` in bytes makes a slow reader really one, since the kernel would read for it.
    ///
    /// # Errors
    ///
    /// As `connect(2)`.
    pub(crate) async fn open(target: &Target, receive_buffer: Option<usize>) -> io::Result<Self> {
        let stream = match target {
            Target::Tcp(address) => {
                let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                if let Some(bytes) = receive_buffer {
                    socket.set_recv_buffer_size(u32::try_from(bytes).unwrap_or(u32::MAX))?;
                }
                socket.set_nodelay(true)?;
                Stream::Tcp(socket.connect(*address).await?)
            }
            Target::Unix(path) => Stream::Unix(UnixStream::connect(path).await?),
        };
        Ok(Self { stream, answers: 0 })
    }

    /// Waits until it may be read, or until it may be written if `also_writable`.
    pub(crate) async fn ready(&self, also_writable: bool) -> io::Result<()> {
        let interest = if also_writable { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        match &self.stream {
            Stream::Tcp(stream) => stream.ready(interest).await,
            Stream::Unix(stream) => stream.ready(interest).await,
        }
        .map(drop)
    }

    /// Reads what is there; nothing if nothing is.
    ///
    /// # Errors
    ///
    /// As `read(2)`.
    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        not_yet(match &self.stream {
            Stream::Tcp(stream) => stream.try_read(into),
            Stream::Unix(stream) => stream.try_read(into),
        })
    }

    /// Writes what the kernel takes; nothing if it takes none now.
    ///
    /// # Errors
    ///
    /// As `write(2)`.
    pub(crate) fn write(&self, from: &[u8]) -> io::Result<Option<usize>> {
        not_yet(match &self.stream {
            Stream::Tcp(stream) => stream.try_write(from),
            Stream::Unix(stream) => stream.try_write(from),
        })
    }

    /// Ends the sending side. A peer that has reset the connection is found by the next read.
    pub(crate) fn end_sending(&self) {
        let how = rustix::net::Shutdown::Write;
        let _ = match &self.stream {
            Stream::Tcp(stream) => rustix::net::shutdown(stream, how),
            Stream::Unix(stream) => rustix::net::shutdown(stream, how),
        };
    }

    /// How it looks now. Asks the kernel: what the runtime has not noticed yet counts too.
    pub(crate) fn idle(&self) -> Idle {
        let mut byte = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let found = match &self.stream {
            Stream::Tcp(stream) => rustix::net::recv(stream, &mut byte, flags),
            Stream::Unix(stream) => rustix::net::recv(stream, &mut byte, flags),
        };
        match found {
            Ok((0, _)) => Idle::Closed,
            Ok(_) => Idle::Talks,
            Err(Errno::AGAIN | Errno::INTR) => Idle::Quiet,
            Err(_) => Idle::Reset,
        }
    }
}

fn not_yet(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}
