//! The lock of the one master: `flock` on a file beside the socket. The kernel releases it when its holder ends.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::failure::{Failure, code};

/// The number of attempts. An attempt is repeated when the last holder was just removing the file.
const TRIES: usize = 16;

/// A lock that is held. Dropping it removes the file, then releases the lock.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the lock beside `socket` without waiting.
    pub(super) fn take(socket: &Path) -> Result<Self, Failure> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let refuse = |cause: io::Error| {
            Failure::new(code::FAILED, format!("cannot lock {}", path.display()))
                .cause(cause)
                .hint("move that file away, or choose another path with --control PATH")
        };
        for _ in 0..TRIES {
            let mut file = open(&path).map_err(refuse)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(taken(socket, &mut file)),
                Err(error) => return Err(refuse(error.into())),
            }
            // The last holder may have removed the file after we opened it: then our lock on it excludes no other
            // master.
            if is_at(&file, &path).map_err(refuse)? {
                // The pid only helps the error message of another master; the lock holds without it.
                let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                return Ok(Self { path, file });
            }
        }
        Err(refuse(io::Error::other("the file is replaced again and again")))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns true if the locked file is still the one at the path. If not, the lock excludes no other master.
    pub(super) fn is_at_its_path(&self) -> bool {
        is_at(&self.file, &self.path).unwrap_or(false)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // If ours was removed, another master may have its own lock file there.
        if self.is_at_its_path() {
            let _ = fs::remove_file(&self.path);
        }
        // Unlocks explicitly: a child that was just forked holds a copy of the descriptor until it execs.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Returns the pid of the master that holds the lock beside `socket`, if there is one. It only reads `/proc/locks` and
/// does not take the lock: a master that starts at this moment must find it free.
pub(super) fn holder(socket: &Path) -> Option<u32> {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    let found = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
    let inode = format!(":{}", found.ino());
    // "1: FLOCK  ADVISORY  WRITE 4711 08:01:131072 0 EOF"
    let is_held = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1) == Some(&"FLOCK") && words.get(5).is_some_and(|file| file.ends_with(&inode))
    };
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let text = locks.lines().any(is_held).then(|| fs::read_to_string(&path).ok())??;
    text.trim().parse().ok()
}

fn open(path: &Path) -> io::Result<File> {
    // NONBLOCK, so that opening a FIFO at this path does not block us.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = OpenOptions::new();
    let file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    let is_ours = found.is_file() && found.nlink() <= 1 && found.uid() == rustix::process::geteuid().as_raw();
    if !is_ours {
        return Err(io::Error::other("it is not a plain file that belongs to us"));
    }
    Ok(file)
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn taken(socket: &Path, file: &mut File) -> Failure {
    let mut text = String::new();
    let holder = file.take(32).read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok());
    let failure = Failure::new(code::FAILED, format!("another master holds the control socket {}", socket.display()));
    let failure = match holder {
        Some(pid) => failure.cause(format!("it is process {pid}")),
        None => failure,
    };
    failure.hint("stop that one, or give this one its own --control PATH, --listen ADDR and --admin ADDR")
}
