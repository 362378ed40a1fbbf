//! Checks the owner of the listener at a worker's private port before clients are sent there.
//!
//! A loopback port belongs to the process that binds it first, of any user. Between the choice of a port and the
//! worker's `bind`, and after the worker's death, any user of the machine can take the port, and would get the clients.
//! The user of the listener decides: it must be the pool's, the master's own or root, because a program may bind as
//! root and then change its user. Any of the three is accepted: each can reach the clients in other ways too. A
//! duplicate of the listener, taken in the same step and held as long as the worker lives, keeps all other processes
//! from the port.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;

use crate::config;
use crate::os::accept_queue::{Owner, listener_at};
use crate::os::limits::is_exhausted;
use crate::os::{account, duplicate, inspect};

/// Messages that are logged once for all workers of a pool.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct LoggedOwners {
    pub(in crate::supervisor) is_outside: AtomicBool,
    pub(in crate::supervisor) is_unheld: AtomicBool,
    pub(in crate::supervisor) is_unknown: AtomicBool,
}

/// The users whose listener may be at a port: the pool's, the master's own, root.
#[derive(Clone, Copy, Debug)]
pub(in crate::supervisor) struct Allowed([u32; 3]);

impl Allowed {
    pub(in crate::supervisor) fn of(pool: &config::PoolConfig) -> Self {
        let own = rustix::process::geteuid().as_raw();
        let pools = pool.identity.as_ref().and_then(|identity| identity.owner).unwrap_or(own);
        Self([pools, own, 0])
    }

    pub(in crate::supervisor) fn includes(self, owner: Owner) -> bool {
        self.0.contains(&owner.uid)
    }
}

/// One query about a port.
#[derive(Clone, Copy, Debug)]
pub(in crate::supervisor) struct OwnerQuery {
    pub(in crate::supervisor) address: SocketAddr,
    /// The worker's process group.
    pub(in crate::supervisor) group: u32,
    pub(in crate::supervisor) allowed: Allowed,
    /// The listener that was found before: for that one only the user is checked.
    pub(in crate::supervisor) known: Option<u64>,
    pub(in crate::supervisor) wants_duplicate: bool,
}

/// The listener found at a port.
#[derive(Debug)]
pub(in crate::supervisor) enum OwnerCheck {
    /// No listener: the program listens later, or gets its packets in another way.
    Nobody,
    /// A listener of an allowed user, with its inode.
    Allowed(u64, Held),
    /// A listener of another user.
    Stranger(Stranger),
    /// The kernel does not tell.
    Unknown(io::Error),
}

/// The result of taking the duplicate.
#[derive(Debug)]
pub(in crate::supervisor) enum Held {
    Duplicate(OwnedFd),
    /// No duplicate could be taken.
    Refused(io::Error),
    /// No process of the group holds the listener. The text names the process that does.
    Outside(String),
    /// No duplicate was wanted.
    NotAsked,
}

/// Another user's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::supervisor) struct Stranger {
    pub(in crate::supervisor) uid: u32,
    /// The name of that user.
    pub(in crate::supervisor) user: Option<String>,
    /// A process that holds the listener, in words.
    pub(in crate::supervisor) holder: String,
}

impl OwnerQuery {
    /// Looks up the owner. Takes milliseconds if a duplicate is taken, and longer for a stranger: call it on a thread
    /// that may block.
    pub(in crate::supervisor) fn look(self) -> OwnerCheck {
        let owner = match listener_at(self.address) {
            Ok(Some(owner)) => owner,
            Ok(None) => return OwnerCheck::Nobody,
            Err(error) => return OwnerCheck::Unknown(error),
        };
        if !self.allowed.includes(owner) {
            let (uid, user, holder) = (owner.uid, account::user_name(owner.uid), holder(self.address));
            return OwnerCheck::Stranger(Stranger { uid, user, holder });
        }
        if !self.wants_duplicate || self.known == Some(owner.inode) {
            return OwnerCheck::Allowed(owner.inode, Held::NotAsked);
        }
        OwnerCheck::Allowed(owner.inode, self.hold(owner))
    }

    fn hold(self, owner: Owner) -> Held {
        let error = match duplicate::duplicate_listener(self.group, owner.inode) {
            Ok(listener) => return Held::Duplicate(listener),
            Err(error) => error,
        };
        let is_outside = duplicate::is_held(self.group, owner.inode).is_ok_and(|is_held| !is_held);
        // The listener may also have been closed since.
        if is_outside && listener_at(self.address).is_ok_and(|found| found == Some(owner)) {
            return Held::Outside(holder(self.address));
        }
        Held::Refused(error)
    }
}

fn holder(address: SocketAddr) -> String {
    match inspect::port_holder(address) {
        Some(holder) => format!("process {} ({})", holder.pid, holder.name),
        None => "a process that the master may not look into".to_owned(),
    }
}

impl Stranger {
    /// Returns the reason why a worker's start ended, in words.
    pub(in crate::supervisor) fn told(&self, address: SocketAddr) -> String {
        let user = self.user.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        format!(
            "another user listens on its private port {address}: uid {}{user}, {}. If that is the worker itself, as behind \
             sudo, name that user in the pool's `user`",
            self.uid, self.holder
        )
    }
}

/// Returns true for an error that does not concern the port: the query can be repeated.
pub(in crate::supervisor) fn is_passing(error: &io::Error) -> bool {
    is_exhausted(error) || error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    fn own_group() -> u32 {
        rustix::process::getpgrp().as_raw_nonzero().get() as u32
    }

    fn question(address: SocketAddr) -> OwnerQuery {
        let allowed = Allowed::of(&config::PoolConfig::new("app", config::Program::Demo));
        OwnerQuery { address, group: own_group(), allowed, known: None, wants_duplicate: true }
    }

    #[test]
    fn own_listener_is_duplicated_by_the_same_look() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let OwnerCheck::Allowed(inode, Held::Duplicate(duplicate)) = question(address).look() else {
            panic!("not held")
        };
        // It is known already, or not wanted: only the user is checked.
        for asked in [
            OwnerQuery { known: Some(inode), ..question(address) },
            OwnerQuery { wants_duplicate: false, ..question(address) },
        ] {
            assert!(matches!(asked.look(), OwnerCheck::Allowed(found, Held::NotAsked) if found == inode));
        }
        drop(listener);
        assert!(TcpListener::bind(address).is_err(), "the port stays ours");
        drop(duplicate);
        // A child that another test is just forking may hold a copy until it execs.
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        while !matches!(question(address).look(), OwnerCheck::Nobody) {
            assert!(tokio::time::Instant::now() < deadline, "still held");
        }
    }

    #[test]
    fn listener_of_another_user_is_a_stranger() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
        let own = rustix::process::geteuid().as_raw();
        let asked = OwnerQuery { allowed: Allowed([own + 1; 3]), ..question(address) };
        let OwnerCheck::Stranger(stranger) = asked.look() else { panic!("a stranger's listener was accepted") };
        assert_eq!(stranger.uid, own);
        let told = stranger.told(address);
        let parts = [format!("uid {own}"), format!("process {}", std::process::id()), address.to_string()];
        assert!(parts.iter().all(|part| told.contains(part)), "{told}");
    }

    #[test]
    fn listener_outside_of_group_is_reported_with_its_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut other = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let asked = OwnerQuery { group: other.id(), ..question(listener.local_addr().unwrap()) };
        let look = asked.look();
        let _ = (other.kill(), other.wait());
        let OwnerCheck::Allowed(_, Held::Outside(holder)) = look else { panic!("{look:?}") };
        assert!(holder.contains(&std::process::id().to_string()), "{holder}");
    }
}
