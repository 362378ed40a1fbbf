//! Reaching a worker's endpoint without waiting for it.
//!
//! On one machine a connect is usually done when the call returns. So the client's first bytes are sent at once, and
//! the socket goes to the runtime afterwards.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::time::Instant;

use crate::net::relay::Room;
use crate::net::stream::Family;
use crate::os::peer;
use crate::os::source_address::{bind_source, is_used_up};
use crate::pool::Pool;
use crate::rotation::{Endpoint, Sources, Upstream, source_address};
use crate::stats::ConnectError;

/// A connect under way.
pub(crate) struct Begun {
    pub(crate) socket: Socket,
    pub(crate) family: Family,
    /// The number of the source address.
    source: u8,
    /// When `connect` was called.
    pub(crate) at: Instant,
    /// True if the connect has succeeded already.
    pub(crate) is_done: bool,
    /// The room that the worker has to be ahead with its answer.
    pub(crate) room: Room,
}

/// Starts to connect to a worker. Logs once for each pool that the source ports of an address are used up.
pub(crate) fn begin(upstream: &Upstream, pool: &Pool, ephemeral: &RangeInclusive<u16>) -> Result<Begun, ConnectError> {
    let count = pool.config().source_addresses;
    let begun = begin_at(&upstream.endpoint, ephemeral, &upstream.sources, count);
    let is_first = |said: &AtomicBool| !said.swap(true, Ordering::Relaxed);
    let (name, endpoint) = (&pool.name, &upstream.endpoint);
    match &begun {
        Ok(Begun { source: source @ 1.., .. }) if is_first(&pool.said_other_source) => tracing::warn!(
            pool = name, worker = %upstream.slot, %endpoint, source = %source_address(*source),
            "source ports of 127.0.0.1 to a worker are used up: connections begin at further loopback addresses; \
             `--endpoint unix` has no such limit"
        ),
        Err(ConnectError::NoPort) if is_first(&pool.said_no_source) => tracing::error!(
            pool = name, worker = %upstream.slot, %endpoint, addresses = count,
            "no source port to a worker is left: its clients wait for dispatch-timeout; use `--endpoint unix`, which has \
             no such limit, or a higher `source-addresses`"
        ),
        _ => {}
    }
    begun
}

fn begin_at(
    endpoint: &Endpoint,
    ephemeral: &RangeInclusive<u16>,
    sources: &Sources,
    count: u8,
) -> Result<Begun, ConnectError> {
    let at = Instant::now();
    match endpoint {
        Endpoint::Tcp(to) => {
            begin_tcp(*to, ephemeral, sources, count, at).map_err(|error| classify(&error, Family::Tcp))
        }
        // The master connects to neither: workers that inherit a listener accept by themselves, and a channel is sent
        // sockets.
        Endpoint::Inherited | Endpoint::Channel => Err(ConnectError::Refused),
        Endpoint::Unix(path) => begin_unix(path, None, at).map_err(|error| classify(&error, Family::Unix)),
        Endpoint::UnixOf(path, uid) => begin_unix(path, Some(*uid), at).map_err(|error| classify(&error, Family::Unix)),
    }
}

/// Connects to a path. If `owner` is given, only that user may listen there, which is checked before a byte is sent.
fn begin_unix(path: &Path, owner: Option<u32>, at: Instant) -> io::Result<Begun> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    if let Some(uid) = owner {
        peer::require(socket.as_fd(), uid)?;
    }
    Ok(Begun { socket, family: Family::Unix, source: 0, at, is_done: true, room: Room::Usual })
}

/// Connects from the first source address that has a port left.
fn begin_tcp(
    to: SocketAddr,
    ephemeral: &RangeInclusive<u16>,
    sources: &Sources,
    count: u8,
    at: Instant,
) -> io::Result<Begun> {
    let is_loopback = matches!(to.ip(), IpAddr::V4(ip) if ip.is_loopback());
    let mut is_any_tried = false;
    for source in sources.order(if is_loopback { count } else { 1 }, at) {
        is_any_tried = true;
        match connect_from(to, ephemeral, source) {
            Err(error) if is_used_up(&error) => {}
            Err(error) => return Err(error),
            Ok((socket, is_done, room)) => {
                sources.used(source, at);
                return Ok(Begun { socket, family: Family::Tcp, source, at, is_done, room });
            }
        }
    }
    if is_any_tried {
        sources.used_up(at);
    }
    Err(io::ErrorKind::AddrNotAvailable.into())
}

