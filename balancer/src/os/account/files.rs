//! Users and groups from `/etc/passwd` and `/etc/group` alone, for the static build.

use std::io;
use std::path::PathBuf;

use super::{Account, Database, User};

/// The text of both files.
pub(super) struct Files {
    passwd: io::Result<String>,
    group: io::Result<String>,
}

impl Files {
    /// Reads the files of this machine; a missing file counts as empty.
    #[cfg(target_feature = "crt-static")]
    pub(super) fn of_this_machine() -> Self {
        let read = |path: &str| match std::fs::read(path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error),
        };
        Self { passwd: read("/etc/passwd"), group: read("/etc/group") }
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn of(passwd: &str, group: &str) -> Self {
        Self { passwd: Ok(passwd.to_owned()), group: Ok(group.to_owned()) }
    }
}

/// The fields of each line. Lines with fewer than `least` fields are skipped.
fn entries(text: &io::Result<String>, least: usize) -> io::Result<impl Iterator<Item = Vec<&str>>> {
    let text = text.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    let lines = text.lines().filter(|line| !line.starts_with(['#', '+', '-']));
    Ok(lines.map(|line| line.split(':').collect::<Vec<_>>()).filter(move |fields| fields.len() >= least))
}

impl Database for Files {
    fn user(&self, account: &Account) -> io::Result<Option<User>> {
        let users = entries(&self.passwd, 6)?.filter_map(|fields| {
            let (uid, gid) = (fields[2].parse().ok()?, fields[3].parse().ok()?);
            Some(User { name: fields[0].to_owned(), uid, gid, home: PathBuf::from(fields[5]) })
        });
        let mut users = users;
        Ok(users.find(|user| match account {
            Account::Name(name) => user.name == *name,
            Account::Id(uid) => user.uid == *uid,
        }))
    }

    fn group(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(entries(&self.group, 3)?.find(|fields| fields[0] == name).and_then(|fields| fields[2].parse().ok()))
    }

    fn groups_of(&self, user: &User, primary: u32) -> io::Result<Vec<u32>> {
        let theirs = entries(&self.group, 4)?.filter(|fields| fields[3].split(',').any(|member| member == user.name));
        let mut groups = vec![primary];
        for gid in theirs.filter_map(|fields| fields[2].parse().ok()) {
            if !groups.contains(&gid) {
                groups.push(gid);
            }
        }
        Ok(groups)
    }
}

/// Reads any text as `/etc/passwd` and as `/etc/group`.
#[cfg(feature = "fuzzing")]
pub fn fuzz(text: &str) {
    let files = Files::of(text, text);
    for account in [Account::Name("app".to_owned()), Account::Id(1000)] {
        if let Ok(Some(user)) = files.user(&account) {
            let groups = files.groups_of(&user, user.gid).unwrap_or_default();
            assert!(groups.first() == Some(&user.gid), "{groups:?}");
        }
    }
    let _ = files.group("app");
}
