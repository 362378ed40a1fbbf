//! Descriptors that this process inherited, and a wrapper with which the runtime watches a descriptor. The only
//! `unsafe` of this library.
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::io::unix::AsyncFd;

use crate::protocol::FIRST_LISTEN_FD;

/// Set once the inherited descriptors have an owner, since a descriptor number can have only one owner in a process.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The reason why inherited descriptors cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InheritError {
    /// Another call in this process has taken the descriptors already.
    #[error("the inherited descriptors were already taken by this process")]
    Taken,
    /// The environment promises a descriptor that is not open.
    #[error("LISTEN_FDS promises descriptor {0}, which is not open")]
    Closed(i32),
    /// `ROUNDELAY_CHANNEL_FD` names a descriptor that is not a channel.
    #[error("ROUNDELAY_CHANNEL_FD names descriptor {0}, which is no channel; unset it if it is for another program")]
    NoChannel(i32),
}

/// Takes the `count` descriptors that `LISTEN_FDS` promises, from [`FIRST_LISTEN_FD`] on.
pub(crate) fn take_inherited(count: u16) -> Result<Vec<OwnedFd>, InheritError> {
    take(FIRST_LISTEN_FD..FIRST_LISTEN_FD + i32::from(count))
}

/// Takes the descriptor that `ROUNDELAY_CHANNEL_FD` promises, if it is a channel: a unix socket of packets.
///
/// Unlike `LISTEN_FDS`, this variable does not name the process that it is meant for. In a child of a worker the
/// descriptor is closed, and its number may be any file that the child has opened since. Such a file must not be
/// touched.
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
    // SAFETY: the descriptors are open, as the loop above has checked, and they are ours. The process that set
    // LISTEN_FDS with our pid in LISTEN_PID, or ROUNDELAY_CHANNEL_FD, put them there before exec for us to own. `TAKEN`
    // lets no second owner be made here, and nothing else in this process has reason to own them.
    Ok(numbers.map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect())
}

/// Lets the runtime watch a descriptor for which it has no type.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` stays open, with the same number and the same open file, for as long as the `AsyncFd` owns
    // it. The `AsyncFd` only lends it, and no code here replaces the file with dup2(2).
    unsafe { AsyncFd::register(fd) }.map_err(Into::into)
}
