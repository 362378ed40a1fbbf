//! Runs a command that ends by itself, and returns its output.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::SetupError;
use super::process::line;
use super::wait::{Patience, until_within};

/// The end of a command and its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs it to its end, at most that long.
pub(crate) fn run(command: Command, patience: Duration) -> Result<Ended, SetupError> {
    run_within(command, Patience::of(patience))
}

/// Does the same, until it is given up.
pub(crate) fn run_within(mut command: Command, patience: Patience<'_>) -> Result<Ended, SetupError> {
    let words = line(&command);
    let tried = |cause: std::io::Error| SetupError::Failed(format!("cannot run `{words}`: {cause}"));
    // Its output goes to files: with a pipe that is not read meanwhile the process might block forever.
    let (out, err) = (tempfile::tempfile().map_err(tried)?, tempfile::tempfile().map_err(tried)?);
    command.stdout(out.try_clone().map_err(tried)?).stderr(err.try_clone().map_err(tried)?).process_group(0);
    let mut child = command.spawn().map_err(tried)?;
    let Some(status) = until_within(patience, || child.try_wait().transpose()) else {
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        let _ = child.wait();
        let said = read(err).map_err(tried)?;
        return Err(SetupError::Failed(format!("`{words}` {patience}; it said: {}", said.trim())));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn both_streams_and_the_exit_code_are_kept() {
        let ended = run(shell("echo out; echo err >&2; exit 3"), Duration::from_secs(30)).unwrap();
        assert_eq!(ended, Ended { code: Some(3), stdout: "out\n".into(), stderr: "err\n".into() });
        assert_eq!(run(shell("kill -9 $$"), Duration::from_secs(30)).unwrap().code, None);
    }

    #[test]
    fn command_that_does_not_end_is_ended_and_named() {
        let Err(SetupError::Failed(text)) = run(shell("sleep 1000; exit 0"), Duration::from_millis(20)) else {
            panic!("it had no time to end")
        };
        assert!(text.contains("sleep 1000") && text.contains("20ms"), "{text}");
    }

    #[test]
    fn command_no_longer_wanted_is_ended_at_once() {
        let patience = Patience { longest: Duration::from_secs(600), is_given_up: &|| true };
        let Err(SetupError::Failed(text)) = run_within(shell("sleep 1000; exit 0"), patience) else {
            panic!("the command was not waited for")
        };
        assert!(text.contains("was given up"), "{text}");
    }
}
