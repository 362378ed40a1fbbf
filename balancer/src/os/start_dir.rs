//! The directory that the master was started in, by the name that its starter knows it by.
//!
//! `getcwd` resolves links: in `cd current && roundelay run ...` it names the release that `current` pointed to then. A
//! shell puts the name with the link into `PWD`, and that name is still valid after a deploy has moved the link.

use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Returns `PWD` if it is absolute, without `.` and `..`, and leads to the current directory; else the result of
/// `getcwd`. `None` if the current directory has been removed.
pub fn find() -> Option<PathBuf> {
    let physical = std::env::current_dir().ok();
    let logical =
        std::env::var_os("PWD").map(PathBuf::from).filter(|pwd| is_plain(pwd) && is_same(pwd, Path::new(".")));
    logical.or(physical)
}

/// Returns true if the path is absolute and names each directory on the way once. Programs ignore any other `PWD`.
pub fn is_plain(path: &Path) -> bool {
    // `components` omits a `.` that is not at the beginning.
    let has_dot = path.to_string_lossy().split('/').any(|name| name == ".");
    path.is_absolute() && !has_dot && !path.components().any(|one| one == Component::ParentDir)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    identity(one).is_some_and(|found| Some(found) == identity(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_absolute_paths_are_logical() {
        let paths = ["/srv/current", "/", "srv", "", "/srv/./x", "/srv/../x", "/srv/x/.", "/srv/..x", "/srv//x"];
        let plain = paths.map(|path| is_plain(Path::new(path)));
        assert_eq!(plain, [true, true, false, false, false, false, false, true, true]);
    }

    #[test]
    fn link_is_the_same_directory_and_another_is_not() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        for name in ["one", "two"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        std::os::unix::fs::symlink(at("one"), at("current")).unwrap();
        assert!(is_same(&at("current"), &at("one")) && !is_same(&at("current"), &at("two")));
        assert!(!is_same(&at("gone"), &at("gone")), "what is not there is nothing");
    }
}
