//! One side of a relayed connection: a TCP or a unix stream.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected (or still connecting) stream, registered with the runtime of the thread that made it.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The kind of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Tcp,
    Unix,
}

impl Stream {
    /// Registers a non-blocking socket with this thread's runtime.
    pub(crate) fn register(socket: OwnedFd, family: Family) -> io::Result<Self> {
        match family {
            Family::Tcp => TcpStream::from_std(socket.into()).map(Stream::Tcp),
            Family::Unix => UnixStream::from_std(socket.into()).map(Stream::Unix),
        }
    }

    pub(crate) fn family(&self) -> Family {
        match self {
            Stream::Tcp(_) => Family::Tcp,
            Stream::Unix(_) => Family::Unix,
        }
    }

    /// Asks the kernel for the other end's address; a unix socket has none.
    pub(crate) fn peer_ip(&self) -> Option<IpAddr> {
        match self {
            Stream::Tcp(tcp) => tcp.peer_addr().ok().map(|peer| peer.ip()),
            Stream::Unix(_) => None,
        }
    }

    /// Asks the kernel for our own address and the other end's; a unix socket has none.
    pub(crate) fn tcp_addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Stream::Tcp(tcp) => Some((tcp.local_addr().ok()?, tcp.peer_addr().ok()?)),
            Stream::Unix(_) => None,
        }
    }

    /// Reads the bytes that are there; 0 is the peer's FIN. After a short read the next call waits without a system
    /// call.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        ready!(match self {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_read(cx, &mut buffer),
            Stream::Unix(unix) => Pin::new(unix).poll_read(cx, &mut buffer),
        })?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes as many bytes as the socket takes.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Stream::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
        }
    }

    /// Ready once the socket takes bytes. The end of a connect shows by this, be it a success or a failure.
    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(tcp) => tcp.poll_write_ready(cx),
            Stream::Unix(unix) => unix.poll_write_ready(cx),
        }
    }

    /// Ready if the kernel has reported bytes, an end or an error to read.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(tcp) => tcp.poll_read_ready(cx),
            Stream::Unix(unix) => unix.poll_read_ready(cx),
        }
    }

    /// Takes the error that the kernel holds for the socket, such as that of a failed connect.
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        SockRef::from(self).take_error()
    }

    /// Sends FIN. A failure shows at the next read, so none is reported here.
    pub(crate) fn finish(&self) {
        let _ = SockRef::from(self).shutdown(std::net::Shutdown::Write);
    }

    /// Makes the coming close a reset instead of a FIN. A unix socket has no reset and is merely closed.
    pub(crate) fn reset_at_close(&self) {
        if let Stream::Tcp(_) = self {
            reset_at_close(self.as_fd());
        }
    }

    /// Returns true if a read right now would find nothing. Asks the kernel, since the readiness that tokio remembers
    /// may be outdated.
    pub(crate) fn is_silent(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = SockRef::from(self).peek(&mut byte);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(tcp) => tcp.as_fd(),
            Stream::Unix(unix) => unix.as_fd(),
        }
    }
}

/// Makes the close of a TCP socket a reset. Zero linger drops what was not sent yet, so it is for aborts only.
pub(crate) fn reset_at_close(socket: BorrowedFd<'_>) {
    let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
}
