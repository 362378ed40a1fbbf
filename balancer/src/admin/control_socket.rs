//! The control socket: its path, its access rights, and the master that holds it.
//!
//! It may change things later, so only our own user gets to it: a socket of mode 0600 in a folder that nobody else can
//! write to. A `flock` on a file beside it tells which master it belongs to; the lock goes with its holder however that
//! ends, so what lies at the path while we hold the lock is a leftover.

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
use lock::Lock;

/// The longest path of a unix socket on Linux: `sun_path` has 108 bytes, one of them for the end.
const LONGEST_PATH: usize = 107;

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 64;

/// The path of the control socket, for the master and for its clients; `None` if there is to be none.
pub fn path(control: &Control) -> Option<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    control.path(uid, std::env::var_os("XDG_RUNTIME_DIR").as_deref(), &std::env::temp_dir())
}

/// The process of a master whose control socket was removed from `path`, while it still holds the lock beside it.
pub fn master_without_socket(path: &Path) -> Option<u32> {
    let is_gone = fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    if is_gone { lock::holder(path) } else { None }
}

/// The control socket of the one master that has it. Dropping it removes the socket and the lock.
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
    // Last, so that it is given back when the socket is gone.
    lock: Lock,
}

impl ControlSocket {
    /// Becomes the master at `path` and listens there.
    ///
    /// # Errors
    ///
    /// If another master has it, if the folder is open to others, if something else lies at the path, or if it is too long.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        check_length(path)?;
        folder::prepare(path)?;
        let lock = Lock::take(path)?;
        clear(path)?;
        let (listener, identity) = bind(path)?;
        Ok(Self { path: path.to_owned(), held: Mutex::new(Held { listener, identity, lock }) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file whose lock the master holds.
    pub fn lock_path(&self) -> PathBuf {
        self.held().lock.path().to_owned()
    }

    /// A descriptor of the listening socket, for [`serve`](super::serve).
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

/// Listens at the path; also the device and inode of the socket there.
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
    if length <= LONGEST_PATH {
        return Ok(());
    }
    Err(Failure::new(code::FAILED, format!("cannot listen on the control socket {}", path.display()))
        .cause(format!("the path has {length} bytes, the kernel takes {LONGEST_PATH}"))
        .hint("choose a shorter one with --control PATH"))
}

/// Removes a dead socket of ours; anything else at the path is not ours to touch.
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
        return Err(refuse("a symbolic link lies there".to_owned()));
    }
    if !found.file_type().is_socket() {
        return Err(refuse("something that is not a socket lies there".to_owned()));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(refuse(format!("a socket of another user (uid {}) lies there", found.uid())));
    }
    // We hold the lock, so no master listens; but it may be another program's socket.
    match listener_at(path) {
        None => fs::remove_file(path).map_err(|error| refuse(error.to_string())),
        Some(pid) => {
            let whose = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            Err(refuse(format!("a program listens there that does not hold the lock beside it{whose}")))
        }
    }
}

/// The process that listens at the path, as far as it is known; `None` if nobody does.
fn listener_at(path: &Path) -> Option<Option<i32>> {
    let attempt = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec(), None)?;
        // Its queue may be full: do not wait for a place in it.
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
    // Linux gives the file the mode of the unbound socket, less the umask: there is no moment at which others may
    // connect, and the umask, which all threads share, stays as it is.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // For a kernel that does not, and for a umask that takes from the owner. Others cannot enter the folder meanwhile.
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
