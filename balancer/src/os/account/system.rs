//! Users and groups as the C library knows them: from files, LDAP, systemd, or any service that the machine is set up
//! for.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use super::{Account, Database, User};

/// A group with thousands of members needs this much room. A larger entry is taken for an error.
const MOST_ROOM: usize = 16 << 20;
/// `NGROUPS_MAX` of Linux.
const MOST_GROUPS: usize = 65_536;

/// The name service of this machine.
pub(super) struct System;

impl Database for System {
    fn user(&self, account: &Account) -> io::Result<Option<User>> {
        let name = match account {
            Account::Name(name) => Some(c_name(name)?),
            Account::Id(_) => None,
        };
        with_room(|room, has| {
            // SAFETY: all zero is a valid `passwd` to be filled in.
            let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
            let mut found = ptr::null_mut();
            let (buffer, length) = (room.as_mut_ptr().cast(), room.len());
            // SAFETY: `entry`, `found` and the buffer with its length are ours and live through the call; the name ends
            // with NUL.
            let result = unsafe {
                match (account, &name) {
                    (Account::Id(uid), _) => libc::getpwuid_r(*uid, &raw mut entry, buffer, length, &raw mut found),
                    (_, Some(name)) => libc::getpwnam_r(name.as_ptr(), &raw mut entry, buffer, length, &raw mut found),
                    (_, None) => libc::EINVAL,
                }
            };
            has(result, found.is_null())?;
            // SAFETY: the call succeeded and found a user, so these point to strings in `room`, which is still there.
            let (name, home) = unsafe { (CStr::from_ptr(entry.pw_name), CStr::from_ptr(entry.pw_dir)) };
            Ok(User {
                name: name.to_string_lossy().into_owned(),
                uid: entry.pw_uid,
                gid: entry.pw_gid,
                home: PathBuf::from(OsStr::from_bytes(home.to_bytes())),
            })
        })
    }

    fn group(&self, name: &str) -> io::Result<Option<u32>> {
        let name = c_name(name)?;
        with_room(|room, has| {
            // SAFETY: all zero is a valid `group` to be filled in.
            let mut entry: libc::group = unsafe { std::mem::zeroed() };
            let mut found = ptr::null_mut();
            let (buffer, length) = (room.as_mut_ptr().cast(), room.len());
            // SAFETY: as for users above.
            let result = unsafe { libc::getgrnam_r(name.as_ptr(), &raw mut entry, buffer, length, &raw mut found) };
            has(result, found.is_null())?;
            Ok(entry.gr_gid)
        })
    }

    fn groups_of(&self, user: &User, primary: u32) -> io::Result<Vec<u32>> {
        let name = c_name(&user.name)?;
        let mut groups: Vec<libc::gid_t> = vec![0; 64];
        loop {
            let mut count = libc::c_int::try_from(groups.len()).map_err(io::Error::other)?;
            // SAFETY: `groups` has room for `count` numbers, and the library writes no more than that; the name ends with
            // NUL.
            let result = unsafe { libc::getgrouplist(name.as_ptr(), primary, groups.as_mut_ptr(), &raw mut count) };
            let count = usize::try_from(count).unwrap_or(0);
            if result >= 0 {
                groups.truncate(count);
                return Ok(groups);
            }
            // The library reports the number of groups; one that does not is asked again with twice the room.
            let wanted = count.max(groups.len() * 2);
            if groups.len() >= MOST_GROUPS {
                return Err(io::Error::other("more groups than a process can have"));
            }
            groups.resize(wanted.min(MOST_GROUPS), 0);
        }
    }
}

fn c_name(name: &str) -> io::Result<CString> {
    CString::new(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// The reason why a look-up has no result yet.
enum NotYet {
    Nobody,
    TooSmall,
    Failed(io::Error),
}

/// Classifies a call of the `_r` family by its result and by whether it found nothing.
fn judge(result: libc::c_int, is_nothing: bool) -> Result<(), NotYet> {
    match result {
        libc::ERANGE => Err(NotYet::TooSmall),
        // POSIX returns 0 for "not found". In practice the other two occur as well, from a service that has no such
        // table.
        0 | libc::ENOENT | libc::ESRCH if is_nothing => Err(NotYet::Nobody),
        0 => Ok(()),
        errno => Err(NotYet::Failed(io::Error::from_raw_os_error(errno))),
    }
}

/// Calls `ask` with more and more room for the entry's strings.
fn with_room<T>(
    ask: impl Fn(&mut [u8], fn(libc::c_int, bool) -> Result<(), NotYet>) -> Result<T, NotYet>,
) -> io::Result<Option<T>> {
    let mut room = vec![0; 4 << 10];
    loop {
        match ask(&mut room, judge) {
            Ok(found) => return Ok(Some(found)),
            Err(NotYet::Nobody) => return Ok(None),
            Err(NotYet::Failed(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(NotYet::Failed(error)) => return Err(error),
            Err(NotYet::TooSmall) if room.len() >= MOST_ROOM => {
                return Err(io::Error::from_raw_os_error(libc::ERANGE));
            }
            Err(NotYet::TooSmall) => room = vec![0; room.len() * 4],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_users_are_found_and_unknown_ones_are_not() {
        let root = System.user(&Account::Id(0)).unwrap().expect("every machine has one");
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(System.user(&Account::Name(root.name.clone())).unwrap(), Some(root.clone()));
        assert!(System.groups_of(&root, 4_000_000).unwrap().contains(&4_000_000), "the primary group is among them");
        assert_eq!(System.user(&Account::Name("no-such-user-here".into())).unwrap(), None);
        assert_eq!(System.group("no-such-group-here").unwrap(), None);
        assert!(System.user(&Account::Name("a\0b".into())).is_err());
    }
}
