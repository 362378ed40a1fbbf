//! The number of connections that wait in the accept queue of a listening socket, seen from outside the program.
//!
//! A client's connection is in that queue long before the program that listens knows of it. So the queue shows two
//! things that the program cannot tell. First, if a client still waits: then the program must not be told to end yet.
//! Second, if the program accepts connections: a queue that does not move, of a program that does not answer, is a
//! hang. This works for any language and needs no help from the program: the kernel is asked by netlink `sock_diag`, as
//! `ss -l` does.
//!
//! The queue does not count a TCP handshake whose last packet has not arrived. Over loopback that lasts a moment,
//! unless the queue is full. Then the kernel drops that packet, the client believes that it is connected, and the
//! connection enters the queue with a repeated packet, a second later or more. So a queue that was full a moment ago is
//! not known to be empty.
//!
//! Cost, measured unoptimised on a small virtual machine: 40 µs for the listeners of a TCP port, with any number of
//! connections; 26 µs for a unix path among a dozen unix sockets, and 1.2 ms among 10,000, since the kernel walks
//! through all of them; 0.3 ms to read 64 listeners of one kind at once. Reading the table in `/proc` takes 9 ms, and
//! 160 ms among 10,000 TCP sockets.

mod connections;
mod message;
mod netlink;
mod owner;
mod table;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use self::message::{TcpEntry, UnixEntry, tcp_entry, tcp_request, unix_entry, unix_request};
use self::netlink::Netlink;
use super::limits::is_exhausted;

pub use self::connections::{PeerId, ServerSide};
#[cfg(feature = "fuzzing")]
pub use self::message::fuzz;
pub use self::owner::{Owner, listener_at};

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The inode of the socket, as `fstat` and `/proc/PID/fd` show it. Never 0 for a socket that a program holds.
    pub inode: u64,
    /// Connections that can be accepted now.
    pub queued: u32,
    /// The backlog that the program asked for, cut to `net.core.somaxconn`; the kernel queues one more than that. None
    /// where it cannot be known.
    pub limit: Option<u32>,
}

/// The place that clients connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where<'a> {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a unix stream socket.
    Unix(&'a Path),
}

/// Reads accept queues. Holds two netlink sockets, one for each kind of listeners.
///
/// It sees the listeners of all users in the network namespace in which it was made.
#[derive(Debug)]
pub struct QueueReader {
    /// None where the kernel refuses: then the table in `/proc` is read instead.
    tcp: Option<Netlink>,
    /// None where the kernel refuses.
    unix: Option<Netlink>,
}

impl QueueReader {
    /// Finds out what the kernel offers here. Call it once at the start: it may load kernel modules, which takes a
    /// while.
    ///
    /// Where `sock_diag` is refused (a seccomp filter, a kernel without it), TCP queues are read from `/proc/net/tcp` and
    /// `tcp6` instead, and those of unix sockets cannot be read.
    ///
    /// # Errors
    ///
    /// Descriptors or memory are exhausted; or, hardly ever, the kernel's list changed during each of several tries.
    pub fn new() -> io::Result<Self> {
        let tcp = offered(|netlink| tcp_listeners(netlink, 0).map(drop))?;
        let unix = offered(|netlink| unix_listeners(netlink).map(drop))?;
        Ok(Self { tcp, unix })
    }

    /// All listeners that take connections to `address`: bound to it or to a wildcard that includes it, and each member
    /// of a group that shares the port. Empty if no socket listens there.
    ///
    /// If an exact and a wildcard listener share a port, the kernel gives new connections to the exact one. The
    /// wildcard listener is returned too, since older connections may wait there.
    ///
    /// # Errors
    ///
    /// The kernel's list cannot be read.
    pub fn tcp(&mut self, address: SocketAddr) -> io::Result<Vec<Listening>> {
        Ok(at_address(&self.all_tcp(address.port())?, address))
    }

    /// The listeners at `path`; more than one if the file was removed and another one bound there.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] where the kernel refuses `sock_diag`; or its list cannot be read.
    pub fn unix(&mut self, path: &Path) -> io::Result<Vec<Listening>> {
        Ok(at_path(&self.all_unix()?, path))
    }

