//! Descriptors that this process was born with, and how the runtime watches one. The only `unsafe` of this library.
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::io::unix::AsyncFd;

use crate::protocol::FIRST_LISTEN_FD;

/// Set once the inherited descriptors have an owner: a descriptor number can be owned once in a process.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Why inherited descriptors cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InheritError {
    /// A second caller in the same process.
    #[error("the inherited descriptors were already taken by this process")]
    Taken,
    /// The environment promises a descriptor that is not open.
    #[error("LISTEN_FDS promises descriptor {0}, which is not open")]
    Closed(i32),
    /// `ROUNDELAY_CHANNEL_FD` names a descriptor that is something else.
    #[error("ROUNDELAY_CHANNEL_FD promises a channel at descriptor {0}; unset it if another program was meant")]
    NoChannel(i32),
}

/// Takes the `count` descriptors that `LISTEN_FDS` promises, from [`FIRST_LISTEN_FD`] on.
pub(crate) fn take_inherited(count: u16) -> Result<Vec<OwnedFd>, InheritError> {
    take(FIRST_LISTEN_FD..FIRST_LISTEN_FD + i32::from(count))
}

/// Takes the descriptor that `ROUNDELAY_CHANNEL_FD` promises, if it is a channel: a unix socket of packets.
///
/// Unlike `LISTEN_FDS` it does not say for which process it is meant. In a child of a worker the descriptor is closed, and
/// its number may be anything that the child has opened since, which is not to be touched.
pub(crate) fn take_channel(number: u16) -> Result<OwnedFd, InheritError> {
    let number = i32::from(number);
    // SAFETY: borrowed for calls that do not close it, and the kernel answers EBADF if it is not open.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let kind = (sockopt::socket_domain(fd), sockopt::socket_type(fd));
    if kind != (Ok(AddressFamily::UNIX), Ok(SocketType::SEQPACKET)) {
        return Err(InheritError::NoChannel(number));
    }
    let taken = take(number..number + 1)?;
    taken.into_iter().next().ok_or(InheritError::NoChannel(number))
}

/// Takes descriptors above standard error and marks them close-on-exec. Works once in a process.
fn take(numbers: Range<i32>) -> Result<Vec<OwnedFd>, InheritError> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(InheritError::Taken);
    }
    for number in numbers.clone() {
        // SAFETY: borrowed for one call that does not close it, and the kernel answers EBADF if it is not open.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC).map_err(|_| InheritError::Closed(number))?;
    }
    // SAFETY: open, as just seen, and ours: whoever set LISTEN_FDS with our pid in LISTEN_PID, or ROUNDELAY_CHANNEL_FD, put
    // them there before exec for us to own, `TAKEN` lets no second owner be made here, and nothing else in this process has
    // reason to own them.
    Ok(numbers.map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect())
}

/// Lets the runtime watch a descriptor that it has no type for.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` stays open, is the same number and the same open file for as long as the `AsyncFd` owns it: the
    // latter gives it to others only borrowed, and nobody here puts another file in its place with dup2(2).
    unsafe { AsyncFd::register(fd) }.map_err(Into::into)
}
