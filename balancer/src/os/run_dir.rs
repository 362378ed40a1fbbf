//! A folder of this master's own for sockets that live as long as a worker.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

const PREFIX: &str = "roundelay-run.";

/// A sweep of another master that starts at the same moment may take a folder that is not locked yet.
const TRIES: usize = 10;

/// The folder of a running master. It goes when this is dropped.
#[derive(Debug)]
pub struct RunDir {
    dir: TempDir,
    /// Held while the master lives, however it ends: that, not a pid, tells a leftover. Folders are seen across pid
    /// namespaces, where a pid is another's or nobody's.
    _lock: File,
}

impl RunDir {
    /// Makes the folder, for this user only, below `$XDG_RUNTIME_DIR`, `/run` or the temporary directory. What a killed
    /// master left there is removed.
    ///
    /// # Errors
    ///
    /// None of the places can be written to; the error is the last one's.
    pub fn create() -> io::Result<Self> {
        let prefix = format!("{PREFIX}{}.", std::process::id());
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for base in bases() {
            remove_stale(&base);
            match Self::create_in(&base, &prefix) {
                Ok(created) => return Ok(created),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn create_in(base: &Path, prefix: &str) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for _ in 0..TRIES {
            let private = std::fs::Permissions::from_mode(0o700);
            let dir = tempfile::Builder::new().prefix(prefix).permissions(private).tempdir_in(base)?;
            match lock(dir.path()) {
                Ok(lock) if dir.path().exists() => return Ok(Self { dir, _lock: lock }),
                Ok(_) => {}
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Short paths first: a unix socket's path has 108 bytes.
fn bases() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|dir| dir.is_absolute() && dir.as_os_str().len() < 60);
    let run = rustix::process::geteuid().is_root().then(|| PathBuf::from("/run"));
    let tmp = Some(std::env::temp_dir()).filter(|dir| dir.as_os_str().len() < 60);
    [runtime, run, tmp, Some(PathBuf::from("/tmp"))].into_iter().flatten().collect()
}

/// Removes folders whose lock nobody holds. What belongs to another user cannot be removed, and is not.
fn remove_stale(base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let is_named_so = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if is_named_so && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            // Held until it is gone, so that nobody begins to live in it.
            if let Ok(_held) = lock(&entry.path()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Locks a folder; an error if another holds it.
fn lock(folder: &Path) -> io::Result<File> {
    let folder = File::open(folder)?;
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
        let living = RunDir::create_in(base.path(), "roundelay-run.99999999.").unwrap();
        let stale = base.path().join(format!("{PREFIX}1.abc"));
        let foreign = base.path().join("other");
        for dir in [&stale, &foreign] {
            std::fs::create_dir(dir).unwrap();
        }
        remove_stale(base.path());
        assert_eq!([&*stale, &*foreign, living.path()].map(Path::exists), [false, true, true]);
    }

    #[test]
    fn masters_that_start_and_sweep_at_once_all_keep_their_folders() {
        let base = tempfile::tempdir().unwrap();
        let start = || {
            let created: Vec<_> = (0..50)
                .map(|_| {
                    remove_stale(base.path());
                    RunDir::create_in(base.path(), PREFIX).unwrap()
                })
                .collect();
            created.iter().all(|dir| dir.path().exists())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
        });
    }

    #[test]
    fn the_folder_is_this_users_alone_and_goes_with_its_owner() {
        let dir = RunDir::create().unwrap();
        let path = dir.path().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        drop(dir);
        assert!(!path.exists());
    }
}
