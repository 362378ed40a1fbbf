//! The user and groups that a worker runs as, by name or number, and the rights that changing to them needs.
//!
//! [`resolve`] is pure: it sees a [`Database`] and the rights of this process. It refuses an unknown name, and a change
//! that this process is not permitted to make: a worker never falls back to the user of the master.

#[cfg(any(test, feature = "fuzzing", target_feature = "crt-static"))]
mod files;
#[cfg(not(target_feature = "crt-static"))]
mod system;

#[cfg(feature = "fuzzing")]
pub use self::files::fuzz;

use std::io;
use std::path::PathBuf;

use rustix::thread::CapabilitySet;

/// A user or a group as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// A name that the database knows.
    Name(String),
    /// A number, known or not.
    Id(u32),
}

/// A user of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The home directory.
    pub home: PathBuf,
}

/// A database of users and groups.
pub trait Database {
    /// The user of that name or number.
    ///
    /// # Errors
    ///
    /// The database could not be read. An unknown name is no error.
    fn user(&self, account: &Account) -> io::Result<Option<User>>;

    /// The number of the group of that name.
    ///
    /// # Errors
    ///
    /// As [`Database::user`].
    fn group(&self, name: &str) -> io::Result<Option<u32>>;

    /// `primary` and every group that has this user as a member.
    ///
    /// # Errors
    ///
    /// As [`Database::user`].
    fn groups_of(&self, user: &User, primary: u32) -> io::Result<Vec<u32>>;
}

/// The rights of this process, as far as they decide which users it can run a worker as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Master {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// True if it can change to any user, give a folder to them, reach into it and signal their processes.
    pub may_change: bool,
}

/// The numbers a process is given: real, effective and saved ones alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The supplementary groups, all of them.
    pub groups: Vec<u32>,
}

/// The values that the environment has about a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// For `USER` and `LOGNAME`; a number that the database does not know has none.
    pub name: Option<String>,
    /// For `HOME`.
    pub home: PathBuf,
}

/// The identity that a worker runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The credentials to change to; `None` if the master has exactly these already.
    pub change: Option<Credentials>,
    /// The user, if one was named.
    pub login: Option<Login>,
    /// The other user that the worker's private folder must belong to; `None` if it is the master's own user.
    pub owner: Option<u32>,
}

/// The reason why a worker cannot run as the configured user or group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The key at fault: `user` or `group`.
    pub key: &'static str,
    /// The problem.
    pub message: String,
    /// The remedy.
    pub label: Option<String>,
}

/// A function that finds an identity: [`identify`], or a test's double.
pub type Lookup = fn(Option<&Account>, Option<&Account>) -> Result<Identity, Refused>;

/// The capabilities to change to a user, to give a folder away, to enter it, and to signal.
const NEEDED: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::KILL);

/// Resolves `user` and `group` on this machine for this process. Takes as long as the name service does.
///
/// # Errors
///
/// One of them does not exist, or this process may not change to it.
pub fn identify(user: Option<&Account>, group: Option<&Account>) -> Result<Identity, Refused> {
    #[cfg(not(target_feature = "crt-static"))]
    let database = system::System;
    // A static program cannot load the name service's plugins, which belong to another C library.
    #[cfg(target_feature = "crt-static")]
    let database = files::Files::of_this_machine();
    let effective = rustix::thread::capabilities(None).map(|sets| sets.effective);
    let master = Master {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        may_change: effective.is_ok_and(|effective| effective.contains(NEEDED)),
    };
    resolve(user, group, master, &database)
}

/// Returns the name of the user of that number; None if the database of this machine does not know it.
pub fn user_name(uid: u32) -> Option<String> {
    #[cfg(not(target_feature = "crt-static"))]
    let database = system::System;
    #[cfg(target_feature = "crt-static")]
    let database = files::Files::of_this_machine();
    database.user(&Account::Id(uid)).ok().flatten().map(|user| user.name)
}

