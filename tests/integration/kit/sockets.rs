//! TCP sockets, as the kernel lists them.

use std::net::SocketAddr;

/// True if the server's end of a connection was accepted and has no unread bytes.
pub(crate) fn is_read(server: SocketAddr, client: SocketAddr) -> bool {
    tcp_sockets().iter().any(|socket| {
        // A connection that was not accepted yet belongs to no file.
        (socket.local, socket.remote) == (server.port(), client.port()) && socket.unread == 0 && socket.inode != 0
    })
}

/// The number of connections to that server that were accepted and have no unread bytes. A connection that was only
/// assigned to a worker is not counted.
pub(crate) fn read_at(server: SocketAddr) -> usize {
    let is_read = |socket: &&TcpSocket| socket.local == server.port() && socket.remote != 0 && socket.inode != 0;
    tcp_sockets().iter().filter(is_read).filter(|socket| socket.unread == 0).count()
}

/// Returns true while a socket listens on the port.
pub(crate) fn is_listening(server: SocketAddr) -> bool {
    tcp_sockets().iter().any(|socket| (socket.local, socket.remote) == (server.port(), 0))
}

struct TcpSocket {
    local: u16,
    remote: u16,
    unread: u64,
    inode: u64,
}

/// The kernel's list of IPv4 sockets.
fn tcp_sockets() -> Vec<TcpSocket> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    let row = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, local, remote, _, queues, _, _, _, _, inode, ..] = fields[..] else { return None };
        let (_, unread) = queues.split_once(':')?;
        let unread = u64::from_str_radix(unread, 16).ok()?;
        Some(TcpSocket { local: port(local)?, remote: port(remote)?, unread, inode: inode.parse().ok()? })
    };
    table.lines().filter_map(row).collect()
}
