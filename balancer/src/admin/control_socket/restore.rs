//! Makes the control socket again: a cleaner of old files, or the end of a login session, may remove it or its whole
//! folder.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::{fs, io};

use super::lock::Lock;
use super::{ControlSocket, bind, clear, folder};
use crate::failure::{Failure, code};

impl ControlSocket {
    /// Checks that the socket and the lock file beside it are still where this master made them, and makes again what
    /// is missing. Returns the new listener if there is one; clients that wait at the old one are still accepted there.
    ///
    /// # Errors
    ///
    /// As [`ControlSocket::open`]; most likely another master has taken the path meanwhile. The caller tries again
    /// later.
    pub fn restore(&self) -> Result<Option<UnixListener>, Failure> {
        let mut held = self.held();
        let (has_socket, has_lock) = (is_at(&self.path, held.identity), held.lock.is_at_its_path());
        if has_socket && has_lock {
            return Ok(None);
        }
        folder::prepare(&self.path)?;
        if !has_lock {
            held.lock = Lock::take(&self.path)?;
        }
        if has_socket {
            return Ok(None);
        }
        clear(&self.path)?;
        (held.listener, held.identity) = bind(&self.path)?;
        let again = held.listener.try_clone().map_err(|cause: io::Error| {
            Failure::new(code::FAILED, "cannot duplicate the control socket").cause(cause)
        })?;
        Ok(Some(again))
    }
}

/// Returns true if the file at the path has that device and inode.
pub(super) fn is_at(path: &Path, identity: (u64, u64)) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == identity)
}
