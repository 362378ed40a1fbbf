//! The files of a report: writes each whole or not at all, and reads `report.json` again.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{csv, html, markdown};
use crate::analysis::Analysis;
use crate::failure::{Failure, code};
use crate::record::{Report, SCHEMA};

/// Creates the folder if it is missing, and checks that a file can be written there, so that an hour of measuring is
/// not lost at the end.
///
/// # Errors
///
/// [`code::FAILED`] if the folder cannot be created or written to.
pub fn prepare(folder: &Path) -> Result<(), Failure> {
    make(folder)?;
    put(folder, None, "").map_err(|error| {
        Failure::new(code::FAILED, format!("cannot write into the folder {}", folder.display()))
            .cause(error)
            .hint("choose another with --out")
    })
}

/// Writes `report.json`, `.csv`, `.md` and `.html` into the folder, which is created if it is missing, and returns
/// their paths in this order. A reader sees the old file or the new one, never a part of it.
///
/// # Errors
///
/// [`code::FAILED`] if the folder cannot be created or a file cannot be written; the files before it are there.
pub fn write(folder: &Path, report: &Report, analysis: &Analysis) -> Result<Vec<PathBuf>, Failure> {
    make(folder)?;
    let mut json = serde_json::to_string(report)
        .map_err(|error| Failure::new(code::FAILED, "cannot write the report as JSON").cause(error))?;
    json.push('\n');
    let texts = [
        ("report.json", json),
        ("report.csv", csv(report)),
        ("report.md", markdown(report, analysis)),
        ("report.html", html(report, analysis)?),
    ];
    let mut written = Vec::new();
    for (name, text) in texts {
        let path = folder.join(name);
        put(folder, Some(&path), &text).map_err(|error| {
            Failure::new(code::FAILED, format!("cannot write {}", path.display()))
                .cause(error)
                .hint("choose another folder with --out")
        })?;
        written.push(path);
    }
    Ok(written)
}

fn make(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| {
        Failure::new(code::FAILED, format!("cannot make the folder {}", folder.display()))
            .cause(error)
            .hint("choose another with --out")
    })
}

/// Writes a new file in that folder; without a path it is removed again.
fn put(folder: &Path, path: Option<&Path>, text: &str) -> std::io::Result<()> {
    // The usual mode of a new file: for all, less what the umask takes.
    let permissions = fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().prefix(".report-").permissions(permissions).tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    if let Some(path) = path {
        file.persist(path)?;
    }
    Ok(())
}

/// The fields that tell if the rest can be read.
#[derive(Deserialize)]
struct Head {
    schema: Option<String>,
}

/// Reads a `report.json`.
///
/// # Errors
///
/// [`code::USAGE`] if there is no such file, it is not JSON, or not a report of the schema that this version knows.
pub fn load(path: &Path) -> Result<Report, Failure> {
    let failure = |what: &str| Failure::new(code::USAGE, format!("{what} {}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| {
        failure("cannot read the report").cause(error).hint("name the report.json that a comparison has written")
    })?;
    // The error of serde_json contains line and column.
    let head: Head = serde_json::from_str(&text).map_err(|error| {
        failure("no report in JSON:").cause(error).hint("name the report.json that a comparison has written")
    })?;
    match head.schema.as_deref() {
        Some(SCHEMA) => {}
        Some(other) => {
            return Err(failure("cannot read the report")
                .cause(format!("its schema is {other:?}, known is {SCHEMA:?}"))
                .hint("read it with the version of roundelay that wrote it"));
        }
        None => {
            return Err(failure("no report of a comparison:")
                .cause(format!("it names no schema; known is {SCHEMA:?}"))
                .hint("name the report.json that a comparison has written"));
        }
    }
    serde_json::from_str(&text)
        .map_err(|error| failure("the report is damaged:").cause(error).hint("compare again, or take another report"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::planted::planted;

    #[test]
    fn report_is_read_back_as_written() {
        let (report, analysis) = planted();
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        for _ in 0..2 {
            let names: Vec<_> = write(&inner, &report, &analysis)
                .unwrap()
                .iter()
                .map(|path| path.file_name().unwrap().to_owned())
                .collect();
            assert_eq!(names, ["report.json", "report.csv", "report.md", "report.html"]);
        }
        let there = fs::read_dir(&inner).unwrap().count();
        assert_eq!(there, 4, "no temporary file is left");
        assert!(load(&inner.join("report.json")).unwrap() == report);
    }

    #[test]
    fn unreadable_report_names_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let said = |text: Option<&str>| {
            if let Some(text) = text {
                fs::write(&path, text).unwrap();
            }
            let failure = load(&path).unwrap_err();
            assert_eq!(failure.code, code::USAGE);
            assert!(failure.error.contains("report.json") && failure.hint.is_some(), "{failure:?}");
            failure.cause.unwrap()
        };
        assert!(said(None).contains("No such file"));
        assert!(said(Some("{\n  \"schema\": nothing")).contains("line 2 column"));
        assert!(said(Some("{}")).contains("names no schema"));
        let other = said(Some("{\"schema\": \"roundelay.compare/9\"}"));
        assert!(other.contains("roundelay.compare/9") && other.contains(SCHEMA), "{other}");
        assert!(said(Some(&format!("{{\"schema\": \"{SCHEMA}\"}}"))).contains("missing field"));
    }

    #[test]
    fn folder_that_cannot_be_made_is_named() {
        let (report, analysis) = planted();
        let file = tempfile::NamedTempFile::new().unwrap();
        let below = file.path().join("below");
        for failure in [write(&below, &report, &analysis).map(drop).unwrap_err(), prepare(&below).unwrap_err()] {
            assert!(failure.error.contains("below") && failure.cause.is_some(), "{failure:?}");
        }
    }

    #[test]
    fn folder_is_tried_without_leaving_anything_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        prepare(&inner).unwrap();
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 0);
        // No user can create files there, not even root.
        let failure = prepare(Path::new("/proc/self")).unwrap_err();
        assert!(
            failure.error.contains("/proc/self") && failure.cause.is_some() && failure.hint.is_some(),
            "{failure:?}"
        );
    }

    /// Writes a report to look at: `ROUNDELAY_PLANTED_REPORT=/tmp/planted cargo test -p roundelay-harness planted`.
    #[test]
    fn planted_report_can_be_looked_at() {
        let (report, analysis) = planted();
        let folder = tempfile::tempdir().unwrap();
        let path = std::env::var_os("ROUNDELAY_PLANTED_REPORT").map_or(folder.path().to_owned(), PathBuf::from);
        let written = write(&path, &report, &analysis).unwrap();
        fs::write(path.join("terminal.txt"), super::super::terminal(&report, &analysis, 120)).unwrap();
        for file in written {
            assert!(fs::metadata(&file).unwrap().len() > 1_000, "{}", file.display());
        }
    }
}