/// [`identify`], of any process and database. Pure.
///
/// # Errors
///
/// As [`identify`].
pub fn resolve(
    user: Option<&Account>,
    group: Option<&Account>,
    master: Master,
    database: &dyn Database,
) -> Result<Identity, Refused> {
    let found = user.map(|user| find_user(user, database)).transpose()?;
    let group_id = group.map(|group| find_group(group, database)).transpose()?;
    let uid = found.as_ref().map_or(master.uid, |found| found.uid);
    let gid = match (group_id, &found) {
        (Some(gid), _) => gid,
        (None, Some(Found { entry: Some(entry), .. })) => entry.gid,
        (None, Some(Found { entry: None, uid })) => {
            let message = format!("user `uid:{uid}` is in no database, so nothing says its group");
            return Err(refused("user", message, "add `group`, such as \"gid:1000\""));
        }
        (None, None) => master.gid,
    };
    if !master.may_change {
        match (user, group) {
            (Some(user), _) if uid != master.uid => return Err(not_permitted("user", user, master)),
            (_, Some(group)) if gid != master.gid => return Err(not_permitted("group", group, master)),
            // The user's own group.
            (Some(user), None) if gid != master.gid => return Err(not_permitted("user", user, master)),
            _ => {}
        }
    }
    let entry = found.as_ref().and_then(|found| found.entry.as_ref());
    let groups = match entry {
        Some(entry) => database.groups_of(entry, gid).map_err(|error| unreadable("user", &entry.name, &error))?,
        None => vec![gid],
    };
    let login = found.as_ref().map(|_| Login {
        name: entry.map(|entry| entry.name.clone()),
        home: entry.map_or_else(|| PathBuf::from("/"), |entry| entry.home.clone()),
    });
    let is_change = master.may_change && (user.is_some() || group.is_some());
    Ok(Identity {
        change: is_change.then_some(Credentials { uid, gid, groups }),
        login,
        owner: (uid != master.uid).then_some(uid),
    })
}

/// A user by its number, with the entry of the database if there is one: a number without an entry may be used all the
/// same.
struct Found {
    uid: u32,
    entry: Option<User>,
}

fn find_user(account: &Account, database: &dyn Database) -> Result<Found, Refused> {
    let entry = database.user(account).map_err(|error| unreadable("user", &written("uid", account), &error))?;
    let (uid, gid) = match (&entry, account) {
        (Some(entry), _) => (entry.uid, entry.gid),
        (None, Account::Id(uid)) => (*uid, 0),
        (None, Account::Name(name)) => return Err(unknown("user", name)),
    };
    if uid == LEAVE_AS_IT_IS || gid == LEAVE_AS_IT_IS {
        return Err(Refused { key: "user", message: format!("{LEAVE_AS_IT_IS} is no number of a user"), label: None });
    }
    Ok(Found { uid, entry })
}

fn find_group(account: &Account, database: &dyn Database) -> Result<u32, Refused> {
    let gid = match account {
        Account::Id(gid) => *gid,
        Account::Name(name) => {
            let found = database.group(name).map_err(|error| unreadable("group", name, &error))?;
            found.ok_or_else(|| unknown("group", name))?
        }
    };
    if gid == LEAVE_AS_IT_IS {
        return Err(Refused { key: "group", message: format!("{gid} is no number of a group"), label: None });
    }
    Ok(gid)
}

/// The number that the kernel reads as "do not change it".
const LEAVE_AS_IT_IS: u32 = u32::MAX;

/// Formats the account as the configuration writes it.
fn written(prefix: &str, account: &Account) -> String {
    match account {
        Account::Name(name) => name.clone(),
        Account::Id(id) => format!("{prefix}:{id}"),
    }
}

fn refused(key: &'static str, message: String, label: &str) -> Refused {
    Refused { key, message, label: Some(label.to_owned()) }
}

fn unknown(key: &'static str, name: &str) -> Refused {
    Refused { key, message: format!("there is no {key} `{name}` on this machine"), label: None }
}

fn unreadable(key: &'static str, name: &str, error: &io::Error) -> Refused {
    Refused { key, message: format!("cannot look up {key} `{name}`: {error}"), label: None }
}

fn not_permitted(key: &'static str, account: &Account, master: Master) -> Refused {
    let account = written(if key == "group" { "gid" } else { "uid" }, account);
    let message = format!("uid {} may not run workers as {key} `{account}`", master.uid);
    if master.uid == 0 {
        let label = "it lacks one of CAP_SETUID, CAP_SETGID, CAP_CHOWN, CAP_DAC_OVERRIDE and CAP_KILL";
        return refused(key, message, label);
    }
    refused(key, message, "only root may: start it as root, or remove this")
}

#[cfg(test)]
mod tests;
