//! Messages of the kernel's `sock_diag`, pure: requests as bytes, and answers read as bytes that may be anything.
//!
//! The layouts are those of the kernel's headers `linux/netlink.h`, `linux/inet_diag.h` and `linux/unix_diag.h`: numbers
//! are in this machine's order, ports and addresses in the network's, and everything is aligned to four bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Listening;
use super::connections::{PeerId, ServerSide};

/// `nlmsghdr`: length, type, flags, sequence, port id.
const HEADER: usize = 16;
/// `nlattr`: length and type, then the value.
const ATTRIBUTE: usize = 4;
/// `inet_diag_msg`, behind which its attributes stand.
const INET_ENTRY: usize = 72;
/// `unix_diag_msg`, the same.
const UNIX_ENTRY: usize = 16;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SKV6ONLY: u16 = 11;
/// Where `tcp_info` has `tcpi_bytes_acked` and `tcpi_bytes_received`.
const BYTES_ACKED: usize = 120;
const BYTES_RECEIVED: usize = 128;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_VFS: u16 = 1;
const UNIX_DIAG_PEER: u16 = 2;
const UNIX_DIAG_ICONS: u16 = 3;
const UNIX_DIAG_RQLEN: u16 = 4;
/// `UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_RQLEN`.
const UDIAG_SHOW: u32 = 0x01 | 0x02 | 0x10;
/// `UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS`.
const UDIAG_SHOW_PEERS: u32 = 0x04 | 0x08;
/// The number of the state LISTEN, for unix sockets too, and the same as a set of states.
const LISTEN: u8 = 10;
const ONLY_LISTEN: u32 = 1 << LISTEN;
/// The states ESTABLISHED, FIN_WAIT1, FIN_WAIT2 and CLOSE_WAIT: a connection that at least one side may still use.
const CONNECTED: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8;
/// The state ESTABLISHED of unix sockets, the only one of theirs that is connected.
const ESTABLISHED: u8 = 1;

/// A TCP listener, as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TcpEntry {
    /// Where it is bound.
    pub(super) bound: SocketAddr,
    /// It takes no IPv4 by the IPv6 wildcard.
    pub(super) is_v6_only: bool,
    /// The user who made it.
    pub(super) uid: u32,
    pub(super) listening: Listening,
}

/// A unix listener, as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnixEntry {
    /// What it was bound to, literally: maybe relative to a folder we do not know. An abstract name begins with a zero.
    pub(super) name: Vec<u8>,
    /// The device, in the kernel's own numbering, and the lower half of the inode of its file.
    pub(super) file: Option<(u32, u32)>,
    /// A listener of streams, not of packets.
    pub(super) is_stream: bool,
    pub(super) listening: Listening,
}

/// The server's side of a TCP connection, and the address that it is bound to.
pub(super) type ConnectionEntry = (SocketAddr, ServerSide);

/// The server's sides of unix connections: what waits at one listener, or one that was accepted, which has the name and
/// the file of its listener. What waits is in no list of its own, only in its listener's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnixConnections {
    pub(super) name: Vec<u8>,
    pub(super) file: Option<(u32, u32)>,
    pub(super) sides: Vec<ServerSide>,
}

/// Asks for the TCP listeners of one family, `libc::AF_INET` or `AF_INET6`; of one port, or with port 0 of all.
pub(super) fn tcp_request(sequence: u32, family: u8, port: u16) -> Vec<u8> {
    tcp_list(sequence, family, port, ONLY_LISTEN, 0)
}

/// Asks for the TCP connections of one family whose own port is `port`, with the bytes that they have carried.
pub(super) fn tcp_connections_request(sequence: u32, family: u8, port: u16) -> Vec<u8> {
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
pub(super) fn connection_request(sequence: u32, address: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    tcp_exact(sequence, u32::MAX, address, Some(peer), 0)
}

/// Asks for the one TCP listener that takes a connection to `address`.
///
/// A listener bound to the loopback device goes before others, so the question about a loopback address names that device.
pub(super) fn listener_request(sequence: u32, address: SocketAddr) -> Vec<u8> {
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

/// Asks for all unix listeners.
pub(super) fn unix_request(sequence: u32) -> Vec<u8> {
    unix_list(sequence, ONLY_LISTEN, UDIAG_SHOW)
}

/// Asks for all unix listeners and connected unix sockets, with their peers.
pub(super) fn unix_connections_request(sequence: u32) -> Vec<u8> {
    unix_list(sequence, ONLY_LISTEN | 1 << ESTABLISHED, UDIAG_SHOW | UDIAG_SHOW_PEERS)
}

fn unix_list(sequence: u32, states: u32, show: u32) -> Vec<u8> {
    let mut request = header(sequence, true);
    request.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    request.extend(states.to_ne_bytes());
    request.extend(0_u32.to_ne_bytes());
    request.extend(show.to_ne_bytes());
    finished(request)
}

/// The head of a question: for a list, or for the one socket that it describes.
fn header(sequence: u32, is_list: bool) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | if is_list { libc::NLM_F_DUMP } else { 0 }) as u16;
    let mut request = vec![0; 4];
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    request.extend(sequence.to_ne_bytes());
    request.extend([0; 4]);
    request
}

