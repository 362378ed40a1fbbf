//! A duplicate of the worker's end of a channel: with it the master takes back messages that the worker has not read.
//!
//! A message is read once: either the worker has it or the master does. So connections that were handed to a worker
//! need not stay with it, unread, while it is busy, stopped or stuck.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{PidfdGetfdFlags, pidfd_getfd};

/// Returns a duplicate of descriptor `number` of the process, if that still is the socket with this inode.
///
/// Two system calls. Needs Linux 5.6 and the right to trace the process (`PTRACE_MODE_ATTACH`, ptrace(2)), which a parent
/// that runs as the same user has unless `kernel.yama.ptrace_scope` is above 1.
///
/// # Errors
///
/// The kernel refuses or lacks the call, the process has ended, or the number now belongs to another socket.
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

/// Returns the inode, which tells a socket from all others of this machine while it exists.
///
/// # Errors
///
/// The kernel's, of `fstat`.
pub fn inode_of(socket: impl AsFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(socket)?.st_ino)
}
