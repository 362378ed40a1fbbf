//! Reaching a worker's endpoint without waiting for it.
//!
//! On one machine a connect is done when the call returns, or as good as; so the client's first bytes are sent at once and
//! only then the socket goes to the runtime.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::time::Instant;

use crate::net::stream::Family;
use crate::os::peer;
use crate::rotation::Endpoint;
use crate::stats::ConnectError;

/// A connect under way.
pub(super) struct Begun {
    pub(super) socket: Socket,
    pub(super) family: Family,
    /// When `connect` was called.
    pub(super) at: Instant,
    /// Whether it has succeeded already.
    pub(super) is_done: bool,
}

/// Starts to connect.
pub(super) fn begin(endpoint: &Endpoint, ephemeral: &RangeInclusive<u16>) -> Result<Begun, ConnectError> {
    let at = Instant::now();
    match endpoint {
        Endpoint::Tcp(to) => begin_tcp(*to, ephemeral, at).map_err(|error| classify(&error, Family::Tcp)),
        // Never connected to: where workers accept by themselves the master does not, and a channel is given to.
        Endpoint::Inherited | Endpoint::Channel => Err(ConnectError::Refused),
        Endpoint::Unix(path) => begin_unix(path, None, at).map_err(|error| classify(&error, Family::Unix)),
        Endpoint::UnixOf(path, uid) => begin_unix(path, Some(*uid), at).map_err(|error| classify(&error, Family::Unix)),
    }
}

/// To a path at which only `owner` may listen, if one is given: it is asked before anything is sent.
fn begin_unix(path: &Path, owner: Option<u32>, at: Instant) -> io::Result<Begun> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    if let Some(uid) = owner {
        peer::require(socket.as_fd(), uid)?;
    }
    Ok(Begun { socket, family: Family::Unix, at, is_done: true })
}

fn begin_tcp(to: SocketAddr, ephemeral: &RangeInclusive<u16>, at: Instant) -> io::Result<Begun> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), None)?;
    socket.set_tcp_nodelay(true)?;
    let is_done = match socket.connect(&to.into()) {
        Ok(()) => true,
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => false,
        Err(error) => return Err(error),
    };
    // Nobody listens, yet the kernel may have chosen the very port we connect to as our own: TCP then connects to itself.
    if ephemeral.contains(&to.port()) && socket.local_addr()?.as_socket() == Some(to) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(Begun { socket, family: Family::Tcp, at, is_done })
}

/// Sends the first bytes; `None` if the socket does not take any yet.
pub(super) fn send(begun: &Begun, bytes: &[u8]) -> Result<Option<usize>, ConnectError> {
    match begun.socket.send_with_flags(bytes, libc::MSG_NOSIGNAL) {
        Ok(n) => Ok(Some(n)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(classify(&error, begun.family)),
    }
}

/// What an error of a worker's socket means as long as it was given nothing of the client's.
pub(super) fn classify(error: &io::Error, family: Family) -> ConnectError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => ConnectError::Refused,
        io::ErrorKind::TimedOut => ConnectError::Timeout,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => ConnectError::Reset,
        // A unix listener with a full queue says so; for TCP the same error is a lack of something here.
        io::ErrorKind::WouldBlock if family == Family::Unix => ConnectError::Busy,
        _ => ConnectError::Other,
    }
}

/// The ports the kernel gives to outgoing connections.
pub(super) fn ephemeral_ports() -> RangeInclusive<u16> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = text.split_whitespace().map_while(|bound| bound.parse().ok());
    match (bounds.next(), bounds.next()) {
        (Some(low), Some(high)) => low..=high,
        // Unknown: then any port may be one.
        _ => 0..=u16::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn endpoint_error(endpoint: &Endpoint) -> Option<ConnectError> {
        begin(endpoint, &ephemeral_ports()).err()
    }

    #[test]
    fn nobody_there_is_refused_and_a_full_queue_is_busy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("worker.sock");
        assert_eq!(endpoint_error(&Endpoint::Unix(path.clone())), Some(ConnectError::Refused));
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        assert_eq!(endpoint_error(&Endpoint::Unix(path.clone())), Some(ConnectError::Refused));
        listener.listen(0).unwrap();
        let waiting: Vec<_> = (0..2).map(|_| begin(&Endpoint::Unix(path.clone()), &(0..=0))).collect();
        assert!(waiting.first().is_some_and(Result::is_ok));
        assert_eq!(endpoint_error(&Endpoint::Unix(path)), Some(ConnectError::Busy));
    }

    #[test]
    fn a_path_at_which_somebody_else_listens_is_no_workers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let own = rustix::process::geteuid().as_raw();
        assert_eq!(endpoint_error(&Endpoint::UnixOf(path.clone(), own)), None);
        assert_eq!(endpoint_error(&Endpoint::UnixOf(path, own + 1)), Some(ConnectError::Other));
    }

    #[test]
    fn a_socket_connected_to_itself_is_nobody() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let own = socket.local_addr().unwrap().as_socket().unwrap();
        socket.connect(&own.into()).unwrap();
        assert_eq!(socket.local_addr().unwrap().as_socket(), Some(own), "this is the trap");
    }

    #[test]
    fn the_kernels_port_range_is_read() {
        let ports = ephemeral_ports();
        assert!(ports.start() < ports.end(), "{ports:?}");
    }
}
