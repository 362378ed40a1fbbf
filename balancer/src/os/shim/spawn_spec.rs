//! The spawner's instructions for the shim, as a command line. Pure.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;

use crate::os::account::Credentials;
use crate::os::child::CoreLimit;

/// The spawner's instructions for the shim, as a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnSpec {
    /// The master's pid. If it is no longer our parent, the master has ended.
    pub parent: i32,
    /// The soft limit of open files to set.
    pub nofile: Option<u64>,
    /// The limit of core dumps to set, soft and hard.
    pub core: Option<CoreLimit>,
    /// The credentials to change to.
    pub credentials: Option<Credentials>,
    /// True if no program that it runs may gain rights, as setuid programs do.
    pub no_new_privs: bool,
    /// The directory to enter before rights are given up. Relative paths are relative to it.
    pub start_dir: Option<PathBuf>,
    /// The directory to run in.
    pub cwd: Option<PathBuf>,
    /// Descriptors to move to 3 and on, in this order.
    pub inherit: Vec<RawFd>,
    /// True if they are listeners; then `LISTEN_PID` is set.
    pub has_listeners: bool,
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
}

impl SpawnSpec {
    /// The command line that [`SpawnSpec::parse`] reads, without the binary and [`COMMAND`](super::COMMAND).
    pub fn to_args(&self) -> Vec<OsString> {
        let number = |n: Option<u64>| n.map_or_else(OsString::new, |n| n.to_string().into());
        let mut args = vec![
            self.parent.to_string().into(),
            number(self.nofile),
            core_text(self.core).into(),
            self.credentials.as_ref().map(credentials_text).unwrap_or_default().into(),
            if self.no_new_privs { "locked" } else { "" }.into(),
            self.start_dir.clone().unwrap_or_default().into_os_string(),
            self.cwd.clone().unwrap_or_default().into_os_string(),
            joined(&self.inherit).into(),
            if self.has_listeners { "listeners" } else { "" }.into(),
            self.program.clone(),
        ];
        args.extend(self.args.iter().cloned());
        args
    }

    /// Reads what [`SpawnSpec::to_args`] wrote; `None` if it is not that.
    pub fn parse(mut args: impl Iterator<Item = OsString>) -> Option<Self> {
        let parent = args.next()?.to_str()?.parse().ok()?;
        let nofile = args.next()?;
        let nofile = if nofile.is_empty() { None } else { Some(nofile.to_str()?.parse().ok()?) };
        let core = parse_core(args.next()?.to_str()?)?;
        let credentials = args.next()?;
        // A value that is there and cannot be read must never count as "none".
        let credentials = match credentials.to_str()? {
            "" => None,
            text => Some(parse_credentials(text)?),
        };
        let no_new_privs = match args.next()?.to_str()? {
            "" => false,
            "locked" => true,
            _ => return None,
        };
        let mut folder = || Some(Some(PathBuf::from(args.next()?)).filter(|folder| !folder.as_os_str().is_empty()));
        let (start_dir, cwd) = (folder()?, folder()?);
        let inherit = split(args.next()?.to_str()?)?;
        let has_listeners = match args.next()?.to_str()? {
            "" => false,
            "listeners" => true,
            _ => return None,
        };
        let program = args.next()?;
        let args = args.collect();
        Some(Self {
            parent,
            nofile,
            core,
            credentials,
            no_new_privs,
            start_dir,
            cwd,
            inherit,
            has_listeners,
            program,
            args,
        })
    }
}

fn joined<T: ToString>(numbers: &[T]) -> String {
    numbers.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

fn split<T: std::str::FromStr>(text: &str) -> Option<Vec<T>> {
    text.split(',').filter(|number| !number.is_empty()).map(|number| number.parse().ok()).collect()
}

fn core_text(core: Option<CoreLimit>) -> String {
    match core {
        None => String::new(),
        Some(CoreLimit::Unlimited) => "unlimited".to_owned(),
        Some(CoreLimit::Bytes(bytes)) => bytes.to_string(),
    }
}

fn parse_core(text: &str) -> Option<Option<CoreLimit>> {
    match text {
        "" => Some(None),
        "unlimited" => Some(Some(CoreLimit::Unlimited)),
        bytes => bytes.parse().ok().map(|bytes| Some(CoreLimit::Bytes(bytes))),
    }
}

/// `UID:GID:GROUP,GROUP`.
fn credentials_text(credentials: &Credentials) -> String {
    format!("{}:{}:{}", credentials.uid, credentials.gid, joined(&credentials.groups))
}

fn parse_credentials(text: &str) -> Option<Credentials> {
    let mut parts = text.split(':');
    let (uid, gid) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let groups = split(parts.next()?)?;
    parts.next().is_none().then_some(Credentials { uid, gid, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spawn_spec_survives_the_command_line() {
        let spawn_spec = SpawnSpec {
            parent: 42,
            nofile: Some(1024),
            core: Some(CoreLimit::Bytes(0)),
            credentials: Some(Credentials { uid: 33, gid: 34, groups: vec![34, 8] }),
            no_new_privs: true,
            start_dir: Some("/srv/current".into()),
            cwd: Some("my app".into()),
            inherit: vec![7, 9],
            has_listeners: true,
            program: "node".into(),
            args: vec!["--".into(), "".into(), "app.js".into()],
        };
        assert_eq!(SpawnSpec::parse(spawn_spec.to_args().into_iter()), Some(spawn_spec.clone()));
        let unlimited = SpawnSpec { core: Some(CoreLimit::Unlimited), no_new_privs: false, ..spawn_spec.clone() };
        assert_eq!(SpawnSpec::parse(unlimited.to_args().into_iter()), Some(unlimited));
        let bare = SpawnSpec {
            nofile: None,
            core: None,
            credentials: None,
            start_dir: None,
            cwd: None,
            inherit: vec![],
            has_listeners: false,
            args: vec![],
            ..spawn_spec
        };
        assert_eq!(SpawnSpec::parse(bare.to_args().into_iter()), Some(bare));
        assert_eq!(SpawnSpec::parse(["x".into()].into_iter()), None);
    }

    #[test]
    fn unreadable_credentials_make_no_spawn_spec() {
        for text in ["33", "33:34", "web:34:", "33:34:8:9", "33:34:x", ":34:", "33::", "4294967296:0:"] {
            let words = ["1", "", "", text, "", "", "", "", "", "true"].map(OsString::from);
            assert_eq!(SpawnSpec::parse(words.into_iter()), None, "{text}");
        }
        let words = ["1", "", "", "33:34:", "", "", "", "", "", "true"].map(OsString::from);
        assert!(SpawnSpec::parse(words.into_iter()).is_some());
    }
}
