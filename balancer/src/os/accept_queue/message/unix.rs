//! Unix listeners and connections: `unix_diag_req` and `unix_diag_msg`.

use super::{LISTEN, ONLY_LISTEN, attribute, finished, header, u32_at};
use crate::os::accept_queue::Listening;
use crate::os::accept_queue::connections::{PeerId, ServerSide};

/// The length of `unix_diag_msg`, behind which its attributes stand.
pub(super) const UNIX_ENTRY: usize = 16;
const UNIX_DIAG_NAME: u16 = 0;

const UNIX_DIAG_VFS: u16 = 1;
const UNIX_DIAG_PEER: u16 = 2;

const UNIX_DIAG_ICONS: u16 = 3;
const UNIX_DIAG_RQLEN: u16 = 4;

/// `UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_RQLEN`.
const UDIAG_SHOW: u32 = 0x01 | 0x02 | 0x10;

/// `UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS`.
const UDIAG_SHOW_PEERS: u32 = 0x04 | 0x08;

/// The state ESTABLISHED of unix sockets, the only one of theirs that is connected.
const ESTABLISHED: u8 = 1;

/// A unix listener, as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::os::accept_queue) struct UnixEntry {
    /// The name that it was bound to, literally: it may be relative to a folder that we do not know. An abstract name
    /// begins with a zero.
    pub(in crate::os::accept_queue) name: Vec<u8>,
    /// The device, in the kernel's own numbering, and the lower half of the inode of its file.
    pub(in crate::os::accept_queue) file: Option<(u32, u32)>,
    /// True for a listener of stream connections, false for one of packets.
    pub(in crate::os::accept_queue) is_stream: bool,
    pub(in crate::os::accept_queue) listening: Listening,
}

/// The server sides of unix connections: either the connections that wait at one listener, or one accepted connection,
/// which has the name and the file of its listener. Waiting connections are in no list of their own, only in their
/// listener's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::os::accept_queue) struct UnixConnections {
    pub(in crate::os::accept_queue) name: Vec<u8>,
    pub(in crate::os::accept_queue) file: Option<(u32, u32)>,
    pub(in crate::os::accept_queue) sides: Vec<ServerSide>,
}

/// Asks for all unix listeners.
pub(in crate::os::accept_queue) fn unix_request(sequence: u32) -> Vec<u8> {
    unix_list(sequence, ONLY_LISTEN, UDIAG_SHOW)
}

/// Asks for all unix listeners and connected unix sockets, with their peers.
pub(in crate::os::accept_queue) fn unix_connections_request(sequence: u32) -> Vec<u8> {
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

/// Reads a `unix_diag_msg` of a listener or a connected socket; `None` if it is none.
pub(in crate::os::accept_queue) fn unix_connections(body: &[u8]) -> Option<UnixConnections> {
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

/// The name that a unix socket was bound to, literally, and the device and inode of its file.
fn unix_name(attributes: &[u8]) -> (Vec<u8>, Option<(u32, u32)>) {
    let file = attribute(attributes, UNIX_DIAG_VFS);
    let file = file.and_then(|file| Some((u32_at(file, 4)?, u32_at(file, 0)?)));
    let mut name = attribute(attributes, UNIX_DIAG_NAME).unwrap_or_default();
    if name.first() != Some(&0) {
        // The kernel reports a path with the zero behind it.
        name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    }
    (name.to_vec(), file)
}

/// Reads a `unix_diag_msg`; `None` if it is none, or not of a listener.
pub(in crate::os::accept_queue) fn unix_entry(body: &[u8]) -> Option<UnixEntry> {
    let is_listener = i32::from(*body.first()?) == libc::AF_UNIX && *body.get(2)? == LISTEN;
    let is_stream = i32::from(*body.get(1)?) == libc::SOCK_STREAM;
    let inode = u64::from(u32_at(body, 4)?);
    let attributes = body.get(UNIX_ENTRY..).filter(|_| is_listener)?;
    let queue = attribute(attributes, UNIX_DIAG_RQLEN)?;
    let (name, file) = unix_name(attributes);
    let listening = Listening { inode, queued: u32_at(queue, 0)?, limit: Some(u32_at(queue, 4)?) };
    Some(UnixEntry { name, file, is_stream, listening })
}
