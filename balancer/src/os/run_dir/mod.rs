//! The master's own folders for sockets that live as long as a worker.
//!
//! One folder may be entered only by this user. Where workers run as other users, there is a second one that those
//! users may pass through. In the second, the master binds the sockets that it listens on, and each user has a folder
//! to bind their own in. The master changes nothing at a path that a worker could have replaced.

mod bases;

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};

const PREFIX: &str = "roundelay-run.";

/// The number of tries to make a folder: another master that starts at the same moment may remove one that is not
/// locked yet.
const TRIES: usize = 10;

/// Both folders of a running master. They are removed when this is dropped.
#[derive(Debug)]
pub struct RunDirs {
    own: RunDir,
    /// Made when it is first needed.
    passable: Mutex<Option<RunDir>>,
}

impl RunDirs {
    /// Makes the master's own folder, and with `for_others` the one for other users, below `$XDG_RUNTIME_DIR`, `/run` or the
    /// temporary directory. What a killed master left there is removed.
    ///
    /// # Errors
    ///
    /// None of the directories is suitable; the error is that of the last one.
    pub fn create(for_others: bool) -> io::Result<Self> {
        let passable = for_others.then(|| RunDir::create(Access::Passable)).transpose()?;
        Ok(Self { own: RunDir::create(Access::Private)?, passable: Mutex::new(passable) })
    }

    /// The folder for sockets that the master binds, for a worker of user `owner` or, with `None`, of its own user.
    ///
    /// # Errors
    ///
    /// Another program removed it and it could not be made again.
    pub fn ours(&self, owner: Option<u32>) -> io::Result<PathBuf> {
        match owner {
            None => self.own.ensured(),
            Some(_) => self.with_passable(RunDir::ensured),
        }
    }

    /// The folder for sockets that a worker of user `owner`, or of the master's user, binds itself. Other users cannot
    /// enter it.
    ///
    /// # Errors
    ///
    /// As [`RunDirs::ours`], or it cannot be given to that user.
    pub fn theirs(&self, owner: Option<u32>) -> io::Result<PathBuf> {
        match owner {
            None => self.own.ensured(),
            Some(uid) => self.with_passable(|dir| folder_of(&dir.ensured()?, uid)),
        }
    }

    fn with_passable<T>(&self, ask: impl FnOnce(&RunDir) -> io::Result<T>) -> io::Result<T> {
        let mut passable = self.passable.lock().unwrap_or_else(PoisonError::into_inner);
        match &*passable {
            Some(dir) => ask(dir),
            None => ask(passable.insert(RunDir::create(Access::Passable)?)),
        }
    }
}

/// The users that may enter a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Only this user.
    Private,
    /// Any user that knows a name in it; other users cannot list the names.
    Passable,
}

/// One folder, made again if it disappears.
#[derive(Debug)]
struct RunDir {
    access: Access,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    path: PathBuf,
    /// Locked while the master lives, and released however it ends. The lock, not a pid, shows that a folder is left
    /// over: folders are seen across pid namespaces, where a pid may be another process's or none's.
    lock: File,
}

impl RunDir {
    fn create(access: Access) -> io::Result<Self> {
        Ok(Self { access, held: Mutex::new(Held::create(access)?) })
    }

    /// Returns its path. If it was removed (by a cleaner of old files, or by the end of a login session), it is made
    /// again: at the same path, which living workers know, or under another name if that path cannot be had.
    fn ensured(&self) -> io::Result<PathBuf> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.is_there() {
            let was = held.path.clone();
            *held = Held::create_again(&was, self.access).or_else(|_| Held::create(self.access))?;
            let (was, path) = (was.display(), held.path.display());
            tracing::warn!(%was, %path, "folder of this run's sockets was removed by another program and made again");
        }
        Ok(held.path.clone())
    }
}