/// Returns the socket, true if it is connected already, and its room.
fn connect_from(to: SocketAddr, ephemeral: &RangeInclusive<u16>, source: u8) -> io::Result<(Socket, bool, Room)> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), None)?;
    if source > 0 {
        bind_source(&socket, source_address(source))?;
    }
    socket.set_tcp_nodelay(true)?;
    let room = Room::begin(&socket);
    let is_done = match socket.connect(&to.into()) {
        Ok(()) => true,
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => false,
        Err(error) => return Err(error),
    };
    // If no process listens at the port, the kernel may have chosen that very port as ours. TCP then connects to
    // itself.
    if ephemeral.contains(&to.port()) && socket.local_addr()?.as_socket() == Some(to) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok((socket, is_done, room))
}

/// Sends the first bytes. Returns how many, or `None` if the socket takes none yet.
pub(crate) fn send(begun: &Begun, bytes: &[u8]) -> Result<Option<usize>, ConnectError> {
    match begun.socket.send_with_flags(bytes, libc::MSG_NOSIGNAL) {
        Ok(n) => Ok(Some(n)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(classify(&error, begun.family)),
    }
}

/// Classifies an error of a worker's socket as long as the worker was given no bytes of the client.
pub(crate) fn classify(error: &io::Error, family: Family) -> ConnectError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => ConnectError::Refused,
        io::ErrorKind::TimedOut => ConnectError::Timeout,
        io::ErrorKind::AddrNotAvailable => ConnectError::NoPort,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => ConnectError::Reset,
        // A unix listener with a full queue reports this error. For TCP it means that a resource of ours is used up.
        io::ErrorKind::WouldBlock if family == Family::Unix => ConnectError::Busy,
        _ => ConnectError::Other,
    }
}

/// Returns the ports that the kernel gives to outgoing connections.
pub(crate) fn ephemeral_ports() -> RangeInclusive<u16> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = text.split_whitespace().map_while(|bound| bound.parse().ok());
    match (bounds.next(), bounds.next()) {
        (Some(low), Some(high)) => low..=high,
        // The range is unknown, so any port may be in it.
        _ => 0..=u16::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn endpoint_error(endpoint: &Endpoint) -> Option<ConnectError> {
        begin_at(endpoint, &ephemeral_ports(), &Sources::default(), 1).err()
    }

    #[test]
    fn absent_listener_is_refused_and_full_queue_is_busy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("worker.sock");
        assert_eq!(endpoint_error(&Endpoint::Unix(path.clone())), Some(ConnectError::Refused));
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        assert_eq!(endpoint_error(&Endpoint::Unix(path.clone())), Some(ConnectError::Refused));
        listener.listen(0).unwrap();
        let waiting: Vec<_> =
            (0..2).map(|_| begin_at(&Endpoint::Unix(path.clone()), &(0..=0), &Sources::default(), 1)).collect();
        assert!(waiting.first().is_some_and(Result::is_ok));
        assert_eq!(endpoint_error(&Endpoint::Unix(path)), Some(ConnectError::Busy));
    }

    #[test]
    fn path_of_another_listener_is_not_a_worker() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let own = rustix::process::geteuid().as_raw();
        assert_eq!(endpoint_error(&Endpoint::UnixOf(path.clone(), own)), None);
        assert_eq!(endpoint_error(&Endpoint::UnixOf(path, own + 1)), Some(ConnectError::Other));
    }

    #[test]
    fn self_connected_socket_is_not_a_worker() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let own = socket.local_addr().unwrap().as_socket().unwrap();
        socket.connect(&own.into()).unwrap();
        assert_eq!(socket.local_addr().unwrap().as_socket(), Some(own), "this is the trap");
    }

    #[test]
    fn kernel_port_range_is_read() {
        let ports = ephemeral_ports();
        assert!(ports.start() < ports.end(), "{ports:?}");
    }
}
