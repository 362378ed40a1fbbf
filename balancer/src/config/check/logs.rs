//! Rule: each log file has one writer.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Violation, path};
use crate::config::{Config, LogTarget, PoolConfig};

/// Checks that two pools do not write to one file, and that no pool's file has the name of another's rotated file. The
/// time grows with the number of pools.
pub(super) fn check(config: &Config, found: &mut Vec<Violation>) {
    // Pools by the path of their file, and by the path of the file from which theirs would be rotated, with its number.
    // Of several the lowest number is kept.
    let (mut by_path, mut by_origin) =
        (HashMap::<&Path, &PoolConfig>::new(), HashMap::<PathBuf, (u32, &PoolConfig)>::new());
    for pool in &config.pools {
        let LogTarget::File(mine) = &pool.log.to else { continue };
        let origin = origin(mine);
        let same = by_path.get(&**mine).copied();
        let put_aside = || by_origin.get(mine).filter(|(number, _)| *number <= pool.log.keep).map(|(_, other)| *other);
        let of_other = || {
            let (from, number) = origin.as_ref()?;
            by_path.get(&**from).copied().filter(|other| *number <= other.log.keep)
        };
        if let Some(other) = same.or_else(put_aside).or_else(of_other) {
            let LogTarget::File(theirs) = &other.log.to else { continue };
            let message = match theirs == mine {
                true => format!("pools `{}` and `{}` both log to {}", other.name, pool.name, mine.display()),
                false => format!(
                    "pools `{}` and `{}` log to {} and {}, and one file is renamed to the other's path when it is full",
                    other.name,
                    pool.name,
                    theirs.display(),
                    mine.display()
                ),
            };
            let violation = Violation::error(path(pool, "log.to"), message).also(path(other, "log.to"));
            found.push(violation.label("give each pool its own file"));
        }
        // Of two pools with one path, the one that keeps more rotated files stays in the map, since it excludes more
        // paths.
        let keeps_more = |other: &&PoolConfig| other.log.keep >= pool.log.keep;
        if by_path.get(&**mine).is_none_or(|other| !keeps_more(other)) {
            by_path.insert(mine, pool);
        }
        if let Some((from, number)) = origin {
            let lowest = by_origin.entry(from).or_insert((number, pool));
            if number < lowest.0 {
                *lowest = (number, pool);
            }
        }
    }
}

/// Returns the file from which this one would be rotated, and its number: for `app.log.1` it is `app.log` and 1.
fn origin(file: &Path) -> Option<(PathBuf, u32)> {
    let name = file.file_name()?.to_str()?;
    let (from, number) = name.rsplit_once('.')?;
    let number = number.parse().ok().filter(|number| *number >= 1)?;
    Some((file.with_file_name(from), number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Program;

    fn broken(a: &str, b: &str) -> bool {
        let pool = |name: &str, file: &str| {
            let mut pool = PoolConfig::new(name, Program::Demo);
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
