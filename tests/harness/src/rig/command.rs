//! A command that ends by itself, and what it said.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use super::RigError;
use super::process::line;
use super::wait::until;

/// How a command ended and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// Runs it to its end, at most that long.
pub(crate) fn run(mut command: Command, patience: Duration) -> Result<Ended, RigError> {
    let words = line(&command);
    let tried = |cause: std::io::Error| RigError::Failed(format!("cannot run `{words}`: {cause}"));
    // Files, since who does not read a pipe while it waits may wait for ever.
    let (out, err) = (tempfile::tempfile().map_err(tried)?, tempfile::tempfile().map_err(tried)?);
    command.stdout(out.try_clone().map_err(tried)?).stderr(err.try_clone().map_err(tried)?).process_group(0);
    let mut child = command.spawn().map_err(tried)?;
    let Some(status) = until(patience, || child.try_wait().transpose()) else {
        let _ = child.kill();
        let _ = child.wait();
        let said = read(err).map_err(tried)?;
        return Err(RigError::Failed(format!("`{words}` did not end within {patience:?}; it said: {}", said.trim())));
    };
    let code = status.map_err(tried)?.code();
    Ok(Ended { code, stdout: read(out).map_err(tried)?, stderr: read(err).map_err(tried)? })
}

fn read(mut file: File) -> std::io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
