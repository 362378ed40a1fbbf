//! The control socket: its path, its access rights, and the master that holds it.
//!
//! The socket can change things, so only our own user gets to it: it has mode 0600 and lies in a folder to which no
//! other user can write. A `flock` on a file beside it shows which master it belongs to. The kernel releases the lock
//! however its holder ends, so a socket that lies at the path while we hold the lock is a leftover.

mod folder;
mod lock;
mod restore;

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::Mode;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::Control;
use crate::failure::{Failure, code};
use crate::os::limits::LONGEST_UNIX_PATH;
use lock::Lock;

/// The number of clients that may wait to be accepted.
const BACKLOG: i32 = 64;

/// Returns the path of the control socket, for the master and for its clients; `None` if it is switched off.
pub fn path(control: &Control) -> Option<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    control.path(uid, std::env::var_os("XDG_RUNTIME_DIR").as_deref(), &std::env::temp_dir())
}

/// Returns the pid of a master whose control socket was removed from `path` while it still holds the lock beside it.
pub fn master_without_socket(path: &Path) -> Option<u32> {
    let is_gone = fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    if is_gone { lock::holder(path) } else { None }
}

/// The control socket of a running master. Dropping it removes the socket and the lock.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    held: Mutex<Held>,
}

/// The parts that may have to be made again while the master runs.
#[derive(Debug)]
struct Held {
    listener: UnixListener,
    /// Device and inode of our socket: another file at the path is not ours to remove.
    identity: (u64, u64),
    // The last field, so that the lock is released after the socket is gone.
    lock: Lock,
}

impl ControlSocket {
    /// Takes the lock of `path` and listens there.
    ///
    /// # Errors
    ///
    /// If another master holds the lock, if other users can write to the folder, if something else lies at the path, or
    /// if the path is too long.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        check_length(path)?;
        folder::prepare(path)?;
        let lock = Lock::take(path)?;
        clear(path)?;
        let (listener, identity) = bind(path)?;
        Ok(Self { path: path.to_owned(), held: Mutex::new(Held { listener, identity, lock }) })
    }

    /// Returns the path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of the lock file that the master holds.
    pub fn lock_path(&self) -> PathBuf {
        self.held().lock.path().to_owned()
    }

    /// Returns a duplicate of the listening socket, for [`serve`](super::serve).
    ///
    /// # Errors
    ///
    /// If there is no free descriptor.
    pub fn listener(&self) -> Result<UnixListener, Failure> {
        let error = |cause| Failure::new(code::FAILED, "cannot duplicate the control socket").cause(cause);
        self.held().listener.try_clone().map_err(|cause: io::Error| error(cause))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if restore::is_at(&self.path, self.held().identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at the path. Also returns the device and inode of the socket there.
fn bind(path: &Path) -> Result<(UnixListener, (u64, u64)), Failure> {
    let failed = |cause: io::Error| {
        Failure::new(code::FAILED, format!("cannot listen on the control socket {}", path.display())).cause(cause)
    };
    let listener = listen(path).map_err(failed)?;
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    Ok((listener, (metadata.dev(), metadata.ino())))
}

fn check_length(path: &Path) -> Result<(), Failure> {
    let length = path.as_os_str().as_bytes().len();
    if length <= LONGEST_UNIX_PATH {
        return Ok(());
    }
    Err(Failure::new(code::FAILED, format!("cannot listen on the control socket {}", path.display()))
        .cause(format!("the path has {length} bytes, the kernel takes {LONGEST_UNIX_PATH}"))
        .hint("choose a shorter one with --control PATH"))
}

/// Removes a leftover socket of ours. Anything else at the path is refused and stays.
fn clear(path: &Path) -> Result<(), Failure> {
    let refuse = |cause: String| {
        Failure::new(code::FAILED, format!("cannot use the control socket {}", path.display()))
            .cause(cause)
            .hint("move it away, or choose another path with --control PATH")
    };
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(|error| refuse(error.to_string()))?,
    };
    if found.file_type().is_symlink() {
        return Err(refuse("there is a symbolic link at that path".to_owned()));
    }
    if !found.file_type().is_socket() {
        return Err(refuse("there is something at that path that is not a socket".to_owned()));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(refuse(format!("there is a socket of another user at that path (uid {})", found.uid())));
    }
    // We hold the lock, so no master listens here; but the socket may be another program's.
    match listener_at(path) {
        None => fs::remove_file(path).map_err(|error| refuse(error.to_string())),
        Some(pid) => {
            let whose = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            Err(refuse(format!("another program{whose} listens there, which does not hold the lock beside it")))
        }
    }
}

/// Returns the process that listens at the path, as far as the kernel tells; `None` if none does.
fn listener_at(path: &Path) -> Option<Option<i32>> {
    let attempt = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec(), None)?;
        // The queue of that socket may be full: do not wait until it has room.
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)?;
        Ok::<_, io::Error>(socket)
    };
    match attempt() {
        Ok(socket) => {
            Some(rustix::net::sockopt::socket_peercred(socket.as_fd()).ok().map(|peer| peer.pid.as_raw_pid()))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => None,
        Err(_) => Some(None),
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec(), None)?;
    // Linux gives the new file the mode of the unbound socket, less the umask. So there is no moment at which other
    // users may connect, and the umask, which all threads share, is left alone.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // For a kernel that ignores that mode, or a umask that takes rights from the owner. The folder keeps others out
    // meanwhile.
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
