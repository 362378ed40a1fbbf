//! Descriptors that this process was born with. The only `unsafe` of this library.
#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::protocol::FIRST_LISTEN_FD;

/// Set once the inherited descriptors have an owner: a descriptor number can be owned once in a process.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Why inherited descriptors cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InheritError {
    /// A second caller in the same process.
    #[error("the inherited sockets were already taken by this process")]
    Taken,
    /// The environment promises a descriptor that is not open.
    #[error("LISTEN_FDS promises descriptor {0}, which is not open")]
    Closed(i32),
}

/// Takes the `count` descriptors from [`FIRST_LISTEN_FD`] on and marks them close-on-exec. Works once in a process.
pub(crate) fn take_inherited(count: u16) -> Result<Vec<OwnedFd>, InheritError> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(InheritError::Taken);
    }
    let numbers = || (0..i32::from(count)).map(|i| FIRST_LISTEN_FD + i);
    for number in numbers() {
        // SAFETY: borrowed for one call that does not close it, and the kernel answers EBADF if it is not open.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC).map_err(|_| InheritError::Closed(number))?;
    }
    // SAFETY: open, as just seen, and ours: whoever set LISTEN_FDS with our pid in LISTEN_PID put them there before exec
    // for us to own, `TAKEN` lets no second owner be made here, and nothing else in this process has reason to own them.
    Ok(numbers().map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect())
}
