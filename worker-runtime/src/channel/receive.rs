//! One packet from the kernel, with what came beside it.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

use crate::protocol::packet::Refusal;

/// Descriptors that we have room for. One is right; more are seen to be too many, and the kernel closes what exceeds these.
const ROOM: usize = 4;

/// What reading a channel found.
#[derive(Debug)]
pub(super) enum Received {
    /// A packet.
    Packet {
        /// Its bytes in the buffer.
        length: usize,
        /// The one descriptor beside it, or why no connection can be taken with it.
        socket: Result<OwnedFd, Refusal>,
    },
    /// No packet waits.
    Nothing,
    /// The other end is closed, or the channel broken.
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
            // A master that died with packets of ours unread. It is said once, and before what it has sent us.
            Err(Errno::CONNRESET | Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Received::Nothing,
            Err(_) => return Received::End,
        }
    }
}

/// The one descriptor. Where there are several, all are closed.
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
    // The table of descriptors was full, and with it the next one may be in the wrong place: nothing of it counts.
    if is_cut { found.and(Err(Refusal::NoDescriptor)) } else { found }
}
