//! Public listening sockets.
//!
//! Options that every client connection needs are set here once: the kernel copies them to accepted sockets, which
//! saves system calls on each. `SO_REUSEPORT` is set for the members of a [`super::group`] alone, so that a second
//! server on the same port is an error and not a silent halving of the clients.

mod passed;
mod unix_path;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Socket, TcpKeepalive, Type};

use crate::config::Address;
pub use passed::PassedListeners;
use unix_path::{OwnedPath, bind_unix};

/// One public listening socket, non-blocking. Clones share the socket; a unix path is removed with the last of them.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: Address,
    path: Option<Arc<OwnedPath>>,
}

/// The error of a public address on which the master cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address as it was asked for.
    pub address: Address,
    /// The kernel's error.
    pub source: io::Error,
}

/// Returns true if the IPv6 wildcard `address` must leave IPv4 alone, because the same pool lists `0.0.0.0` with that
/// port too.
pub fn is_v6_only(address: &Address, pool: &[Address]) -> bool {
    let Address::Tcp(SocketAddr::V6(wildcard)) = address else {
        return false;
    };
    let four = Address::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, wildcard.port())));
    wildcard.ip().is_unspecified() && pool.contains(&four)
}

impl Listener {
    /// Listens on `address`. `backlog` connections may wait for accept; `keepalive` is the silence before the first TCP
    /// keepalive probe, zero for none; an IPv6 wildcard takes IPv4 clients too unless `v6_only`.
    ///
    /// A passed listener cannot be bound. A unix path is refused while a process listens there. A stale socket file is
    /// replaced, any other file is not.
    ///
    /// # Errors
    ///
    /// The address and the kernel's error.
    pub fn bind(address: &Address, backlog: u32, keepalive: Duration, v6_only: bool) -> Result<Self, BindError> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        let bound = match address {
            Address::Tcp(at) => bind_tcp(*at, keepalive, v6_only).and_then(|socket| Self::of_tcp(socket, backlog)),
            Address::Unix(path) => bind_unix(path, backlog),
            Address::Passed(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        bound.map_err(|source| BindError { address: address.clone(), source })
    }

    /// Makes a bound TCP socket listen.
    pub(super) fn of_tcp(socket: Socket, backlog: i32) -> io::Result<Self> {
        socket.listen(backlog)?;
        let bound = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { socket, address: Address::Tcp(bound), path: None })
    }

