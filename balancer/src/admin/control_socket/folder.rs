//! The folder of the control socket. A user that can write to it could replace our socket by another one.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use crate::failure::{Failure, code};

const WRITABLE_BY_OTHERS: u32 = 0o022;
const WRITABLE_BY_ALL: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Creates the folder of `socket` (the last step only) with mode 0700, or checks the one that is there.
pub(super) fn prepare(socket: &Path) -> Result<(), Failure> {
    let folder = match socket.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return Err(refuse(socket, "it does not name a file", "choose another path with --control PATH")),
    };
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            return Err(refuse(folder, error, "create its parent, or choose another path with --control PATH"));
        }
    }
    // Also checks the folder that we created just now: a user that can write to its parent may have replaced it.
    check(folder)
}

fn check(folder: &Path) -> Result<(), Failure> {
    let elsewhere = "choose a folder of your own with --control PATH";
    // A trailing slash would make the kernel follow the link that this check looks for.
    let folder: &Path = &folder.components().collect::<std::path::PathBuf>();
    let found = fs::symlink_metadata(folder).map_err(|error| refuse(folder, error, elsewhere))?;
    if found.file_type().is_symlink() {
        let hint = match fs::read_link(folder) {
            Ok(target) => format!("name the folder itself: it points to {}", target.display()),
            Err(_) => elsewhere.to_owned(),
        };
        return Err(refuse(folder, "it is a symbolic link, which could be pointed elsewhere", hint));
    }
    if !found.is_dir() {
        return Err(refuse(folder, "it is not a folder", elsewhere));
    }
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != own && found.uid() != 0 {
        return Err(refuse(
            folder,
            format!("it belongs to another user (uid {}, we are {own})", found.uid()),
            elsewhere,
        ));
    }
    let is_open = found.mode() & WRITABLE_BY_OTHERS != 0;
    if is_open && found.mode() & STICKY == 0 {
        let cause = format!("its mode {:04o} lets others replace the socket", found.mode() & 0o7777);
        return Err(refuse(folder, cause, format!("chmod go-w {}, or {elsewhere}", folder.display())));
    }
    check_above(folder, elsewhere)
}

/// Refuses a folder that another user could rename and replace, because a folder above it belongs to them or lets them
/// write.
fn check_above(folder: &Path, elsewhere: &str) -> Result<(), Failure> {
    let failed = |error: io::Error| refuse(folder, error, elsewhere);
    let own = rustix::process::geteuid().as_raw();
    // The owner of a folder can replace everything in it; only root and we may be one. In a user namespace root may
    // have another number, such as nobody's, so it is read from `/`.
    let root = fs::metadata("/").map_or(0, |found| found.uid());
    let (named, real) = (std::path::absolute(folder).map_err(failed)?, folder.canonicalize().map_err(failed)?);
    // A link in the path counts by the folder that it lies in, and by the folders above its target.
    for above in named.ancestors().skip(1).chain(real.ancestors().skip(1)) {
        let found = fs::metadata(above).map_err(failed)?;
        let mode = found.mode() & 0o7777;
        if ![0, own, root].contains(&found.uid()) {
            let cause = format!("{} above it belongs to another user (uid {})", above.display(), found.uid());
            return Err(refuse(folder, cause, elsewhere));
        }
        // A group that may write is accepted here: on many systems /usr/local and /var/log belong to one.
        if mode & WRITABLE_BY_ALL != 0 && mode & STICKY == 0 {
            let cause = format!("the mode {mode:04o} of {} above it lets others replace it", above.display());
            return Err(refuse(folder, cause, format!("chmod o-w {}, or {elsewhere}", above.display())));
        }
    }
    Ok(())
}

fn refuse(folder: &Path, cause: impl std::fmt::Display, hint: impl Into<String>) -> Failure {
    Failure::new(code::FAILED, format!("cannot keep the control socket in {}", folder.display()))
        .cause(cause)
        .hint(hint)
}
