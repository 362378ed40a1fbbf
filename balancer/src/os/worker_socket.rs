//! The worker's end of a channel, by a duplicate: what lies in its queue and was not read can be taken back.
//!
//! A message is read once: either the worker has it or we do. So a worker that is busy, stopped or stuck need not keep the
//! connections that it was handed and has not seen.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{PidfdGetfdFlags, pidfd_getfd};

/// A duplicate of descriptor `number` of the process, if that still is the socket with this inode.
///
/// Two system calls. Needs Linux 5.6 and the right to trace the process (`PTRACE_MODE_ATTACH`, ptrace(2)), which a parent
/// that runs as the same user has unless `kernel.yama.ptrace_scope` is above 1.
///
/// # Errors
///
/// The kernel refuses or lacks the call, the process has ended, or the number is another's by now.
pub fn worker_socket(process: impl AsFd, number: i32, inode: u64) -> io::Result<OwnedFd> {
    let end = pidfd_getfd(process, number, PidfdGetfdFlags::empty())?;
    if inode_of(&end)? != inode {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("its descriptor {number} is another socket by now"),
        ));
    }
    Ok(end)
}

/// The identity of a socket, different from all others of this machine while it exists.
///
/// # Errors
///
/// The kernel's, of `fstat`.
pub fn inode_of(socket: impl AsFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(socket)?.st_ino)
}
