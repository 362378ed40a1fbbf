//! A client's socket without a layer that hides errors: each call is one system call, and returns the kernel's result.

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
    /// The number of complete answers that the connection has carried.
    pub(crate) answers: u64,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The state of a connection without a request in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// Ready for a request.
    Quiet,
    /// The peer has ended the connection.
    Closed,
    /// The peer has reset the connection.
    Reset,
    /// Bytes came without a request.
    Talks,
}

impl Connection {
    /// Connects. A slow reader sets `receive_buffer` in bytes; otherwise the kernel would read ahead for it.
    ///
    /// # Errors
    ///
    /// Returns the errors of `connect(2)`.
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

    /// Waits until the connection can be read, or, if `also_writable`, until it can be written.
    pub(crate) async fn ready(&self, also_writable: bool) -> io::Result<()> {
        let interest = if also_writable { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        match &self.stream {
            Stream::Tcp(stream) => stream.ready(interest).await,
            Stream::Unix(stream) => stream.ready(interest).await,
        }
        .map(drop)
    }

    /// Reads the bytes that have arrived. Returns `None` if there are none.
    ///
    /// # Errors
    ///
    /// Returns the errors of `read(2)`.
    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        not_yet(match &self.stream {
            Stream::Tcp(stream) => stream.try_read(into),
            Stream::Unix(stream) => stream.try_read(into),
        })
    }

    /// Writes as many bytes as the kernel takes. Returns `None` if it takes none now.
    ///
    /// # Errors
    ///
    /// Returns the errors of `write(2)`.
    pub(crate) fn write(&self, from: &[u8]) -> io::Result<Option<usize>> {
        not_yet(match &self.stream {
            Stream::Tcp(stream) => stream.try_write(from),
            Stream::Unix(stream) => stream.try_write(from),
        })
    }

    /// Ends the sending side. If the peer has reset the connection, the next read reports it.
    pub(crate) fn end_sending(&self) {
        let how = rustix::net::Shutdown::Write;
        let _ = match &self.stream {
            Stream::Tcp(stream) => rustix::net::shutdown(stream, how),
            Stream::Unix(stream) => rustix::net::shutdown(stream, how),
        };
    }

    /// Returns the state of the connection now. Asks the kernel, so that events count that the runtime has not noticed
    /// yet.
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
