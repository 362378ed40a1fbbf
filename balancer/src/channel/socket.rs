//! The socket of a channel: a pair of unix sockets, one end for the worker. Descriptors can go along with the bytes.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// The number of descriptors that one `recvmsg` can receive; the kernel drops further ones.
const MOST_DESCRIPTORS: usize = 4;

/// The result of one `recvmsg`.
#[derive(Debug)]
pub(super) struct Received {
    /// The number of bytes; 0 means that the other end is closed.
    pub(super) length: usize,
    /// The descriptors in the order in which they came; close-on-exec.
    pub(super) descriptors: Vec<OwnedFd>,
    /// True if the packet was longer than the buffer.
    pub(super) is_cut: bool,
}

/// Returns our end, non-blocking, and the worker's end, blocking; both close-on-exec.
pub(super) fn pair(kind: SocketType) -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

/// Sends bytes, with a descriptor or without. Returns the number of bytes that were taken. Never waits, and never
/// raises SIGPIPE.
pub(super) fn send(socket: impl AsFd, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.as_slice();
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    Ok(rustix::io::retry_on_intr(|| sendmsg(socket.as_fd(), &[IoSlice::new(bytes)], &mut ancillary, flags))?)
}

/// Receives the bytes that are there. Never waits.
pub(super) fn receive(socket: impl AsFd, into: &mut [u8]) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let mut slices = [IoSliceMut::new(into)];
    let message = rustix::io::retry_on_intr(|| recvmsg(socket.as_fd(), &mut slices, &mut ancillary, flags))?;
    let mut descriptors = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    Ok(Received { length: message.bytes, descriptors, is_cut: message.flags.contains(ReturnFlags::TRUNC) })
}

/// Returns true if a send failed only for the moment: the socket is full, or too many descriptors of this user are in
/// flight.
pub(super) fn is_full(error: &io::Error) -> bool {
    let for_now = [libc::EAGAIN, libc::ENOBUFS, libc::ENOMEM, libc::ETOOMANYREFS];
    error.raw_os_error().is_some_and(|errno| for_now.contains(&errno))
}
