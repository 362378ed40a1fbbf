//! The path of a public unix listener: a stale one is replaced, and ours is removed when its last holder closes it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, SockAddr, Socket, Type};

use super::Listener;
use crate::config::Address;

pub(super) fn bind_unix(path: &Path, backlog: i32) -> io::Result<Listener> {
    clear_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let path = Arc::new(OwnedPath::of(path)?);
    socket.listen(backlog)?;
    Ok(Listener { socket, address: Address::Unix(path.path.clone()), path: Some(path) })
}

/// Removes the socket file of a server that has ended.
fn clear_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is not a socket has this path"));
    }
    // Only "refused" shows that no process listens. A full queue (EAGAIN) or another socket type belongs to one that
    // does.
    let attempt = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    match attempt() {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// A socket file we made. It is known by its inode: a successor may have put its own at the same path.
#[derive(Debug)]
pub(super) struct OwnedPath {
    path: PathBuf,
    inode: (u64, u64),
}

impl OwnedPath {
    fn of(path: &Path) -> io::Result<Self> {
        let made = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), inode: (made.dev(), made.ino()) })
    }

    pub(super) fn remove(&self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == self.inode);
        if is_ours {
            // The file may be gone already. One that cannot be removed does no harm: the next start finds it stale.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for OwnedPath {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn stale_socket_file_is_replaced_and_removed_at_last_drop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("public.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let address = Address::Unix(path.clone());
        let listener = Listener::bind(&address, 16, Duration::ZERO, false).unwrap();
        let clone = listener.try_clone().unwrap();
        drop(listener);
        assert!(UnixStream::connect(&path).is_ok());
        let second = Listener::bind(&address, 16, Duration::ZERO, false).unwrap_err();
        assert_eq!(second.source.kind(), io::ErrorKind::AddrInUse);
        drop(clone);
        assert!(!path.exists());
    }

    #[test]
    fn regular_file_and_successor_socket_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("public.sock");
        fs::write(&path, "precious").unwrap();
        let address = Address::Unix(path.clone());
        assert!(Listener::bind(&address, 16, Duration::ZERO, false).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();
        let old = Listener::bind(&address, 16, Duration::ZERO, false).unwrap();
        fs::rename(&path, dir.path().join("moved")).unwrap();
        let replacement = Listener::bind(&address, 16, Duration::ZERO, false).unwrap();
        drop(old);
        assert!(UnixStream::connect(&path).is_ok());
        drop(replacement);
    }
}
