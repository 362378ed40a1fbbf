//! Reads the configuration again, from the same sources as at the start.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::config::{self, Config, Loaded, Problems, Source, Sources};

/// The time for reading: a disk or a network that does not answer must not keep a pool locked forever.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everything that is needed to load the configuration again: the command line and the environment as they were at the
/// start, and the path of the file.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    /// The sources of the start. Of the file they only show that there was one, and where.
    pub sources: Sources,
    /// The path of the file as it was given: if it contains a symbolic link, each reload follows the link anew.
    file: Option<PathBuf>,
    /// The directory that the master was started in, by the same kind of path.
    pub start_dir: Option<PathBuf>,
    /// One permit, held by the thread that reads.
    reading: Arc<Semaphore>,
}

/// The result of reading the configuration again.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) loaded: Loaded,
    /// For each pool whose workers would have no directory to start in, that directory.
    pub(super) gone: BTreeMap<String, PathBuf>,
}

impl Default for ConfigSource {
    fn default() -> Self {
        Self::new(Sources::default(), None, None)
    }
}

impl ConfigSource {
    /// Remembers the path of the file, which was given relative to `start_dir`.
    pub fn new(sources: Sources, file: Option<PathBuf>, start_dir: Option<PathBuf>) -> Self {
        let is_file = |file: &PathBuf| file != Path::new("-");
        let file = file.map(|file| match &start_dir {
            Some(dir) if is_file(&file) => dir.join(file),
            _ => file,
        });
        Self { sources, file, start_dir, reading: Arc::new(Semaphore::new(1)) }
    }

    /// Reads and checks on a thread of its own, so that a slow disk delays no supervisor. There is only one such thread
    /// at a time: if a disk never answers, repeated reloads leave one thread behind and not one each.
    ///
    /// # Errors
    ///
    /// Every problem, as text.
    pub(super) async fn load(&self) -> Result<Found, String> {
        let deadline = Instant::now() + PATIENCE;
        let turn = timeout_at(deadline, Arc::clone(&self.reading).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(
                "the configuration is still being read by an earlier reload, which its disk does not answer".to_owned()
            );
        };
        let (done, loaded) = oneshot::channel();
        let again = self.clone();
        let read = move || {
            let _ = done.send(again.load_now());
            drop(turn);
        };
        let thread = std::thread::Builder::new().name("config-reader".into()).spawn(read);
        thread.map_err(|error| format!("cannot start a thread to read the configuration: {error}"))?;
        match timeout_at(deadline, loaded).await {
            Ok(Ok(loaded)) => loaded.map_err(|problems| problems.to_string()),
            Ok(Err(_)) => Err("the configuration could not be read".to_owned()),
            Err(_) => Err(format!("the configuration could not be read within {} s", PATIENCE.as_secs())),
        }
    }

    fn load_now(mut self) -> Result<Found, Problems> {
        let again = self.file.as_deref().map(Source::read_again).transpose()?;
        self.sources.file = match (again, self.sources.file.take()) {
            // Relative paths in the file are resolved against the same directory as before, or the reload would seem to
            // change them.
            (Some(again), Some(first)) => Some(Source { name: first.name, dir: first.dir, ..again }),
            (again, _) => again,
        };
        let loaded = config::load(&self.sources)?;
        let gone = self.gone(&loaded.config);
        Ok(Found { loaded, gone })
    }

    /// Returns the directories of pools that no longer exist, as after a deploy that removed an old release. A
    /// directory that this user may not look at does not count: the workers will find out.
    fn gone(&self, config: &Config) -> BTreeMap<String, PathBuf> {
        let dir = |cwd: &Option<PathBuf>| match (&self.start_dir, cwd) {
            (Some(start), Some(cwd)) => Some(start.join(cwd)),
            (Some(start), None) => Some(start.clone()),
            (None, cwd) => cwd.clone(),
        };
        let is_gone = |dir: &PathBuf| match std::fs::metadata(dir) {
            Ok(found) => !found.is_dir(),
            Err(error) => matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        };
        let pools = config.pools.iter();
        pools.filter_map(|pool| Some((pool.name.clone(), dir(&pool.cwd).filter(is_gone)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WorkerCount;

    const SOUND: &str = "[pool.a]\ncommand = [\"x\"]\nworkers = 2\n";

    fn config_source(file: PathBuf) -> ConfigSource {
        let sets = vec!["pool.a.settle=1s".to_owned()];
        ConfigSource::new(Sources { sets, cpus: 2, ..Sources::default() }, Some(file), None)
    }

    #[tokio::test]
    async fn file_is_read_again_and_the_flags_stay() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("r.toml");
        let config_source = config_source(file.clone());
        for (text, workers) in [(SOUND.to_owned(), 2), (SOUND.replace('2', "5"), 5)] {
            std::fs::write(&file, text).unwrap();
            let config = config_source.load().await.unwrap().loaded.config;
            assert_eq!(config.pools[0].workers, WorkerCount::Count(workers));
            assert_eq!(config.pools[0].settle, Duration::from_secs(1));
        }
    }

    #[tokio::test]
    async fn every_problem_is_said_and_a_file_that_is_gone_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("r.toml");
        let config_source = config_source(file.clone());
        assert!(config_source.load().await.unwrap_err().contains("there is no such file"));
        // Only half of the file is written.
        std::fs::write(&file, &SOUND[..SOUND.len() - 5]).unwrap();
        assert!(config_source.load().await.unwrap_err().contains("not TOML"));
        std::fs::write(&file, format!("{SOUND}workrs = 1\nsettle = 3\n")).unwrap();
        let problems = config_source.load().await.unwrap_err();
        assert!(
            problems.contains("did you mean `workers`") && problems.contains("a duration needs a unit"),
            "{problems}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn disk_that_does_not_answer_leaves_one_thread() {
        let config_source = config_source(PathBuf::from("/nowhere/r.toml"));
        let stuck = Arc::clone(&config_source.reading).acquire_owned().await.unwrap();
        for _ in 0..3 {
            assert!(config_source.load().await.unwrap_err().contains("still being read by an earlier reload"));
        }
        drop(stuck);
        tokio::time::resume();
        assert!(config_source.load().await.unwrap_err().contains("there is no such file"));
    }

    #[tokio::test]
    async fn fifo_instead_of_the_file_is_refused_without_blocking() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("r.toml");
        rustix::fs::mkfifoat(rustix::fs::CWD, &file, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        assert!(config_source(file).load().await.unwrap_err().contains("no plain file"));
    }
}
