//! A client connection, TCP or unix, accepted here or handed over.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::{AddressFamily, sockopt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::channel::Ending;

/// The time for which [`Stream::linger`] waits until the other side ends: one round trip or several, also over a slow
/// line.
const LINGER: Duration = Duration::from_secs(1);

/// The number of bytes that [`Stream::linger`] throws away while it waits. A client that sends more than this after our
/// end does not look for an end.
const LINGER_BYTES: u64 = 64 * 1024;

/// An accepted connection: TCP (without Nagle's delay) or unix. Reading and writing work alike for both.
///
/// If the master hands connections over, it is told when this value has been dropped. Keep the value for as long as you
/// serve the client, since strategies that look at load count the connection until then.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    /// Reports the end of the connection. Dropped after the socket, so that the connection has ended when it is
    /// reported.
    _ending: Option<Ending>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Makes a stream of a connected, non-blocking stream socket of any family.
    ///
    /// # Errors
    ///
    /// Fails if the socket is neither TCP nor unix, or the runtime cannot watch it.
    pub(crate) fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        match sockopt::socket_domain(&fd)? {
            AddressFamily::INET | AddressFamily::INET6 => Ok(TcpStream::from_std(fd.into())?.into()),
            AddressFamily::UNIX => Ok(UnixStream::from_std(fd.into())?.into()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a TCP nor a unix socket")),
        }
    }

    /// Returns the same stream. When it is dropped, `ending` reports its end to the master.
    pub(crate) fn handed_over(self, ending: Ending) -> Self {
        Self { socket: self.socket, _ending: Some(ending) }
    }

    /// Returns the address of the other end. It is the client's address if the worker accepts by itself or the master
    /// hands connections over, and the master's address if the master relays. A unix connection has none.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(stream) => stream.peer_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// Resolves when there is something to read, or the other side has ended its direction. Cancel safe.
    ///
    /// # Errors
    ///
    /// Fails only if the runtime is shutting down.
    pub async fn readable(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(stream) => stream.readable().await,
            Socket::Unix(stream) => stream.readable().await,
        }
    }

    /// Closes the connection without harm to the last bytes that were written. Ends our direction, then reads and
    /// throws away what the other side still sends until the other side ends, too, for at most 1 s and 64 KiB.
    ///
    /// A socket answers with a reset if it is closed with unread bytes, or if it gets bytes after it was closed. A
    /// reset may overtake an answer and destroy it before the other side has read it. Use this for protocols in which a
    /// client may send more than the worker wants to read; [`http::serve`](crate::http::serve) does it by itself.
    ///
    /// Cancel safe: if the future is dropped half-way, the connection is closed at once.
    pub async fn linger(mut self) {
        // If there is no other end any more, the reads below fail, too.
        let _ = self.shutdown().await;
        let rest = async { tokio::io::copy(&mut (&mut self).take(LINGER_BYTES), &mut tokio::io::sink()).await };
        let _ = tokio::time::timeout(LINGER, rest).await;
    }

    /// Returns true if the kernel has bytes that were not read.
    #[cfg(feature = "hyper")]
    pub(crate) fn has_unread(&self) -> bool {
        use rustix::net::RecvFlags;
        rustix::net::recv(self, &mut [0_u8; 1][..], RecvFlags::DONTWAIT | RecvFlags::PEEK)
            .is_ok_and(|(_, count)| count > 0)
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self { socket: Socket::Tcp(stream), _ending: None }
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self { socket: Socket::Unix(stream), _ending: None }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(stream) => stream.as_fd(),
            Socket::Unix(stream) => stream.as_fd(),
        }
    }
}

/// Runs `$call` on the stream inside, pinned.
macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.get_mut().socket {
            Socket::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Socket::Unix(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, stream => stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_shutdown(context))
    }
}
