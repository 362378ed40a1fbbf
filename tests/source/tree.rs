//! The files of the repository and their lines.

use std::fs;
use std::path::{Path, PathBuf};

/// One text file: its path from the top of the repository, and its content.
pub(crate) struct SourceFile {
    /// The path with `/`, such as `balancer/src/lib.rs`.
    pub(crate) path: String,
    /// The whole text.
    pub(crate) text: String,
}

impl SourceFile {
    /// The lines with their numbers, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// Returns true if the file holds only tests: its name or one of its folders is `tests`.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| matches!(part, "tests" | "tests.rs"))
    }
}

/// The top of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the balancer's folder is in the repository")
}

/// All files with one of the endings `extensions` under the folders (or files) `tops`, in the order of their paths.
///
/// Folders that tools fill (`target`, `node_modules`) and the report made by a run are left out.
pub(crate) fn files(tops: &[&str], extensions: &[&str]) -> Vec<SourceFile> {
    let mut paths = Vec::new();
    for top in tops {
        collect(&root().join(top), extensions, &mut paths);
    }
    paths.sort();
    assert!(!paths.is_empty(), "no file ends in {extensions:?} under {tops:?}");
    paths.iter().map(|path| read(path)).collect()
}

/// All Rust files of the repository.
pub(crate) fn rust() -> Vec<SourceFile> {
    files(&["balancer", "worker-runtime", "tests"], &["rs"])
}

/// The file at `path`, from the top of the repository.
pub(crate) fn file(path: &str) -> SourceFile {
    read(&root().join(path))
}

fn read(path: &Path) -> SourceFile {
    let name = path.strip_prefix(root()).expect("under the top").to_string_lossy().into_owned();
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    SourceFile { path: name, text }
}

fn collect(path: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    if path.is_file() {
        if path.extension().is_some_and(|ending| extensions.iter().any(|wanted| ending == *wanted)) {
            found.push(path.to_owned());
        }
        return;
    }
    if path.ends_with("target") || path.ends_with("node_modules") || path.ends_with("docs/report") {
        return;
    }
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    for entry in entries {
        collect(&entry.expect("an entry").path(), extensions, found);
    }
}

/// The code of one line: without a comment, and without what stands in strings.
pub(crate) fn code_of(line: &str) -> String {
    let code = line.split("//").next().unwrap_or_default();
    code.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

/// Fails with all `faults`, one a line, if there are any.
pub(crate) fn assert_none(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}\n{} places:\n{}", faults.len(), faults.join("\n"));
}
