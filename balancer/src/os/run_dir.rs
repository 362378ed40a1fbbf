//! A folder of this master's own for sockets that live as long as a worker.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

const PREFIX: &str = "roundelay-run.";

/// A younger folder is never taken for a leftover: its master may not hold its lock yet.
const YOUNG: Duration = Duration::from_secs(60);

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
            remove_stale(&base, YOUNG);
            match Self::create_in(&base, &prefix) {
                Ok(created) => return Ok(created),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn create_in(base: &Path, prefix: &str) -> io::Result<Self> {
        let private = std::fs::Permissions::from_mode(0o700);
        let dir = tempfile::Builder::new().prefix(prefix).permissions(private).tempdir_in(base)?;
        let lock = File::open(dir.path())?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { dir, _lock: lock })
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
fn remove_stale(base: &Path, young: Duration) {
    let Ok(entries) = std::fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let is_named_so = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let is_old =
            |found: &std::fs::Metadata| found.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= young));
        let is_old_folder = || entry.metadata().is_ok_and(|found| found.is_dir() && is_old(&found));
        if is_named_so && is_old_folder() && is_abandoned(&entry.path()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn is_abandoned(folder: &Path) -> bool {
    File::open(folder).is_ok_and(|folder| flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok())
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
        remove_stale(base.path(), YOUNG);
        assert!(stale.exists(), "its master may just be about to lock it");
        remove_stale(base.path(), Duration::ZERO);
        assert_eq!([&*stale, &*foreign, living.path()].map(Path::exists), [false, true, true]);
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
