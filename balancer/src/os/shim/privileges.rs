//! Drops the privileges that the worker must not have, and checks that they are gone.
//!
//! Groups change first and the user last, since after the change of user nothing else could be changed. The system
//! calls affect one thread; the shim has only that one.

use std::io;

use rustix::fs::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::os::account::Credentials;

/// The stage that failed, and the error.
pub(super) type Failed = (&'static str, io::Error);

/// Changes to `credentials`, if any. In every case drops the ambient capabilities and, if asked, every way to gain
/// rights.
pub(super) fn shed(credentials: Option<&Credentials>, no_new_privs: bool) -> Result<(), Failed> {
    if let Some(credentials) = credentials {
        become_user(credentials)?;
    }
    give_up_capabilities(credentials).map_err(at("capabilities"))?;
    if no_new_privs {
        rustix::thread::set_no_new_privs(true).map_err(at("no-new-privs"))?;
    }
    match credentials {
        Some(credentials) => verify(credentials).map_err(at("verify")),
        None => Ok(()),
    }
}

fn at<E: Into<io::Error>>(stage: &'static str) -> impl Fn(E) -> Failed {
    move |error| (stage, error.into())
}

fn become_user(credentials: &Credentials) -> Result<(), Failed> {
    let (uid, gid) = (Uid::from_raw(credentials.uid), Gid::from_raw(credentials.gid));
    // Programs open /dev/stdout by its name, and then the owner of the pipe matters.
    for output in [rustix::stdio::stdout(), rustix::stdio::stderr()] {
        rustix::fs::fchown(output, Some(uid), None).map_err(at("output"))?;
    }
    let groups: Vec<_> = credentials.groups.iter().copied().map(Gid::from_raw).collect();
    rustix::thread::set_thread_groups(&groups).map_err(at("setgroups"))?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(at("setresgid"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(at("setresuid"))
}

/// Drops capabilities. Ambient capabilities survive exec and would give any worker the rights of the master. A worker
/// of another user keeps none at all: if the master has its rights without being root, a change of user removes none.
fn give_up_capabilities(credentials: Option<&Credentials>) -> rustix::io::Result<()> {
    match rustix::thread::clear_ambient_capability_set() {
        // EINVAL: this kernel has no ambient capabilities.
        Ok(()) | Err(rustix::io::Errno::INVAL) => {}
        Err(error) => return Err(error),
    }
    match credentials {
        Some(credentials) if credentials.uid != 0 => rustix::thread::set_capabilities(None, NOTHING),
        _ => Ok(()),
    }
}

const NOTHING: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

/// Checks that all ids are as requested, and that there is no way back.
fn verify(credentials: &Credentials) -> io::Result<()> {
    let sorted = |mut groups: Vec<u32>| {
        groups.sort_unstable();
        groups.dedup();
        groups
    };
    let groups = rustix::process::getgroups()?.into_iter().map(Gid::as_raw).collect();
    let is_complete = user_ids()? == [credentials.uid; 3]
        && group_ids()? == [credentials.gid; 3]
        && sorted(groups) == sorted(credentials.groups.clone());
    let is_rid_of_root = credentials.uid == 0 || (!can_become_root() && rustix::thread::capabilities(None)? == NOTHING);
    match is_complete && is_rid_of_root {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::EPERM)),
    }
}

/// Tries to become root. If that succeeds the start fails, so it does not matter that it was done.
fn can_become_root() -> bool {
    let root = Uid::ROOT;
    rustix::thread::set_thread_res_uid(root, root, root).is_ok() || rustix::thread::set_thread_uid(root).is_ok()
}

/// Real, effective and saved.
fn user_ids() -> io::Result<[u32; 3]> {
    let ids = nix::unistd::getresuid()?;
    Ok([ids.real, ids.effective, ids.saved].map(nix::unistd::Uid::as_raw))
}

/// Real, effective and saved.
fn group_ids() -> io::Result<[u32; 3]> {
    let ids = nix::unistd::getresgid()?;
    Ok([ids.real, ids.effective, ids.saved].map(nix::unistd::Gid::as_raw))
}