    /// Returns its address; port 0 is replaced by the one that the kernel chose.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Makes another handle of the same socket and queue.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, address: self.address.clone(), path: self.path.clone() })
    }

    /// Makes a handle for a worker to inherit. The socket becomes blocking for all its holders, since a plain `accept`
    /// of an unaware program fails on a non-blocking one. A program that needs it non-blocking sets it so again, also
    /// for all holders. So no event loop of the master may accept on it.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub fn hand_over(&self) -> io::Result<OwnedFd> {
        self.socket.set_nonblocking(false)?;
        Ok(self.socket.try_clone()?.into())
    }

    /// Makes a handle for use in an event loop. The socket becomes non-blocking for all processes that hold it.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub fn share(&self) -> io::Result<OwnedFd> {
        self.socket.set_nonblocking(true)?;
        Ok(self.socket.try_clone()?.into())
    }

    /// Makes a handle for one more worker to inherit, beside another that has it already. The socket stays as that
    /// worker set it, blocking or not.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub fn hand_on(&self) -> io::Result<OwnedFd> {
        Ok(self.socket.try_clone()?.into())
    }

    /// Returns true if a client is waiting to be accepted.
    pub fn has_queue(&self) -> bool {
        let mut asked = [PollFd::new(self, PollFlags::IN)];
        poll(&mut asked, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Accepts the client that waits longest, if any waits: close-on-exec, non-blocking, with the client's address if
    /// it is TCP. The socket's flags stay, since workers may hold it too.
    ///
    /// If a worker accepts that client in the same moment and the socket is blocking, the call blocks until the next
    /// client comes. Only a thread that may block calls it.
    ///
    /// # Errors
    ///
    /// If the socket does not listen, or descriptors or memory are used up.
    pub fn accept_waiting(&self) -> io::Result<Option<(OwnedFd, Option<SocketAddr>)>> {
        if !self.has_queue() {
            return Ok(None);
        }
        match acceptfrom_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok((client, from)) => Ok(Some((client, from.and_then(|from| from.try_into().ok())))),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns true if the socket still listens: `shutdown` by any process that holds the socket ends that.
    pub fn is_listening(&self) -> bool {
        self.socket.is_listener().unwrap_or(false)
    }

    /// Listens again if a process stopped it: `shutdown` on an inherited listener ends it for all its holders. Returns
    /// true if that was so. The clients in the queue are lost then.
    ///
    /// # Errors
    ///
    /// If it cannot listen again. A stopped socket does not keep a port that the kernel chose.
    pub fn revive(&self, backlog: u32) -> io::Result<bool> {
        if self.socket.is_listener()? {
            return Ok(false);
        }
        self.socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(true)
    }

    /// Removes the path of a unix listener, so that no new client finds it while the waiting ones are still accepted.
    pub fn unlink(&self) {
        if let Some(path) = &self.path {
            path.remove();
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Makes a TCP socket with all options, bound and not listening yet.
pub(super) fn bind_tcp(at: SocketAddr, keepalive: Duration, v6_only: bool) -> io::Result<Socket> {
    let socket = match Socket::new(Domain::for_address(at), Type::STREAM.nonblocking(), None) {
        // A kernel without IPv6: "all interfaces" still means something.
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) && is_v6_wildcard(at) && !v6_only => {
            let four = SocketAddr::from((Ipv4Addr::UNSPECIFIED, at.port()));
            return bind_tcp(four, keepalive, v6_only);
        }
        socket => socket?,
    };
    prepare_tcp(&socket, at, keepalive, v6_only)?;
    socket.bind(&at.into())?;
    Ok(socket)
}

/// Sets the options of a TCP socket that is to be bound.
pub(super) fn prepare_tcp(socket: &Socket, at: SocketAddr, keepalive: Duration, v6_only: bool) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    if is_v6_wildcard(at) {
        socket.set_only_v6(v6_only)?;
    }
    set_client_options(socket, keepalive)
}

/// Sets the options that accepted connections take over from their TCP listener.
fn set_client_options(socket: &Socket, keepalive: Duration) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    if !keepalive.is_zero() {
        let probes = TcpKeepalive::new().with_time(keepalive).with_interval(Duration::from_secs(15)).with_retries(3);
        socket.set_tcp_keepalive(&probes)?;
    }
    // No TCP_USER_TIMEOUT: Linux (since 5.11) applies it to a zero window too, so 30 s of it would cut a client that
    // pauses its download for 31 s although it answers every window probe. A peer that died with bytes unsent is
    // silent in both directions: the idle timeout ends it.
    Ok(())
}

fn is_v6_wildcard(at: SocketAddr) -> bool {
    matches!(at.ip(), IpAddr::V6(ip) if ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn bind(address: &str) -> Result<Listener, BindError> {
        Listener::bind(&address.parse().unwrap(), 16, Duration::from_secs(60), false)
    }

    #[test]
    fn port_zero_is_replaced_and_a_second_server_is_refused() {
        let listener = bind("127.0.0.1:0").unwrap();
        let Address::Tcp(at) = listener.address() else { panic!("{:?}", listener.address()) };
        assert_ne!(at.port(), 0);
        assert!(TcpStream::connect(at).is_ok());
        let error = bind(&at.to_string()).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(error.to_string(), format!("cannot listen on {at}"));
    }

    #[test]
    fn v6_wildcard_takes_both_families_unless_both_listed() {
        let [six, four] = ["[::]:8080", "0.0.0.0:8080"].map(|text| text.parse::<Address>().unwrap());
        assert!(is_v6_only(&six, &[six.clone(), four.clone()]));
        assert!(!is_v6_only(&six, std::slice::from_ref(&six)));
        assert!(!is_v6_only(&four, &[six.clone(), four.clone()]));
        let listener = bind("[::]:0").unwrap();
        let Address::Tcp(at) = listener.address() else { panic!("{:?}", listener.address()) };
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, at.port())).is_ok());
    }
}
