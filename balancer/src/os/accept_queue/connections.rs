//! The connections to a listening endpoint, seen from the server's side, and which of them the program has accepted.
//!
//! The kernel establishes a connection before the program knows of it. Until the program accepts it, its server side
//! belongs to no file, and `sock_diag` reports the inode 0. So an inode proves that the program accepted the
//! connection. The length of the accept queue alone proves nothing: a connection in it may be a health check of ours
//! that was closed long ago.
//!
//! A list walks through all established sockets of the network namespace (TCP) or all unix sockets: about a millisecond
//! on a quiet machine. The master reads it only while a worker is in doubt. [`QueueReader::is_taken`] of a TCP
//! connection is an exact look-up, which costs the same with any number of sockets.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::message::{
    ConnectionEntry, connection_request, tcp_connection, tcp_connections_request, unix_connections,
    unix_connections_request,
};
use super::{QueueReader, is_at_path, takes, unsupported};

/// IPv4 first.
const FAMILIES: [libc::c_int; 2] = [libc::AF_INET, libc::AF_INET6];

/// The peer of a worker's connection, as far as the kernel identifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerId {
    /// The address that a TCP connection was made from.
    Address(SocketAddr),
    /// The inode of the socket that connected to a unix path.
    Inode(u64),
}

/// One connection to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSide {
    /// The inode of the server's socket; none until the program has accepted the connection.
    pub inode: Option<u64>,
    /// The other end; none if it is gone (unix only: a TCP peer keeps its address).
    pub peer: Option<PeerId>,
    /// Bytes that the program has read and written on it (TCP); none where the kernel does not count them.
    pub bytes: Option<u64>,
    /// Bytes that wait for the program to read them; 0 on a unix socket that was not accepted, where the kernel does
    /// not report them.
    pub unread: u32,
}

