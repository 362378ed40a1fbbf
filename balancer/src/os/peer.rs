//! The user of the process at the other end of a unix connection.
//!
//! `nix` asks for it and not `rustix`, in whose answer the pid cannot be 0: it is where the process cannot be seen from
//! here, as from a container.

use std::io;
use std::os::fd::BorrowedFd;

use nix::sys::socket::{getsockopt, sockopt};

/// Returns the user of the process at the other end of a unix connection. For the client's end, that is the process
/// that called `listen`.
///
/// # Errors
///
/// It is no connected unix socket.
pub fn user(socket: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(getsockopt(&socket, sockopt::PeerCredentials)?.uid())
}

/// Returns an error unless a process of user `uid` listens at the other end.
///
/// # Errors
///
/// `PermissionDenied` if it is another user; or the kernel's own error.
pub fn require(socket: BorrowedFd<'_>, uid: u32) -> io::Result<()> {
    match user(socket)? {
        found if found == uid => Ok(()),
        found => {
            let text = format!("uid {found} listens there, not the worker's uid {uid}");
            Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn listener_of_another_user_is_rejected() {
        let dir = tempfile::tempdir().unwrap();
        let _listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let stream = UnixStream::connect(dir.path().join("s")).unwrap();
        let own = rustix::process::geteuid().as_raw();
        require(stream.as_fd(), own).unwrap();
        let error = require(stream.as_fd(), own + 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
