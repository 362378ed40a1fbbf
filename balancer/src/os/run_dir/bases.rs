//! Where a run folder may be.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Short paths first: a unix socket's path has 108 bytes.
pub(super) fn all() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|dir| dir.is_absolute() && dir.as_os_str().len() < 60);
    let run = rustix::process::geteuid().is_root().then(|| PathBuf::from("/run"));
    let tmp = Some(std::env::temp_dir()).filter(|dir| dir.as_os_str().len() < 60);
    [runtime, run, tmp, Some(PathBuf::from("/tmp"))].into_iter().flatten().collect()
}

/// Whether any user can reach a folder in it, and none but its owner and root can put another in its place.
pub(super) fn is_passable(base: &Path) -> bool {
    let Ok(base) = base.canonicalize() else { return false };
    base.ancestors().all(|dir| std::fs::metadata(dir).is_ok_and(|found| mode_is_passable(found.permissions().mode())))
}

fn mode_is_passable(mode: u32) -> bool {
    let [others_pass, sticky] = [0o001, 0o1000].map(|bit| mode & bit != 0);
    let others_write = mode & 0o022 != 0;
    others_pass && (!others_write || sticky)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_for_others_is_open_to_pass_and_not_to_change() {
        let modes = [0o755, 0o711, 0o1777, 0o700, 0o750, 0o777, 0o775, 0o1770];
        assert_eq!(modes.map(mode_is_passable), [true, true, true, false, false, false, false, false]);
        let private = std::fs::Permissions::from_mode(0o700);
        let private = tempfile::Builder::new().permissions(private).tempdir().unwrap();
        std::fs::create_dir(private.path().join("open")).unwrap();
        assert!(!is_passable(&private.path().join("open")), "each folder above it counts");
    }
}
