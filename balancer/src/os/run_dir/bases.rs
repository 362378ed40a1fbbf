//! The directories in which a run folder may be made.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// All candidates, short paths first: a unix socket's path has 108 bytes.
pub(super) fn all() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|dir| dir.is_absolute() && dir.as_os_str().len() < 60);
    let run = rustix::process::geteuid().is_root().then(|| PathBuf::from("/run"));
    let tmp = Some(std::env::temp_dir()).filter(|dir| dir.as_os_str().len() < 60);
    [runtime, run, tmp, Some(PathBuf::from("/tmp"))].into_iter().flatten().collect()
}

/// Returns true if only this user and root can replace a folder in `base`. So root never uses an `$XDG_RUNTIME_DIR`
/// that another user's session left in the environment.
pub(super) fn is_safe(base: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    // The owner of `/` can replace everything. In a user namespace, root is seen under the number of nobody.
    let root = std::fs::metadata("/").map_or(0, |found| found.uid());
    std::fs::metadata(base).is_ok_and(|found| [0, own, root].contains(&found.uid()) && mode_is_safe(found.mode()))
}

/// Returns true if only the owner can rename entries of a folder with this mode. Write permission lets a user rename
/// entries, unless the sticky bit leaves that to their owners.
fn mode_is_safe(mode: u32) -> bool {
    mode & 0o022 == 0 || mode & 0o1000 != 0
}

/// Returns true if any user can reach a folder in `base`, and only its owner and root can replace that folder.
pub(super) fn is_passable(base: &Path) -> bool {
    let Ok(base) = base.canonicalize() else { return false };
    base.ancestors().all(|dir| std::fs::metadata(dir).is_ok_and(|found| mode_is_passable(found.permissions().mode())))
}

fn mode_is_passable(mode: u32) -> bool {
    mode & 0o001 != 0 && mode_is_safe(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passable_folder_can_be_entered_but_not_changed() {
        let modes = [0o755, 0o711, 0o1777, 0o700, 0o750, 0o777, 0o775, 0o1770];
        assert_eq!(modes.map(mode_is_passable), [true, true, true, false, false, false, false, false]);
        let private = std::fs::Permissions::from_mode(0o700);
        let private = tempfile::Builder::new().permissions(private).tempdir().unwrap();
        std::fs::create_dir(private.path().join("open")).unwrap();
        assert!(!is_passable(&private.path().join("open")), "each folder above it counts");
    }

    #[test]
    fn folder_that_others_can_change_is_not_safe() {
        let modes = [0o700, 0o755, 0o1777, 0o777, 0o770, 0o1770];
        assert_eq!(modes.map(mode_is_safe), [true, true, true, false, false, true]);
        let place = tempfile::tempdir().unwrap();
        assert!(is_safe(place.path()) && is_safe(Path::new("/")) && !is_safe(&place.path().join("nowhere")));
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(!is_safe(place.path()));
        if rustix::process::geteuid().is_root() {
            std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
            std::os::unix::fs::chown(place.path(), Some(12_345), None).unwrap();
            assert!(!is_safe(place.path()), "another user's");
        }
    }
}
