//! Limits of the kernel, and the errors that show that one is reached.

use std::io;

use rustix::process::{Resource, Rlimit};

/// The longest path of a unix socket, in bytes: `sun_path` has 108, and the last one is the terminating zero.
pub const LONGEST_UNIX_PATH: usize = 107;

/// The old and the new soft limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// The soft limit the master was started with, which workers get back.
    pub inherited: Option<u64>,
    /// The soft limit now.
    pub raised: u64,
}

/// Raises the soft limit of open files to the hard one. A client connection needs two descriptors.
pub fn raise_open_files() -> OpenFiles {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(Resource::Nofile, wanted);
    let now = rustix::process::getrlimit(Resource::Nofile);
    OpenFiles { inherited: limit.current, raised: now.current.unwrap_or(1 << 20) }
}

/// Returns true if the error shows that this process, or the system, has no descriptor or no memory left. It tells
/// nothing about the peer, and the call can be repeated later.
pub fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lacks_of_descriptors_or_memory_are_exhaustion() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            assert!(is_exhausted(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
        for errno in [libc::ECONNABORTED, libc::EPROTO, libc::ENETDOWN, libc::EPERM, libc::EAGAIN] {
            assert!(!is_exhausted(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
        assert!(!is_exhausted(&io::ErrorKind::OutOfMemory.into()), "an error of the library, not of the kernel");
    }
}
