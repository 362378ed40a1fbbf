//! Reads one packet from the kernel, with the descriptors beside it.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

use crate::protocol::packet::Refusal;

/// The number of descriptors that one read has room for. Exactly one is right. The other room shows that there are too
/// many; the kernel closes descriptors beyond the room.
const ROOM: usize = 4;

/// The result of reading a channel.
#[derive(Debug)]
pub(super) enum Received {
    /// A packet.
    Packet {
        /// Its bytes in the buffer.
        length: usize,
        /// The one descriptor beside it, or the reason why there is no connection to take.
        socket: Result<OwnedFd, Refusal>,
    },
    /// No packet is waiting.
    Nothing,
    /// The other end is closed, or the channel is broken.
    End,
}

/// Reads one packet into `buffer`, without waiting.
pub(super) fn receive(channel: impl AsFd, buffer: &mut [u8]) -> Received {
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ROOM))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        match recvmsg(&channel, &mut [IoSliceMut::new(buffer)], &mut beside, flags) {
            Ok(message) if message.bytes == 0 => return Received::End,
            Ok(message) => {
                let socket = socket(&mut beside, message.flags.contains(ReturnFlags::CTRUNC));
                return Received::Packet { length: message.bytes.min(buffer.len()), socket };
            }
            // The master died and left packets of ours unread. The kernel reports this error once, before the packets
            // that the master sent, so reading goes on.
            Err(Errno::CONNRESET | Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Received::Nothing,
            Err(_) => return Received::End,
        }
    }
}

/// Returns the one descriptor. If there are several, all are closed.
fn socket(beside: &mut RecvAncillaryBuffer<'_>, is_cut: bool) -> Result<OwnedFd, Refusal> {
    let mut found = Err(Refusal::NoDescriptor);
    let descriptors = beside.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    for descriptor in descriptors.flatten() {
        found = match found {
            Err(Refusal::NoDescriptor) => Ok(descriptor),
            Ok(_) | Err(_) => Err(Refusal::Other),
        };
    }
    // The kernel cut descriptors off because the descriptor table was full. A descriptor that did arrive may not be the
    // first one, so none is used.
    if is_cut { found.and(Err(Refusal::NoDescriptor)) } else { found }
}
