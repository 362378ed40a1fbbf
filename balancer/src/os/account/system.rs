//! Users and groups as the C library knows them: from files, LDAP, systemd, or any service that the machine is set up
//! for.

use std::ffi::CString;
use std::io;

use nix::errno::Errno;
use nix::unistd::{self, Gid, Uid};

use super::{Account, Database, User};

/// The name service of this machine.
pub(super) struct System;

impl Database for System {
    fn user(&self, account: &Account) -> io::Result<Option<User>> {
        let found = look_up(|| match account {
            Account::Id(uid) => unistd::User::from_uid(Uid::from_raw(*uid)),
            Account::Name(name) => unistd::User::from_name(name),
        })?;
        Ok(found.map(|user| User { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), home: user.dir }))
    }

    fn group(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(look_up(|| unistd::Group::from_name(name))?.map(|group| group.gid.as_raw()))
    }

    fn groups_of(&self, user: &User, primary: u32) -> io::Result<Vec<u32>> {
        let name = CString::new(user.name.as_str())?;
        let groups = unistd::getgrouplist(&name, Gid::from_raw(primary))?;
        Ok(groups.into_iter().map(Gid::as_raw).collect())
    }
}

/// Looks up an entry, again if a signal interrupts it.
fn look_up<T>(ask: impl Fn() -> nix::Result<Option<T>>) -> io::Result<Option<T>> {
    loop {
        match ask() {
            Err(Errno::EINTR) => {}
            // A service that has no such table says so with one of these.
            Err(Errno::ENOENT | Errno::ESRCH) => return Ok(None),
            found => return Ok(found?),
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
        assert_eq!(System.user(&Account::Name("a\0b".into())).unwrap(), None);
    }
}
