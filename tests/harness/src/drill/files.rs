//! Writes the files that the user asked for.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use super::args::DrillArgs;
use super::outcome::Drill;
use super::report;
use crate::failure::{Failure, code};

/// Checks that they can be written, and changes nothing, so that minutes of drilling are not lost at the end.
///
/// # Errors
///
/// A file cannot be written.
pub(crate) fn check(args: &DrillArgs) -> Result<(), Failure> {
    for path in [&args.json, &args.markdown].into_iter().flatten() {
        try_to_write(path).map_err(|cause| failed(path, &cause))?;
    }
    Ok(())
}

fn try_to_write(path: &Path) -> std::io::Result<()> {
    let found = fs::metadata(path);
    // Opening a pipe would wait for a reader, and closing it could tell the reader that this was all.
    if found.as_ref().is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return Ok(());
    }
    fs::File::options().append(true).create(true).open(path)?;
    if found.is_err() { fs::remove_file(path) } else { Ok(()) }
}

/// Writes the files.
///
/// # Errors
///
/// A file cannot be written; the others are there.
pub(crate) fn write(args: &DrillArgs, drill: &Drill) -> Result<(), Failure> {
    let markdown = args.markdown.as_ref().map(|path| put(path, &report::markdown(drill)));
    if let Some(path) = &args.json {
        put(path, &drill.json().map_err(|cause| failed(path, &cause))?)?;
    }
    markdown.unwrap_or(Ok(()))
}

fn put(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|cause| failed(path, &cause))
}

fn failed(path: &Path, cause: &dyn Display) -> Failure {
    Failure::new(code::FAILED, format!("cannot write {}", path.display())).cause(cause).hint("choose another file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_tried_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
        fs::write(&old, "kept").unwrap();
        for path in [&old, &new] {
            try_to_write(path).unwrap();
        }
        assert_eq!((fs::read_to_string(&old).unwrap().as_str(), new.exists()), ("kept", false));
        assert!(try_to_write(folder.path()).is_err(), "it is a folder");
        assert!(try_to_write(&old.join("below")).is_err());
    }
}