    /// [`QueueReader::tcp`] or [`QueueReader::unix`] of each of `places`, in their order, with at most one list of each kind
    /// from the kernel.
    pub fn look(&mut self, places: &[Where<'_>]) -> Vec<io::Result<Vec<Listening>>> {
        let mut ports = places.iter().filter_map(|place| match place {
            Where::Tcp(address) => Some(address.port()),
            Where::Unix(_) => None,
        });
        let (first_port, has_more) = (ports.next(), ports.next().is_some());
        let tcp = first_port.map(|port| self.all_tcp(if has_more { 0 } else { port }));
        let has_unix = places.iter().any(|place| matches!(place, Where::Unix(_)));
        let unix = has_unix.then(|| self.all_unix());
        let answers = places.iter().map(|place| match place {
            Where::Tcp(address) => of(&tcp, |listeners| at_address(listeners, *address)),
            Where::Unix(path) => of(&unix, |listeners| at_path(listeners, path)),
        });
        answers.collect()
    }

    /// The TCP listeners of a port; with port 0, all.
    fn all_tcp(&mut self, port: u16) -> io::Result<Vec<TcpEntry>> {
        match &mut self.tcp {
            Some(netlink) => tcp_listeners(netlink, port),
            None => table::tcp_listeners(),
        }
    }

    fn all_unix(&mut self) -> io::Result<Vec<UnixEntry>> {
        unix_listeners(self.unix.as_mut().ok_or_else(unsupported)?)
    }
}

/// Every TCP listener of our network namespace: where it is bound, and its inode.
///
/// Asks `sock_diag`, which lists only listeners. The table in `/proc` has a line for every connection too: it is slow
/// among many, and under load it has been seen to lack a listener for seconds. So it is read only where the kernel
/// refuses `sock_diag`.
///
/// # Errors
///
/// Neither `sock_diag` nor the table can be read.
pub fn all_tcp_listeners() -> io::Result<Vec<(SocketAddr, u64)>> {
    let asked = Netlink::new().and_then(|mut netlink| tcp_listeners(&mut netlink, 0));
    let listeners = asked.or_else(|_| table::tcp_listeners())?;
    Ok(listeners.into_iter().map(|entry| (entry.bound, entry.listening.inode)).collect())
}

/// A socket on which `question` succeeds; None if the kernel refuses it.
fn offered(question: impl Fn(&mut Netlink) -> io::Result<()>) -> io::Result<Option<Netlink>> {
    let asked = Netlink::new().and_then(|mut netlink| question(&mut netlink).map(|()| netlink));
    match asked {
        Ok(netlink) => Ok(Some(netlink)),
        Err(error) if is_passing(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Returns true for an error that does not show what the kernel offers, such as exhausted descriptors.
fn is_passing(error: &io::Error) -> bool {
    is_exhausted(error) || error.kind() == io::ErrorKind::WouldBlock
}

fn tcp_listeners(netlink: &mut Netlink, port: u16) -> io::Result<Vec<TcpEntry>> {
    let mut listeners = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        listeners.extend(netlink.list(|sequence| tcp_request(sequence, family as u8, port), tcp_entry)?);
    }
    Ok(listeners)
}

fn unix_listeners(netlink: &mut Netlink) -> io::Result<Vec<UnixEntry>> {
    netlink.list(unix_request, unix_entry)
}

fn unsupported() -> io::Error {
    let text = "this cannot be read: the kernel refuses netlink sock_diag (a seccomp filter, or no module unix_diag or \
                tcp_diag)";
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// Applies `find` to a list that several callers share. An error of the list is returned to each of them.
fn of<T>(list: &Option<io::Result<Vec<T>>>, find: impl FnOnce(&[T]) -> Vec<Listening>) -> io::Result<Vec<Listening>> {
    match list {
        Some(Ok(list)) => Ok(find(list)),
        Some(Err(error)) => Err(match error.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::new(error.kind(), error.to_string()),
        }),
        None => Ok(Vec::new()),
    }
}

fn at_address(listeners: &[TcpEntry], address: SocketAddr) -> Vec<Listening> {
    let found = listeners.iter().filter(|entry| takes(entry.bound, entry.is_v6_only, address));
    found.map(|entry| entry.listening).collect()
}

/// Returns true if a listener at `bound` takes a connection to `address`.
fn takes(bound: SocketAddr, is_v6_only: bool, address: SocketAddr) -> bool {
    // A client that connects to the wildcard gets to loopback.
    let wanted = match address.ip().to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let is_included = match bound.ip().to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => wanted.is_ipv4(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => wanted.is_ipv6() || !is_v6_only,
        ip => ip == wanted,
    };
    bound.port() == address.port() && is_included
}

fn at_path(listeners: &[UnixEntry], path: &Path) -> Vec<Listening> {
    let streams = || listeners.iter().filter(|entry| entry.is_stream);
    let named = streams().filter(|entry| entry.name == path.as_os_str().as_bytes());
    let found: Vec<_> = named.map(|entry| entry.listening).collect();
    if !found.is_empty() {
        return found;
    }
    let file = rustix::fs::stat(path).ok();
    let same = streams().filter(|entry| is_at_path(&entry.name, entry.file, path, file.as_ref()));
    same.map(|entry| entry.listening).collect()
}

/// Returns true if the socket with that name and file is at `path`. The name may be `path` itself or another name of
/// the same file: a relative one, or one through a link.
fn is_at_path(name: &[u8], bound: Option<(u32, u32)>, path: &Path, file: Option<&rustix::fs::Stat>) -> bool {
    let device = |file: &rustix::fs::Stat| rustix::fs::major(file.st_dev) << 20 | rustix::fs::minor(file.st_dev);
    name == path.as_os_str().as_bytes() || file.is_some_and(|file| bound == Some((device(file), file.st_ino as u32)))
}

#[cfg(test)]
mod tests;