impl Held {
    fn create(access: Access) -> io::Result<Self> {
        let prefix = format!("{PREFIX}{}.", std::process::id());
        let none = match access {
            Access::Private => "no safe runtime directory among $XDG_RUNTIME_DIR, /run, $TMPDIR and /tmp",
            Access::Passable => "no runtime directory that other users may pass through and not change",
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, none);
        for base in bases::all() {
            if !bases::is_safe(&base) || access == Access::Passable && !bases::is_passable(&base) {
                continue;
            }
            remove_stale(&base);
            match Self::create_in(&base, &prefix, access) {
                Ok(created) => return Ok(created),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn create_in(base: &Path, prefix: &str, access: Access) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for _ in 0..TRIES {
            let private = std::fs::Permissions::from_mode(0o700);
            let dir = tempfile::Builder::new().prefix(prefix).permissions(private).tempdir_in(base)?;
            // Another master may have removed it, and then a folder at that path is not ours.
            match Self::hold(dir.keep(), access) {
                Ok(held) => return Ok(held),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Makes a folder again at a path where one of this master was removed. Anything that lies there now is not ours,
    /// and stays.
    fn create_again(path: &Path, access: Access) -> io::Result<Self> {
        let base = path.parent().filter(|base| bases::is_safe(base));
        if base.is_none_or(|base| access == Access::Passable && !bases::is_passable(base)) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        std::fs::DirBuilder::new().mode(0o700).create(path)?;
        Self::hold(path.to_owned(), access)
    }

    /// Locks a folder that was just made.
    fn hold(path: PathBuf, access: Access) -> io::Result<Self> {
        let lock = lock(&path)?;
        if access == Access::Passable {
            rustix::fs::fchmod(&lock, Mode::RWXU | Mode::XGRP | Mode::XOTH)?;
        }
        let held = Self { path, lock };
        if held.is_there() { Ok(held) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Returns true if the path still leads to the folder that we made and locked.
    fn is_there(&self) -> bool {
        is_at(&self.lock, &self.path)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Returns true if the path leads to this folder, and not through a link.
fn is_at(folder: &File, path: &Path) -> bool {
    let identity = |found: std::fs::Metadata| (found.dev(), found.ino());
    match (folder.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(held), Ok(found)) => identity(held) == identity(found),
        _ => false,
    }
}

/// The folder of that user inside `dir`, in which only we can make folders.
fn folder_of(dir: &Path, uid: u32) -> io::Result<PathBuf> {
    let path = dir.join(uid.to_string());
    match std::fs::DirBuilder::new().mode(0o700).create(&path) {
        Ok(()) => std::os::unix::fs::lchown(&path, Some(uid), None)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let found = std::fs::symlink_metadata(&path)?;
    if found.is_dir() && found.uid() == uid {
        return Ok(path);
    }
    // Left half done: the next call makes it anew.
    let _ = std::fs::remove_dir(&path);
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} does not belong to uid {uid}", path.display())))
}

/// Removes our own folders whose lock is free. Folders of other users stay, even if we are root.
fn remove_stale(base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let is_named_so = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if !is_named_so {
            continue;
        }
        // Locked until it is gone, so that no master begins to use it.
        if let Ok(held) = lock(&entry.path())
            && is_at(&held, &entry.path())
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Locks a folder of this user; an error if another process holds the lock, or if it is anything else. Opening never
/// blocks, whatever kind of file lies at the path.
fn lock(folder: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let folder = File::from(rustix::fs::open(folder, flags, Mode::empty())?);
    if folder.metadata()?.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"));
    }
    flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_without_a_living_master_are_removed() {
        let base = tempfile::tempdir().unwrap();
        // A pid of no process here, as a master in another pid namespace has it.
        let living = Held::create_in(base.path(), "roundelay-run.99999999.", Access::Private).unwrap();
        let stale = base.path().join(format!("{PREFIX}1.abc"));
        let foreign = base.path().join("other");
        for dir in [&stale, &foreign] {
            std::fs::create_dir(dir).unwrap();
        }
        remove_stale(base.path());
        assert_eq!([&*stale, &*foreign, &*living.path].map(Path::exists), [false, true, true]);
    }

    #[test]
    fn foreign_file_at_folder_path_is_kept_without_blocking() {
        let base = tempfile::tempdir().unwrap();
        let [fifo, link, file] = ["1.fifo", "1.link", "1.file"].map(|name| base.path().join(format!("{PREFIX}{name}")));
        let target = base.path().join("target");
        std::fs::create_dir(&target).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RWXU).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        std::fs::write(&file, "").unwrap();
        let (done, ended) = std::sync::mpsc::channel();
        let paths = [&fifo, &link, &file].map(Clone::clone);
        std::thread::spawn(move || done.send(paths.map(|path| lock(&path).is_err())));
        assert_eq!(ended.recv_timeout(std::time::Duration::from_secs(20)), Ok([true; 3]));
        remove_stale(base.path());
        assert!([&fifo, &link, &file, &target].iter().all(|path| std::fs::symlink_metadata(path).is_ok()));
    }

    #[test]
    fn masters_that_start_and_sweep_at_once_all_keep_their_folders() {
        let base = tempfile::tempdir().unwrap();
        let start = || {
            let created: Vec<_> = (0..50)
                .map(|_| {
                    remove_stale(base.path());
                    Held::create_in(base.path(), PREFIX, Access::Private).unwrap()
                })
                .collect();
            created.iter().all(Held::is_there)
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
        });
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn folder_is_private_and_removed_with_its_owner() {
        let dirs = RunDirs::create(false).unwrap();
        let path = dirs.ours(None).unwrap();
        assert_eq!((mode(&path), dirs.theirs(None).unwrap()), (0o700, path.clone()));
        drop(dirs);
        assert!(!path.exists());
    }

    #[test]
    fn another_user_has_a_folder_in_one_to_pass_through() {
        let dirs = RunDirs::create(true).unwrap();
        // The only user that a test without rights can give anything to; to the folders it is like any other.
        let uid = rustix::process::geteuid().as_raw();
        let (ours, theirs) = (dirs.ours(Some(uid)).unwrap(), dirs.theirs(Some(uid)).unwrap());
        assert_eq!((mode(&ours), mode(&theirs), theirs.parent()), (0o711, 0o700, Some(&*ours)));
        assert_ne!(ours, dirs.ours(None).unwrap(), "what is the master's own stays private");
        assert_eq!(dirs.theirs(Some(uid)).unwrap(), theirs);
        drop(dirs);
        assert!(!ours.exists());
    }

    #[test]
    fn removed_folder_is_made_again_at_its_path() {
        let dir = RunDir::create(Access::Private).unwrap();
        let first = dir.ensured().unwrap();
        assert_eq!(dir.ensured().unwrap(), first);
        std::fs::remove_dir_all(&first).unwrap();
        assert_eq!((dir.ensured().unwrap(), mode(&first)), (first.clone(), 0o700));
        assert!(lock(&first).is_err(), "locked again");

        std::fs::remove_dir(&first).unwrap();
        std::fs::create_dir(&first).unwrap();
        let theirs = lock(&first).unwrap();
        let second = dir.ensured().unwrap();
        assert_ne!(second, first, "another's lies there");
        drop(dir);
        assert!(first.exists() && !second.exists(), "what another program made is left to it");
        std::fs::remove_dir(&first).unwrap();
        drop(theirs);
    }
}
