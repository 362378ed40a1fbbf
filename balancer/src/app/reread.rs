//! The configuration, read once more by the same rules as at the start.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::config::{self, Loaded, Problems, Source, Sources};

/// A disk or a network that does not answer must not keep a pool claimed for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// All that is needed to load the configuration again: what the command line and the environment said then, and where
/// the file is.
#[derive(Clone, Debug, Default)]
pub struct Reread {
    /// As at the start; of the file only that there was one.
    pub sources: Sources,
    /// The file, as it was named.
    pub file: Option<PathBuf>,
}

impl Reread {
    /// Reads and checks on a thread of its own, so that a slow disk delays no supervisor.
    ///
    /// # Errors
    ///
    /// Every problem, as text.
    pub(super) async fn load(&self) -> Result<Loaded, String> {
        let (done, loaded) = oneshot::channel();
        let again = self.clone();
        let read = move || {
            let _ = done.send(again.load_now());
        };
        let thread = std::thread::Builder::new().name("reread".into()).spawn(read);
        thread.map_err(|error| format!("cannot start a thread to read the configuration: {error}"))?;
        match timeout(PATIENCE, loaded).await {
            Ok(Ok(loaded)) => loaded.map_err(|problems| problems.to_string()),
            Ok(Err(_)) => Err("the configuration could not be read".to_owned()),
            Err(_) => Err(format!("the configuration could not be read within {} s", PATIENCE.as_secs())),
        }
    }

    fn load_now(mut self) -> Result<Loaded, Problems> {
        self.sources.file = self.file.as_deref().map(Source::read_again).transpose()?;
        config::load(&self.sources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Workers;

    const SOUND: &str = "[pool.a]\ncommand = [\"x\"]\nworkers = 2\n";

    fn reread(file: PathBuf) -> Reread {
        let sets = vec!["pool.a.settle=1s".to_owned()];
        Reread { sources: Sources { sets, cpus: 2, ..Sources::default() }, file: Some(file) }
    }

    #[tokio::test]
    async fn the_file_is_read_anew_and_the_flags_stay() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("r.toml");
        let reread = reread(file.clone());
        for (text, workers) in [(SOUND.to_owned(), 2), (SOUND.replace('2', "5"), 5)] {
            std::fs::write(&file, text).unwrap();
            let config = reread.load().await.unwrap().config;
            assert_eq!(config.pools[0].workers, Workers::Count(workers));
            assert_eq!(config.pools[0].settle, Duration::from_secs(1));
        }
    }

    #[tokio::test]
    async fn every_problem_is_said_and_a_file_that_is_gone_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("r.toml");
        let reread = reread(file.clone());
        assert!(reread.load().await.unwrap_err().contains("there is no such file"));
        // Half of it is written.
        std::fs::write(&file, &SOUND[..SOUND.len() - 5]).unwrap();
        assert!(reread.load().await.unwrap_err().contains("not TOML"));
        std::fs::write(&file, format!("{SOUND}workrs = 1\nsettle = 3\n")).unwrap();
        let problems = reread.load().await.unwrap_err();
        assert!(
            problems.contains("did you mean `workers`") && problems.contains("a duration needs a unit"),
            "{problems}"
        );
    }

    #[tokio::test]
    async fn a_fifo_in_the_files_place_holds_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("r.toml");
        rustix::fs::mkfifoat(rustix::fs::CWD, &file, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        assert!(reread(file).load().await.unwrap_err().contains("no plain file"));
    }
}
