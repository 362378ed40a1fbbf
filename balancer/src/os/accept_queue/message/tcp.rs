//! TCP listeners and connections: `inet_diag_req_v2` and `inet_diag_msg`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{ONLY_LISTEN, array_at, attribute, finished, header, u32_at};
use crate::os::accept_queue::Listening;
use crate::os::accept_queue::connections::{PeerId, ServerSide};

/// The length of `inet_diag_msg`, behind which its attributes stand.
pub(super) const INET_ENTRY: usize = 72;
const INET_DIAG_INFO: u16 = 2;

const INET_DIAG_SKV6ONLY: u16 = 11;

/// The offset of `tcpi_bytes_acked` in `tcp_info`; `tcpi_bytes_received` follows.
const BYTES_ACKED: usize = 120;
const BYTES_RECEIVED: usize = 128;

/// The states ESTABLISHED, FIN_WAIT1, FIN_WAIT2 and CLOSE_WAIT: a connection that at least one side may still use.
const CONNECTED: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8;

/// A TCP listener, as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::os::accept_queue) struct TcpEntry {
    /// The address that it is bound to.
    pub(in crate::os::accept_queue) bound: SocketAddr,
    /// True if its IPv6 wildcard takes no IPv4 connections (IPV6_V6ONLY).
    pub(in crate::os::accept_queue) is_v6_only: bool,
    /// The user that created it.
    pub(in crate::os::accept_queue) uid: u32,
    pub(in crate::os::accept_queue) listening: Listening,
}

/// The server's side of a TCP connection, and the address that it is bound to.
pub(in crate::os::accept_queue) type ConnectionEntry = (SocketAddr, ServerSide);

/// Asks for the TCP listeners of one family, `libc::AF_INET` or `AF_INET6`; of one port, or with port 0 of all.
pub(in crate::os::accept_queue) fn tcp_request(sequence: u32, family: u8, port: u16) -> Vec<u8> {
    tcp_list(sequence, family, port, ONLY_LISTEN, 0)
}

/// Asks for the TCP connections of one family whose own port is `port`, with the bytes that they have carried.
pub(in crate::os::accept_queue) fn tcp_connections_request(sequence: u32, family: u8, port: u16) -> Vec<u8> {
    tcp_list(sequence, family, port, CONNECTED, 1 << (INET_DIAG_INFO - 1))
}

fn tcp_list(sequence: u32, family: u8, port: u16, states: u32, extensions: u8) -> Vec<u8> {
    let mut request = header(sequence, true);
    request.extend([family, libc::IPPROTO_TCP as u8, extensions, 0]);
    request.extend(states.to_ne_bytes());
    request.extend(port.to_be_bytes());
    // The other port, two addresses and the interface: any.
    request.extend([0; 2 + 16 + 16 + 4]);
    finished(request)
}

/// The number of the loopback device, in every network namespace (`LOOPBACK_IFINDEX` of the kernel).
const LOOPBACK_DEVICE: u32 = 1;

/// Asks for the one TCP connection whose server side is bound to `address` and connected to `peer`.
pub(in crate::os::accept_queue) fn connection_request(sequence: u32, address: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    tcp_exact(sequence, u32::MAX, address, Some(peer), 0)
}

/// Asks for the one TCP listener that takes a connection to `address`.
///
/// A listener bound to the loopback device goes before others, so the question about a loopback address names that device.
pub(in crate::os::accept_queue) fn listener_request(sequence: u32, address: SocketAddr) -> Vec<u8> {
    let device = if address.ip().is_loopback() { LOOPBACK_DEVICE } else { 0 };
    tcp_exact(sequence, ONLY_LISTEN, address, None, device)
}

fn tcp_exact(sequence: u32, states: u32, address: SocketAddr, peer: Option<SocketAddr>, device: u32) -> Vec<u8> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let octets = |ip| {
        let mut octets = [0; 16];
        match ip {
            Some(IpAddr::V4(ip)) => octets[..4].copy_from_slice(&ip.octets()),
            Some(IpAddr::V6(ip)) => octets = ip.octets(),
            None => {}
        }
        octets
    };
    let mut request = header(sequence, false);
    request.extend([family as u8, libc::IPPROTO_TCP as u8, 0, 0]);
    request.extend(states.to_ne_bytes());
    request.extend(address.port().to_be_bytes());
    request.extend(peer.map_or(0, |peer| peer.port()).to_be_bytes());
    request.extend(octets(Some(address.ip())));
    request.extend(octets(peer.map(|peer| peer.ip())));
    request.extend(device.to_ne_bytes());
    finished(request)
}

/// The address whose port stands at one offset of an `inet_diag_msg` and whose IP address at the other.
fn inet_address(body: &[u8], port: usize, ip: usize) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(array_at(body, port)?);
    let ip = match i32::from(*body.first()?) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(array_at::<4>(body, ip)?)),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::from(array_at::<16>(body, ip)?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Reads an `inet_diag_msg` of a connection; `None` if it is none.
pub(in crate::os::accept_queue) fn tcp_connection(body: &[u8]) -> Option<ConnectionEntry> {
    let (bound, peer) = (inet_address(body, 4, 8)?, inet_address(body, 6, 24)?);
    let (unread, unacked, inode) = (u32_at(body, 56)?, u32_at(body, 60)?, u64::from(u32_at(body, 68)?));
    let info = attribute(body.get(INET_ENTRY..)?, INET_DIAG_INFO);
    let count = |at| info.and_then(|info| array_at(info, at)).map(u64::from_ne_bytes);
    // A FIN counts as a received byte, but the program never reads it.
    let read = count(BYTES_RECEIVED).map(|received| received.saturating_sub(u64::from(unread)));
    let written = count(BYTES_ACKED).map(|acked| acked.saturating_add(u64::from(unacked)));
    let bytes = read.zip(written).map(|(read, written)| read.saturating_add(written));
    let peer = Some(PeerId::Address(SocketAddr::new(peer.ip().to_canonical(), peer.port())));
    Some((bound, ServerSide { inode: (inode != 0).then_some(inode), peer, bytes, unread }))
}

/// Reads an `inet_diag_msg`; `None` if it is none.
pub(in crate::os::accept_queue) fn tcp_entry(body: &[u8]) -> Option<TcpEntry> {
    let bound = inet_address(body, 4, 8)?;
    let listening = Listening {
        inode: u64::from(u32_at(body, 68)?),
        // For a listener, the kernel puts the queue and its limit where others have bytes (`tcp_diag_get_info`).
        queued: u32_at(body, 56)?,
        limit: Some(u32_at(body, 60)?),
    };
    let v6_only = attribute(body.get(INET_ENTRY..)?, INET_DIAG_SKV6ONLY);
    let is_v6_only = v6_only.and_then(|value| value.first()).is_some_and(|&value| value != 0);
    Some(TcpEntry { bound, is_v6_only, uid: u32_at(body, 64)?, listening })
}
