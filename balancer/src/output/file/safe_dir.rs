//! Checks that root may keep a log in a folder: no other user can replace the folder, or fill it with links under the
//! log's names.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Checks a folder and all folders above it.
///
/// # Errors
///
/// Another user may change one of them. The error says which folder, why, and what to do.
pub(super) fn check(folder: &Path) -> io::Result<()> {
    // The path is checked as it was named, too: the owner of a folder on the way can point a link in it elsewhere.
    let (named, folder) = (std::path::absolute(folder)?, folder.canonicalize()?);
    // The owner of `/` can replace everything. In a user namespace, root is seen under the number of nobody.
    let root = std::fs::metadata("/")?.uid();
    for dir in named.ancestors().chain(folder.ancestors()) {
        let found = std::fs::metadata(dir)?;
        let owner = found.uid();
        let fault = match objection(found.mode(), found.gid(), dir == folder || dir == named) {
            _ if owner != 0 && owner != root => format!("belongs to another user (uid {owner})"),
            Some(fault) => fault.to_owned(),
            None => continue,
        };
        let text = format!(
            "{} {fault}: root's writes could be redirected to another file; \
             choose a folder that only root can change, such as /var/log/roundelay, or run the master as that user",
            dir.display()
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(())
}

/// The reason why a folder of root's is not safe, if any. A folder above the log's own has fewer requirements, since
/// only its next step on the path counts.
fn objection(mode: u32, gid: u32, is_own: bool) -> Option<&'static str> {
    let is_sticky = mode & STICKY != 0;
    if mode & OTHERS_WRITE != 0 && (is_own || !is_sticky) {
        return Some("can be changed by any user");
    }
    // In a folder above it, a group that root chose is accepted: /var/log belongs to the system logger on many systems.
    let by_group = is_own && mode & GROUP_WRITES != 0 && gid != 0;
    by_group.then_some("can be changed by the users of its group")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown};

    #[test]
    fn folder_that_others_can_change_is_refused() {
        let fine = |mode, gid, is_own| objection(mode, gid, is_own).is_none();
        assert!(fine(0o755, 4, true) && fine(0o775, 0, true) && fine(0o750, 4, true));
        assert!(!fine(0o777, 0, true) && !fine(0o1777, 0, true) && !fine(0o775, 4, true));
        // Above: in a sticky folder, each entry stays with its owner.
        assert!(fine(0o1777, 0, false) && fine(0o775, 4, false) && !fine(0o777, 0, false));
    }

    #[test]
    fn folder_below_another_users_is_refused_and_named() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let logs = place.path().join("app/logs");
        std::fs::create_dir_all(&logs).unwrap();
        check(&logs).unwrap();
        chown(place.path().join("app"), Some(12_345), None).unwrap();
        let error = check(&logs).unwrap_err().to_string();
        assert!(error.contains("app belongs to another user (uid 12345)"), "{error}");
        std::os::unix::fs::symlink("/var", place.path().join("app/link")).unwrap();
        assert!(check(&place.path().join("app/link/log")).is_err(), "the link is theirs");
        chown(place.path().join("app"), Some(0), None).unwrap();
        std::fs::set_permissions(&logs, std::fs::Permissions::from_mode(0o1777)).unwrap();
        let error = check(&logs).unwrap_err().to_string();
        assert!(error.contains("logs can be changed by any user"), "{error}");
    }
}
