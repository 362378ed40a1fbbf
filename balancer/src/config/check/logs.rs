//! Each log file has one writer.

use std::path::{Path, PathBuf};

use super::{Violation, path};
use crate::config::{Config, LogTarget, Pool};

/// Two pools may not write to one file, nor may one's file be where another's files that were put aside go.
pub(super) fn check(config: &Config, found: &mut Vec<Violation>) {
    let file = |pool: &'_ Pool| match &pool.log.to {
        LogTarget::File(path) => Some(path.clone()),
        LogTarget::Stdout | LogTarget::Off => None,
    };
    let files: Vec<(&Pool, PathBuf)> = config.pools.iter().filter_map(|pool| Some((pool, file(pool)?))).collect();
    for (at, (pool, mine)) in files.iter().enumerate() {
        let clash = |(other, theirs): &&(&Pool, PathBuf)| {
            theirs == mine || is_aside(mine, theirs, pool.log.keep) || is_aside(theirs, mine, other.log.keep)
        };
        if let Some((other, theirs)) = files[..at].iter().find(clash) {
            let message = match theirs == mine {
                true => format!("pools `{}` and `{}` both log to {}", other.name, pool.name, mine.display()),
                false => format!(
                    "pools `{}` and `{}` log to {} and {}, and one is what the other is renamed to when it is full",
                    other.name,
                    pool.name,
                    theirs.display(),
                    mine.display()
                ),
            };
            let violation = Violation::error(path(pool, "log.to"), message).also(path(other, "log.to"));
            found.push(violation.label("give each pool its own file"));
        }
    }
}

/// Whether `other` is the name of one of `keep` files that are put aside from `file`.
fn is_aside(file: &Path, other: &Path, keep: u32) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (Some(name), Some(other_name)) = (name(file), name(other)) else { return false };
    let number = other_name.strip_prefix(&name).and_then(|rest| rest.strip_prefix('.')).map(str::parse::<u32>);
    file.parent() == other.parent() && matches!(number, Some(Ok(n)) if (1..=keep).contains(&n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Program;

    fn broken(a: &str, b: &str) -> bool {
        let pool = |name: &str, file: &str| {
            let mut pool = Pool::new(name, Program::Demo);
            pool.log.to = LogTarget::File(file.into());
            pool
        };
        let mut found = Vec::new();
        check(&Config { pools: vec![pool("a", a), pool("b", b)], ..Config::default() }, &mut found);
        !found.is_empty()
    }

    #[test]
    fn no_two_pools_write_to_one_file() {
        assert!(broken("/l/app.log", "/l/app.log"));
        assert!(broken("/l/app.log", "/l/app.log.1"));
        assert!(broken("/l/app.log.5", "/l/app.log"));
        assert!(!broken("/l/app.log", "/l/app.log.6"), "five are kept");
        assert!(!broken("/l/app.log", "/l/app.log.old"));
        assert!(!broken("/l/app.log", "/k/app.log"));
        assert!(!broken("/l/app.log", "/l/app.log2"));
    }
}
