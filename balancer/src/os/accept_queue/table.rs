//! TCP listeners from `/proc/net/tcp` and `tcp6`, where the kernel refuses netlink.
//!
//! For a listener, the column `rx_queue` is the length of its accept queue: `get_tcp4_sock` and `get_tcp6_sock` of the
//! kernel write `sk_ack_backlog` there. The tables show neither the limit nor IPV6_V6ONLY. They have a line for every
//! connection of the network namespace: with many connections, reading them is slow.

use std::io;

use procfs::net::TcpState;
use procfs::{ProcError, ProcResult};

use super::Listening;
use super::message::TcpEntry;

/// The TCP listeners of our network namespace.
pub(super) fn tcp_listeners() -> io::Result<Vec<TcpEntry>> {
    let mut entries = procfs::net::tcp().map_err(io_error)?;
    entries.extend(or_empty(procfs::net::tcp6()).map_err(io_error)?);
    let listeners = entries.into_iter().filter(|entry| entry.state == TcpState::Listen);
    let listeners = listeners.map(|entry| TcpEntry {
        bound: entry.local_address,
        is_v6_only: false,
        uid: entry.uid,
        listening: Listening { inode: entry.inode, queued: entry.rx_queue, limit: None },
    });
    Ok(listeners.collect())
}

/// Returns an empty table if there is none: a kernel without IPv6 has no `tcp6`.
fn or_empty<T>(table: ProcResult<Vec<T>>) -> ProcResult<Vec<T>> {
    match table {
        Err(ProcError::NotFound(_)) => Ok(Vec::new()),
        table => table,
    }
}

fn io_error(error: ProcError) -> io::Error {
    match error {
        ProcError::Io(error, _) => error,
        ProcError::PermissionDenied(_) => io::ErrorKind::PermissionDenied.into(),
        ProcError::NotFound(_) => io::ErrorKind::NotFound.into(),
        error => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
    }
}
