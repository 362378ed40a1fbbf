//! A listening socket: TCP or unix, bound here or inherited.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixSocket, UnixStream};

use crate::protocol::BACKLOG;
use crate::stream::Stream;

/// The source of a worker's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP address. The port is the real one, also if `PORT` was 0.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
    /// A unix socket without a path. Only an inherited socket can be one.
    UnixUnnamed,
    /// No address: the master accepts connections and hands them over.
    Channel,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => write!(f, "{address}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
            Endpoint::UnixUnnamed => f.write_str("an inherited unix socket"),
            Endpoint::Channel => f.write_str("sockets handed over by the master"),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    pub(crate) fn bind_tcp(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Self::tcp(socket.listen(BACKLOG)?)
    }

    /// Binds a unix socket. Never replaces an existing file, which may be another worker's socket.
    pub(crate) fn bind_unix(path: &Path) -> io::Result<Self> {
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        Ok(Listener::Unix(socket.listen(BACKLOG)?))
    }

    /// Uses a listening stream socket that another process made. The socket becomes non-blocking for all processes that
    /// hold it.
    pub(crate) fn inherited(fd: OwnedFd) -> io::Result<Self> {
        if sockopt::socket_type(&fd)? != SocketType::STREAM || !sockopt::socket_acceptconn(&fd)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a listening stream socket"));
        }
        match sockopt::socket_domain(&fd)? {
            AddressFamily::INET | AddressFamily::INET6 => {
                let listener = std::net::TcpListener::from(fd);
                listener.set_nonblocking(true)?;
                Self::tcp(TcpListener::from_std(listener)?)
            }
            AddressFamily::UNIX => {
                let listener = std::os::unix::net::UnixListener::from(fd);
                listener.set_nonblocking(true)?;
                Ok(Listener::Unix(UnixListener::from_std(listener)?))
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a TCP nor a unix socket")),
        }
    }

    /// Turns Nagle's delay off for the listener. On Linux an accepted socket inherits its listener's options, so this
    /// takes one call in all instead of one for each client.
    fn tcp(listener: TcpListener) -> io::Result<Self> {
        sockopt::set_tcp_nodelay(&listener, true)?;
        Ok(Listener::Tcp(listener))
    }

    pub(crate) fn endpoint(&self) -> io::Result<Endpoint> {
        Ok(match self {
            Listener::Tcp(listener) => Endpoint::Tcp(listener.local_addr()?),
            Listener::Unix(listener) => match listener.local_addr()?.as_pathname() {
                Some(path) => Endpoint::Unix(path.to_path_buf()),
                None => Endpoint::UnixUnnamed,
            },
        })
    }

    pub(crate) fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        match self {
            Listener::Tcp(listener) => listener.poll_accept(context).map_ok(|(stream, _)| stream.into()),
            Listener::Unix(listener) => listener.poll_accept(context).map_ok(|(stream, _)| stream.into()),
        }
    }

    /// Accepts a connection that is in the queue at this moment. This asks the kernel, since tokio's readiness may lag
    /// behind it.
    pub(crate) fn accept_waiting(&self) -> io::Result<Option<Stream>> {
        let fd = match rustix::net::accept_with(self, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(match self {
            Listener::Tcp(_) => TcpStream::from_std(fd.into())?.into(),
            Listener::Unix(_) => UnixStream::from_std(fd.into())?.into(),
        }))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }
}