/// Adds the cookie "any socket", which ends both requests, and writes the length.
fn finished(mut request: Vec<u8>) -> Vec<u8> {
    request.extend([0xff; 8]);
    let length = request.len() as u32;
    request[..4].copy_from_slice(&length.to_ne_bytes());
    request
}

/// One message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// Which request it answers.
    pub(super) sequence: u32,
    /// The list changed while it was written: it may lack something. Ask again.
    pub(super) is_torn: bool,
    pub(super) content: Content<'a>,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// One socket.
    Entry(&'a [u8]),
    /// That was all.
    Done,
    /// The request failed, with this errno.
    Failed(i32),
    /// Nothing of interest.
    Other,
}

/// The messages of a datagram. What is not a message, or one cut off, is told once, as `None`, and ends it.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Option<Message<'_>>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let (message, rest) = split_message(datagram).unzip();
        datagram = rest.unwrap_or_default();
        Some(message)
    })
}

fn split_message(datagram: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = usize::try_from(u32_at(datagram, 0)?).ok()?;
    let kind = i32::from(u16_at(datagram, 4)?);
    let flags = i32::from(u16_at(datagram, 6)?);
    let sequence = u32_at(datagram, 8)?;
    let body = datagram.get(HEADER..length)?;
    // A dump that fails on its way says so in the word behind its end; an error of 0 is a confirmation.
    let errno = || u32_at(body, 0).map(|word| (word as i32).saturating_neg());
    let content = match kind {
        libc::NLMSG_DONE => match errno() {
            Some(errno) if errno > 0 => Content::Failed(errno),
            _ => Content::Done,
        },
        libc::NLMSG_ERROR => match errno()? {
            0 => Content::Other,
            errno => Content::Failed(errno),
        },
        kind if kind == i32::from(SOCK_DIAG_BY_FAMILY) => Content::Entry(body),
        _ => Content::Other,
    };
    let message = Message { sequence, is_torn: flags & libc::NLM_F_DUMP_INTR != 0, content };
    Some((message, datagram.get(aligned(length)..).unwrap_or_default()))
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
pub(super) fn tcp_connection(body: &[u8]) -> Option<ConnectionEntry> {
    let (bound, peer) = (inet_address(body, 4, 8)?, inet_address(body, 6, 24)?);
    let (unread, unacked, inode) = (u32_at(body, 56)?, u32_at(body, 60)?, u64::from(u32_at(body, 68)?));
    let info = attribute(body.get(INET_ENTRY..)?, INET_DIAG_INFO);
    let count = |at| info.and_then(|info| array_at(info, at)).map(u64::from_ne_bytes);
    // A FIN counts among the bytes received, and is never read.
    let read = count(BYTES_RECEIVED).map(|received| received.saturating_sub(u64::from(unread)));
    let written = count(BYTES_ACKED).map(|acked| acked.saturating_add(u64::from(unacked)));
    let bytes = read.zip(written).map(|(read, written)| read.saturating_add(written));
    let peer = Some(PeerId::Address(SocketAddr::new(peer.ip().to_canonical(), peer.port())));
    Some((bound, ServerSide { inode: (inode != 0).then_some(inode), peer, bytes, unread }))
}

/// Reads a `unix_diag_msg` of a listener or a connected socket; `None` if it is none.
pub(super) fn unix_connections(body: &[u8]) -> Option<UnixConnections> {
    let inode = u64::from(u32_at(body, 4)?);
    let attributes = body.get(UNIX_ENTRY..).filter(|_| i32::from(body[0]) == libc::AF_UNIX)?;
    let (name, file) = unix_name(attributes);
    let peer = |inode: u32| (inode != 0).then_some(PeerId::Inode(inode.into()));
    let sides = match *body.get(2)? {
        LISTEN => {
            let waiting = attribute(attributes, UNIX_DIAG_ICONS).unwrap_or_default().chunks_exact(4);
            let peers = waiting.filter_map(|inode| u32_at(inode, 0)).map(peer);
            peers.map(|peer| ServerSide { inode: None, peer, bytes: None, unread: 0 }).collect()
        }
        ESTABLISHED => {
            let peer = attribute(attributes, UNIX_DIAG_PEER).and_then(|value| u32_at(value, 0)).and_then(peer);
            let unread = attribute(attributes, UNIX_DIAG_RQLEN).and_then(|queue| u32_at(queue, 0)).unwrap_or(0);
            vec![ServerSide { inode: Some(inode), peer, bytes: None, unread }]
        }
        _ => return None,
    };
    Some(UnixConnections { name, file, sides })
}

/// What a unix socket was bound to, literally, and the device and inode of its file.
fn unix_name(attributes: &[u8]) -> (Vec<u8>, Option<(u32, u32)>) {
    let file = attribute(attributes, UNIX_DIAG_VFS);
    let file = file.and_then(|file| Some((u32_at(file, 4)?, u32_at(file, 0)?)));
    let mut name = attribute(attributes, UNIX_DIAG_NAME).unwrap_or_default();
    if name.first() != Some(&0) {
        // A path is told with the zero behind it.
        name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    }
    (name.to_vec(), file)
}

/// Reads an `inet_diag_msg`; `None` if it is none.
pub(super) fn tcp_entry(body: &[u8]) -> Option<TcpEntry> {
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

/// Reads a `unix_diag_msg`; `None` if it is none, or not of a listener.
pub(super) fn unix_entry(body: &[u8]) -> Option<UnixEntry> {
    let is_listener = i32::from(*body.first()?) == libc::AF_UNIX && *body.get(2)? == LISTEN;
    let is_stream = i32::from(*body.get(1)?) == libc::SOCK_STREAM;
    let inode = u64::from(u32_at(body, 4)?);
    let attributes = body.get(UNIX_ENTRY..).filter(|_| is_listener)?;
    let queue = attribute(attributes, UNIX_DIAG_RQLEN)?;
    let (name, file) = unix_name(attributes);
    let listening = Listening { inode, queued: u32_at(queue, 0)?, limit: Some(u32_at(queue, 4)?) };
    Some(UnixEntry { name, file, is_stream, listening })
}

/// The value of the first attribute of a kind.
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(ATTRIBUTE..length)?;
        if u16_at(attributes, 2)? & libc::NLA_TYPE_MASK as u16 == kind {
            return Some(value);
        }
        attributes = attributes.get(aligned(length)..)?;
    }
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message as the kernel writes it.
    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(7_u32.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn contents(datagram: &[u8]) -> Vec<Option<Content<'_>>> {
        messages(datagram).map(|message| message.map(|message| message.content)).collect()
    }

    #[test]
    fn requests_have_the_lengths_that_the_kernel_asks_for() {
        let (tcp, unix) = (tcp_request(7, libc::AF_INET as u8, 0x1234), unix_request(7));
        assert_eq!((tcp.len(), unix.len()), (HEADER + 56, HEADER + 24));
        assert_eq!((u32_at(&tcp, 0), u32_at(&unix, 0)), (Some(72), Some(40)));
        assert_eq!(tcp[24..26], [0x12, 0x34]);
    }

    #[test]
    fn a_datagram_is_taken_apart_to_its_end() {
        let mut datagram = message(SOCK_DIAG_BY_FAMILY, 0, b"12345");
        datagram.extend(message(libc::NLMSG_DONE as u16, 0, &0_i32.to_ne_bytes()));
        assert_eq!(contents(&datagram), [Some(Content::Entry(b"12345")), Some(Content::Done)]);
        datagram.truncate(20);
        assert_eq!(contents(&datagram), [None], "cut off");
    }

    #[test]
    fn a_failure_is_seen_in_the_middle_and_at_the_end() {
        let failed = |kind: i32, word: i32| message(kind as u16, 0, &word.to_ne_bytes());
        assert_eq!(contents(&failed(libc::NLMSG_ERROR, -libc::ENOENT)), [Some(Content::Failed(libc::ENOENT))]);
        assert_eq!(contents(&failed(libc::NLMSG_DONE, -libc::EPERM)), [Some(Content::Failed(libc::EPERM))]);
        assert_eq!(contents(&failed(libc::NLMSG_ERROR, 0)), [Some(Content::Other)]);
        assert_eq!(contents(&failed(libc::NLMSG_ERROR, i32::MIN)), [Some(Content::Failed(i32::MAX))]);
        let torn = message(libc::NLMSG_DONE as u16, libc::NLM_F_DUMP_INTR as u16, &[]);
        assert!(messages(&torn).all(|message| message.is_some_and(|message| message.is_torn)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(messages(&bytes).count() <= bytes.len());
            let (tcp, unix) = (tcp_entry(&bytes), unix_entry(&bytes));
            prop_assert!(tcp.is_none() || bytes.len() >= INET_ENTRY);
            prop_assert!(unix.is_none() || bytes.len() >= UNIX_ENTRY);
        }

        /// Nearly right: plausible lengths and kinds get further into the reader than noise does.
        #[test]
        fn lengths_that_lie_are_read_without_a_panic(
            parts in prop::collection::vec((0..90_u32, 0..40_u16, 0..13_u16, prop::collection::vec(0..11_u8, 0..90)), 0..6),
        ) {
            let mut datagram = Vec::new();
            for (length, kind, attribute, body) in parts {
                datagram.extend(length.to_ne_bytes());
                datagram.extend([kind, 0].map(u16::to_ne_bytes).as_flattened());
                datagram.extend([0; 8]);
                datagram.extend([1, 1, LISTEN, 0].iter().chain(&[0; 12]));
                datagram.extend([length as u16, attribute].map(u16::to_ne_bytes).as_flattened());
                datagram.extend(body);
            }
            for content in contents(&datagram).into_iter().flatten() {
                if let Content::Entry(body) = content {
                    let _ = (tcp_entry(body), unix_entry(body));
                }
            }
        }
    }
}
