//! Checks by its pidfd if a process is exiting.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};

/// Returns true if the process is exiting or gone: the kernel may have closed its sockets already, though the process
/// cannot be waited for yet. Takes a third of a microsecond.
///
/// Asks `pidfd_getfd` for a descriptor number that no process has. Since Linux 6.9 the answer is ESRCH from the moment
/// at which a process begins to exit, which is before its files are closed; until then it is EBADF. Where that cannot
/// be told (an older kernel, a process that we may not trace) this returns false.
pub fn is_exiting(pidfd: impl AsFd) -> bool {
    // `rustix` takes no negative number. Linux gives out none as high as this (`fs.nr_open`).
    const NO_DESCRIPTOR: i32 = i32::MAX;
    pidfd_getfd(pidfd, NO_DESCRIPTOR, PidfdGetfdFlags::empty()).err() == Some(Errno::SRCH)
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
