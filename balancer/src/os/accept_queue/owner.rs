//! The socket that takes a connection to a TCP address, and the user that created it.
//!
//! A loopback port belongs to the process that binds it first, of any user: the kernel reserves only the ports below
//! 1024 for root. So before the master sends clients to a port, it asks the kernel which user the listener belongs to.
//! The look-up is exact, as for a connection that comes in: one question about one address, 10 µs among any number of
//! sockets. If a wildcard and an exact listener share a port, the answer is the one that would get the connection.

use std::io;
use std::net::SocketAddr;

use super::message::{TcpEntry, listener_request, tcp_entry};
use super::netlink::Netlink;
use super::{is_passing, table, takes, tcp_listeners};

/// A listening socket and the user that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The inode of the socket.
    pub inode: u64,
    /// The user of the process that created the socket, as this user namespace numbers it. A process of another user
    /// may hold the socket now.
    pub uid: u32,
}

/// Returns the socket that takes connections to `address`; None if no socket listens there.
///
/// Where the kernel refuses `sock_diag`, this reads its table in `/proc`, which is slow among many connections: call it
/// on a thread that may block.
///
/// # Errors
///
/// Descriptors or memory are exhausted, or neither can be read.
pub fn listener_at(address: SocketAddr) -> io::Result<Option<Owner>> {
    match Netlink::new().and_then(|mut netlink| exact(&mut netlink, address)) {
        Err(error) if is_passing(&error) => Err(error),
        Err(_) => Ok(in_table(&table::tcp_listeners()?, address)),
        found => found,
    }
}

fn exact(netlink: &mut Netlink, address: SocketAddr) -> io::Result<Option<Owner>> {
    match netlink.find(|sequence| listener_request(sequence, address), tcp_entry)? {
        Some(entry) => Ok(Some(owner(&entry))),
        // A kernel without `tcp_diag` answers "no such entry" too. It refuses a list in that case.
        None => Ok(in_table(&tcp_listeners(netlink, address.port())?, address)),
    }
}

/// Finds the listener in a list. An exact listener goes before a wildcard, as it gets the connections that both would
/// take.
fn in_table(listeners: &[TcpEntry], address: SocketAddr) -> Option<Owner> {
    let taking = listeners.iter().filter(|entry| takes(entry.bound, entry.is_v6_only, address));
    let is_wildcard = |entry: &&TcpEntry| (entry.bound.ip().is_unspecified(), entry.bound.is_ipv6());
    taking.min_by_key(is_wildcard).map(owner)
}

fn owner(entry: &TcpEntry) -> Owner {
    Owner { inode: entry.listening.inode, uid: entry.uid }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::TcpListener;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    use socket2::{Domain, Protocol, Socket, Type};

    use super::*;

    fn inode(socket: impl AsFd) -> u64 {
        File::from(socket.as_fd().try_clone_to_owned().unwrap()).metadata().unwrap().ino()
    }

    /// Asks both ways, and expects `socket`, or no listener for `None`.
    #[track_caller]
    fn expect(address: SocketAddr, socket: Option<u64>) {
        let uid = rustix::process::geteuid().as_raw();
        let expected = socket.map(|inode| Owner { inode, uid });
        assert_eq!(listener_at(address).unwrap(), expected, "{address}");
        assert_eq!(in_table(&table::tcp_listeners().unwrap(), address), expected, "{address} in the table");
    }

    fn local(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn listener_is_found_by_exact_address_and_by_wildcard() {
        for at in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let listener = TcpListener::bind(at).unwrap();
            let address = local(listener.local_addr().unwrap().port());
            expect(address, Some(inode(&listener)));
        }
        let v6 = TcpListener::bind("[::1]:0").unwrap();
        expect(v6.local_addr().unwrap(), Some(inode(&v6)));
        expect(local(v6.local_addr().unwrap().port()), None);
        // A socket that is bound but does not listen is not found.
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bound.bind(&local(0).into()).unwrap();
        expect(bound.local_addr().unwrap().as_socket().unwrap(), None);
    }

    #[test]
    fn listener_bound_to_the_loopback_device_is_found() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if let Err(error) = socket.bind_device(Some(b"lo")) {
            println!("skipped: needs SO_BINDTODEVICE: {error}");
            return;
        }
        socket.bind(&local(0).into()).unwrap();
        socket.listen(1).unwrap();
        expect(socket.local_addr().unwrap().as_socket().unwrap(), Some(inode(&socket)));
    }

    #[test]
    fn multipath_listener_is_found() {
        let Ok(socket) = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)) else {
            println!("skipped: needs a kernel with MPTCP");
            return;
        };
        socket.bind(&local(0).into()).unwrap();
        socket.listen(1).unwrap();
        expect(socket.local_addr().unwrap().as_socket().unwrap(), Some(inode(&socket)));
    }
}
