//! A folder of this master's own for sockets that live as long as a worker.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

const PREFIX: &str = "roundelay-run.";

/// Makes the folder, for this user only, below `$XDG_RUNTIME_DIR`, `/run` or the temporary directory. It goes when the
/// value is dropped; what a killed master left is removed by the next one.
///
/// # Errors
///
/// None of the places can be written to; the error is the last one's.
pub fn create() -> io::Result<TempDir> {
    let prefix = format!("{PREFIX}{}.", std::process::id());
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for base in bases() {
        remove_stale(&base);
        let private = std::fs::Permissions::from_mode(0o700);
        match tempfile::Builder::new().prefix(&prefix).permissions(private).tempdir_in(&base) {
            Ok(dir) => return Ok(dir),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Short paths first: a unix socket's path has 108 bytes.
fn bases() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|dir| dir.is_absolute() && dir.as_os_str().len() < 60);
    let run = rustix::process::geteuid().is_root().then(|| PathBuf::from("/run"));
    let tmp = Some(std::env::temp_dir()).filter(|dir| dir.as_os_str().len() < 60);
    [runtime, run, tmp, Some(PathBuf::from("/tmp"))].into_iter().flatten().collect()
}

/// Removes folders of masters that are no more. What belongs to another user cannot be removed, and is not.
fn remove_stale(base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('.').next());
        let is_stale = pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists());
        if is_stale && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_dead_masters_are_removed() {
        let base = tempfile::tempdir().unwrap();
        // Above pid_max, so nobody's.
        let stale = base.path().join(format!("{PREFIX}99999999.abc"));
        let live = base.path().join(format!("{PREFIX}{}.abc", std::process::id()));
        let foreign = base.path().join("roundelay-run.notes");
        for dir in [&stale, &live, &foreign] {
            std::fs::create_dir(dir).unwrap();
        }
        remove_stale(base.path());
        assert_eq!([stale, live, foreign].map(|dir| dir.exists()), [false, true, true]);
    }

    #[test]
    fn the_folder_is_this_users_alone_and_goes_with_its_owner() {
        let dir = create().unwrap();
        let path = dir.path().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        drop(dir);
        assert!(!path.exists());
    }
}