impl QueueReader {
    /// The connections that were made to `address` and are not closed by both sides.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] where the kernel refuses `sock_diag`; or its list cannot be read.
    pub fn tcp_connections(&mut self, address: SocketAddr) -> io::Result<Vec<ServerSide>> {
        // A program that listens for both families sees IPv4 connections as IPv6, and then the first list has none.
        // Each list is a walk through all connections of the machine, so the second is read only if the first is empty.
        for family in FAMILIES {
            let found = self.tcp_connections_of(family, address.port())?.into_iter();
            let found: Vec<_> =
                found.filter(|(bound, _)| takes(*bound, false, address)).map(|(_, side)| side).collect();
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    /// The connections whose server side is bound to that TCP port, at any address.
    ///
    /// # Errors
    ///
    /// As [`QueueReader::tcp_connections`].
    pub fn tcp_connections_of_port(&mut self, port: u16) -> io::Result<Vec<ServerSide>> {
        let mut found = Vec::new();
        for family in FAMILIES {
            found.extend(self.tcp_connections_of(family, port)?.into_iter().map(|(_, side)| side));
        }
        Ok(found)
    }

    /// The connections that were made to the unix path, as [`QueueReader::tcp_connections`].
    ///
    /// # Errors
    ///
    /// As [`QueueReader::tcp_connections`].
    pub fn unix_connections(&mut self, path: &Path) -> io::Result<Vec<ServerSide>> {
        let netlink = self.unix.as_mut().ok_or_else(unsupported)?;
        let entries = netlink.list(unix_connections_request, unix_connections)?;
        let file = rustix::fs::stat(path).ok();
        let at_path = entries.into_iter().filter(|entry| is_at_path(&entry.name, entry.file, path, file.as_ref()));
        Ok(at_path.flat_map(|entry| entry.sides).collect())
    }

    /// Returns true if the program behind `address` has accepted the TCP connection that was made from `peer`. Returns
    /// false also if that connection is gone.
    ///
    /// # Errors
    ///
    /// As [`QueueReader::tcp_connections`].
    pub fn is_taken(&mut self, address: SocketAddr, peer: SocketAddr) -> io::Result<bool> {
        Ok(self.taken(address, peer)?.is_some())
    }

    /// Returns the bytes that the program behind `address` has not read yet of the TCP connection that was made from `peer`.
    /// `None` where that connection is gone, or the program has not accepted it.
    ///
    /// # Errors
    ///
    /// As [`QueueReader::tcp_connections`].
    pub fn unread(&mut self, address: SocketAddr, peer: SocketAddr) -> io::Result<Option<u32>> {
        Ok(self.taken(address, peer)?.map(|side| side.unread))
    }

    fn taken(&mut self, address: SocketAddr, peer: SocketAddr) -> io::Result<Option<ServerSide>> {
        let netlink = self.tcp.as_mut().ok_or_else(unsupported)?;
        let entry = netlink.find(|sequence| connection_request(sequence, address, peer), tcp_connection)?;
        // Where there is no such connection, the kernel answers with the listener.
        let is_taken = |side: &ServerSide| side.inode.is_some() && side.peer == Some(PeerId::Address(peer));
        Ok(entry.map(|(_, side)| side).filter(is_taken))
    }

    fn tcp_connections_of(&mut self, family: libc::c_int, port: u16) -> io::Result<Vec<ConnectionEntry>> {
        let netlink = self.tcp.as_mut().ok_or_else(unsupported)?;
        netlink.list(|sequence| tcp_connections_request(sequence, family as u8, port), tcp_connection)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn tcp_connection_has_an_inode_only_when_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut reader = QueueReader::new().unwrap();
        assert_eq!(reader.tcp_connections(address).unwrap(), []);
        let mut client = TcpStream::connect(address).unwrap();
        let own = client.local_addr().unwrap();
        client.write_all(b"12345").unwrap();
        let [waiting] = reader.tcp_connections(address).unwrap()[..] else { panic!("one connection") };
        assert_eq!((waiting.inode, waiting.peer, waiting.unread), (None, Some(PeerId::Address(own)), 5));
        assert_eq!(waiting.bytes, Some(0), "nothing was read");
        assert!(!reader.is_taken(address, own).unwrap());

        let (mut server, _) = listener.accept().unwrap();
        assert!(reader.is_taken(address, own).unwrap());
        assert_eq!(reader.unread(address, own).unwrap(), Some(5));
        server.read_exact(&mut [0; 5]).unwrap();
        server.write_all(b"123").unwrap();
        let [taken] = reader.tcp_connections(address).unwrap()[..] else { panic!("one connection") };
        assert!(taken.inode.is_some());
        assert_eq!((taken.bytes, taken.unread), (Some(8), 0), "five read, three written");
        assert!(!reader.is_taken(address, "127.0.0.1:1".parse().unwrap()).unwrap(), "no such connection");
    }

    #[test]
    fn closed_tcp_connection_still_waits_with_its_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let own = client.local_addr().unwrap();
        drop(client);
        let found = QueueReader::new().unwrap().tcp_connections(address).unwrap();
        assert_eq!(
            found.iter().map(|side| (side.inode, side.peer)).collect::<Vec<_>>(),
            [(None, Some(PeerId::Address(own)))]
        );
    }

    #[test]
    fn unix_connection_has_an_inode_only_when_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w");
        let listener = UnixListener::bind(&path).unwrap();
        let mut reader = QueueReader::new().unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(b"12345").unwrap();
        let own = rustix::fs::fstat(&client).unwrap().st_ino;
        let [waiting] = reader.unix_connections(&path).unwrap()[..] else { panic!("one connection") };
        assert_eq!((waiting.inode, waiting.peer), (None, Some(PeerId::Inode(own))));

        let (_server, _) = listener.accept().unwrap();
        let [taken] = reader.unix_connections(&path).unwrap()[..] else { panic!("one connection") };
        assert!(taken.inode.is_some());
        drop(client);
        let [left] = reader.unix_connections(&path).unwrap()[..] else { panic!("one connection") };
        assert_eq!(left.peer, None, "the client is gone");
    }
}
