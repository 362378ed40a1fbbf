//! Releases of the program: the good one, and broken ones that a reload is led into.
//!
//! The product reads another command from its file. Others have no such file, they start the same Node file again:
//! there it is a file of ours that runs the application, or is broken, as a file beside it says at that moment.

use std::path::{Path, PathBuf};

use crate::setup::SetupError;
use crate::subject::Workload;

/// The text that a broken release writes before it exits; a message about it should have it.
pub(crate) const LAST_LINE: &str = "this release is broken";

/// The script that is every release of a Node application.
const SCRIPT: &str = include_str!("release.js");

/// A state of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// As the user has it.
    Good,
    /// Writes [`LAST_LINE`] and exits with code 3.
    Exits,
    /// Runs and never listens.
    NeverReady,
}

impl Release {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Exits => "exits",
            Self::NeverReady => "never-ready",
        }
    }
}

/// A Node application's releases, as files in a folder.
#[derive(Debug)]
pub(crate) struct NodeReleases {
    script: PathBuf,
    state: PathBuf,
    file: PathBuf,
}

impl NodeReleases {
    /// Writes them there, the good one being the present one; nothing if the workload is no Node application.
    ///
    /// # Errors
    ///
    /// The folder or the application cannot be used.
    pub(crate) fn new(workload: &Workload, folder: &Path) -> Result<Option<Self>, SetupError> {
        let Some(file) = workload.node_file() else { return Ok(None) };
        let failed = |what: &Path, cause| SetupError::Failed(format!("cannot use {}: {cause}", what.display()));
        let file = Path::new(file).canonicalize().map_err(|cause| failed(Path::new(file), cause))?;
        let releases = Self { script: folder.join("release.js"), state: folder.join("release"), file };
        std::fs::write(&releases.script, SCRIPT).map_err(|cause| failed(&releases.script, cause))?;
        releases.switch(Release::Good)?;
        Ok(Some(releases))
    }

    /// From now on a process that is started is that release.
    pub(crate) fn switch(&self, release: Release) -> Result<(), SetupError> {
        let text = serde_json::json!({ "file": self.file, "release": release.name() }).to_string();
        // Whole at once: a worker may read it at any time.
        let new = self.state.with_extension("new");
        let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &self.state));
        written.map_err(|cause| SetupError::Failed(format!("cannot write {}: {cause}", self.state.display())))
    }

    /// The workload, with our file instead of the application's.
    pub(crate) fn workload(&self, workload: &Workload) -> Workload {
        match workload {
            Workload::Command(words) => {
                let mut words = words.clone();
                if let Some(file) = words.get_mut(1) {
                    *file = self.script.to_string_lossy().into_owned();
                }
                Workload::Command(words)
            }
            Workload::Demo => Workload::Demo,
        }
    }
}

/// The words of a broken release of any other program.
pub(crate) fn broken(release: Release) -> Vec<String> {
    let words: &[&str] = match release {
        Release::Exits => &["sh", "-c", "echo this release is broken >&2; exit 3"],
        Release::Good | Release::NeverReady => &["sleep", "3600"],
    };
    words.iter().map(|&word| word.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_release_prints_the_line_that_is_looked_for() {
        assert!(SCRIPT.contains(LAST_LINE) && broken(Release::Exits).join(" ").contains(LAST_LINE));
    }

    #[test]
    fn node_application_starts_through_our_file_with_its_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let app = folder.path().join("app.js");
        std::fs::write(&app, "").unwrap();
        let words = ["node", app.to_str().unwrap(), "--fast"].map(str::to_owned).to_vec();
        let workload = Workload::Command(words);
        let releases = NodeReleases::new(&workload, folder.path()).unwrap().unwrap();
        let Workload::Command(words) = releases.workload(&workload) else { panic!("another workload") };
        assert_eq!(words, ["node", releases.script.to_str().unwrap(), "--fast"]);
        let state = || std::fs::read_to_string(folder.path().join("release")).unwrap();
        assert!(state().contains("\"good\"") && state().contains("app.js"));
        releases.switch(Release::NeverReady).unwrap();
        assert!(state().contains("\"never-ready\""));
        assert!(NodeReleases::new(&Workload::Demo, folder.path()).unwrap().is_none());
    }
}
