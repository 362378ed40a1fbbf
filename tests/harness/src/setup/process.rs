//! A child process: in a group of its own, with its output in files; it is ended when it is dropped.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus, kill_process, kill_process_group, waitid};

pub use rustix::process::Signal;

use super::SetupError;
use super::family::MARK;
use super::wait::until;

/// The time that a dropped process gets to end in order.
pub(crate) const PATIENCE_OF_DROP: Duration = Duration::from_secs(1);

/// Variables of the harness's own environment that a child must not inherit: the setup sets them itself, or nothing
/// does.
const SCRUBBED: [&str; 5] = ["PORT", "HOST", "NOTIFY_SOCKET", "NODE_APP_INSTANCE", "NODE_UNIQUE_ID"];
/// Like [`SCRUBBED`], for all variables with these prefixes.
const SCRUBBED_PREFIXES: [&str; 5] = ["ROUNDELAY_", "LISTEN_", "WATCHDOG_", "NODE_CHANNEL_", "PM2_"];

/// Sends a signal to a process.
///
/// # Errors
///
/// [`SetupError::Failed`]: the process is gone, or belongs to another user.
pub fn signal(pid: u32, signal: Signal) -> Result<(), SetupError> {
    let sent = raw(pid).ok_or(rustix::io::Errno::SRCH).and_then(|pid| kill_process(pid, signal));
    sent.map_err(|cause| SetupError::Failed(format!("cannot send {signal:?} to process {pid}: {cause}")))
}

fn raw(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Returns a command for a setup with that folder: it gets the harness's environment without the variables that the
/// setup sets, and an empty standard input.
pub(crate) fn command(program: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).env(MARK, folder);
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_scrubbed(name)) {
        command.env_remove(name);
    }
    command
}

fn is_scrubbed(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    SCRUBBED.contains(&&*name) || SCRUBBED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Returns the same command with that soft and hard limit of open files. A shell sets it and then becomes the program.
pub(crate) fn with_open_files(command: Command, limit: u64) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", r#"ulimit -n "$0" && exec "$@""#, &limit.to_string()]);
    limited.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    fn of(status: &WaitIdStatus) -> Self {
        let by_signal = || Self::Signal(status.terminating_signal().unwrap_or_default());
        status.exit_status().map_or_else(by_signal, Self::Code)
    }
}

impl Exit {
    /// Returns the exit code, unless it was a signal.
    pub(crate) fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            Self::Signal(_) => None,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// A child that leads a process group. No process of the group outlives this value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
    /// Set once it was reaped.
    exit: Option<Exit>,
}

impl Process {
    /// Starts it; its output goes to `NAME.out` and `NAME.err` in that folder.
    pub(crate) fn spawn(mut command: Command, folder: &Path, name: &str) -> Result<Self, SetupError> {
        use std::os::unix::process::CommandExt;
        let (out, err) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.err")));
        let file = |path: &Path| {
            let file = File::options().create(true).append(true).open(path);
            file.map_err(|cause| SetupError::Failed(format!("cannot write to {}: {cause}", path.display())))
        };
        command.stdout(file(&out)?).stderr(file(&err)?).process_group(0);
        let spawned = command.spawn();
        let child =
            spawned.map_err(|cause| SetupError::Failed(format!("cannot start `{}`: {cause}", line(&command))))?;
        Ok(Self { child, out, err, exit: None })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Takes the pipe to its standard input, if there is one; works once.
    pub(crate) fn take_stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// Returns the end of the process, if it has ended. It is not reaped before [`Self::end`], so until then its pid
    /// and its group's cannot belong to another process.
    pub(crate) fn exit(&self) -> Option<Exit> {
        if self.exit.is_some() {
            return self.exit;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(raw(self.pid())?), options).ok()??;
        Some(Exit::of(&status))
    }

    /// Tells it to end, even if it is stopped.
    pub(crate) fn ask_to_end(&self) {
        for signal in [Signal::TERM, Signal::CONT] {
            self.to_itself(signal);
        }
    }

    /// Ends it and its group by SIGKILL.
    pub(crate) fn kill(&mut self) {
        if self.exit.is_some() {
            return;
        }
        if let Some(group) = raw(self.pid()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = until(Duration::from_secs(5), || self.exit());
        self.exit = self.exit();
        let _ = self.child.wait();
    }

    /// Tells it to end, waits at most that long, then kills what is left of its group.
    pub(crate) fn end(&mut self, patience: Duration) {
        self.ask_to_end();
        let _ = until(patience, || self.exit());
        self.kill();
    }

    fn to_itself(&self, signal: Signal) {
        if let (None, Some(pid)) = (self.exit, raw(self.pid())) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Returns its standard output so far.
    pub(crate) fn stdout(&self) -> String {
        read(&self.out)
    }

    /// Returns its standard error so far.
    pub(crate) fn stderr(&self) -> String {
        read(&self.err)
    }

    /// Returns the last lines of each stream, for an error's text.
    pub(crate) fn last_words(&self) -> String {
        let (out, err) = (self.stdout(), self.stderr());
        let lines: Vec<&str> = last(&out, 5).into_iter().chain(last(&err, 10)).collect();
        if lines.is_empty() {
            "it wrote nothing".to_owned()
        } else {
            format!("it last wrote:\n  {}", lines.join("\n  "))
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit.is_none() {
            self.end(PATIENCE_OF_DROP);
        }
    }
}

/// Returns the words of a command, for errors.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.collect::<Vec<_>>().join(OsStr::new(" ")).to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Returns the last lines that are not empty.
pub(crate) fn last(text: &str, lines: usize) -> Vec<&str> {
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    all[all.len().saturating_sub(lines)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::family::living;

    fn shell(script: &str, folder: &Path) -> Process {
        let mut shell = command("sh", folder);
        shell.args(["-c", script]);
        Process::spawn(shell, folder, "shell").unwrap()
    }

    #[test]
    fn nothing_of_an_outer_master_or_manager_is_inherited() {
        for name in ["PORT", "HOST", "ROUNDELAY_POOL", "LISTEN_FDS", "NOTIFY_SOCKET", "PM2_HOME", "NODE_CHANNEL_FD"] {
            assert!(is_scrubbed(OsStr::new(name)), "{name}");
        }
        for name in ["PATH", "HOME", "PORTAL", "NODE_ENV", "DATABASE_URL"] {
            assert!(!is_scrubbed(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn group_that_ignores_the_request_to_end_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut deaf = shell("trap '' TERM; sleep 1000 & echo ready; wait; wait", folder.path());
        until(Duration::from_secs(30), || (deaf.stdout() == "ready\n").then_some(())).unwrap();
        deaf.end(Duration::from_millis(20));
        assert_eq!(deaf.exit(), Some(Exit::Signal(9)));
        until(Duration::from_secs(30), || living(folder.path()).is_empty().then_some(())).unwrap();
    }

    #[test]
    fn end_is_seen_once_and_stays_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut brief = shell("echo one; echo two >&2; exit 7", folder.path());
        assert_eq!(until(Duration::from_secs(30), || brief.exit()), Some(Exit::Code(7)));
        brief.end(Duration::ZERO);
        assert_eq!(brief.exit(), Some(Exit::Code(7)));
        assert_eq!(brief.last_words(), "it last wrote:\n  one\n  two");
    }
}
