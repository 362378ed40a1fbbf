//! Releases of the program: the good one, and broken ones to which a reload leads.
//!
//! The product reads the command from its file, which names another program then. Other targets have no such file and
//! start the same Node file again. So they get a script of ours instead, which runs the application or is broken, as a
//! file beside it says at that moment.

use std::path::{Path, PathBuf};

use crate::setup::SetupError;
use crate::subject::Workload;

/// The text that a broken release writes before it exits; an error message about it should contain it.
pub(crate) const LAST_LINE: &str = "this release is broken";

/// The script that plays every release of a Node application.
const SCRIPT: &str = include_str!("release.js");

/// A release of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// The user's program.
    Good,
    /// Writes [`LAST_LINE`] and exits with code 3.
    Exits,
    /// Runs but never listens.
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

/// The releases of a Node application, as files in a folder.
#[derive(Debug)]
pub(crate) struct NodeReleases {
    script: PathBuf,
    state: PathBuf,
    file: PathBuf,
}

impl NodeReleases {
    /// Writes the files; the good release is the present one. `None` if the workload is not a Node application.
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

    /// Switches to that release: every process that starts from now on runs it.
    pub(crate) fn switch(&self, release: Release) -> Result<(), SetupError> {
        let text = serde_json::json!({ "file": self.file, "release": release.name() }).to_string();
        // Written atomically: a worker may read it at any time.
        let new = self.state.with_extension("new");
        let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &self.state));
        written.map_err(|cause| SetupError::Failed(format!("cannot write {}: {cause}", self.state.display())))
    }

    /// Returns the workload with our script instead of the application.
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

/// Returns the command of a broken release of any other program.
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
