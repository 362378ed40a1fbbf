//! Finds everything that a setup has started, even if its parent has changed: by a variable that all of it inherits.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::wait::until;

/// The variable that every process of a setup inherits, with the setup's folder as its value. No program uses the name.
pub(crate) const MARK: &str = "HARNESS_RIG";

/// Returns the living processes of the setup with that folder.
pub(crate) fn living(folder: &Path) -> Vec<u32> {
    let mark = mark(folder);
    processes().filter(|&pid| has(pid, &mark)).collect()
}

fn mark(folder: &Path) -> Vec<u8> {
    [MARK.as_bytes(), b"=", folder.as_os_str().as_bytes()].concat()
}

/// The processes of a setup that were seen alive, to be ended.
#[derive(Debug)]
pub(crate) struct Family<'a> {
    folder: &'a Path,
    /// The processes seen so far: one that ends loses its environment some time before it is gone.
    seen: Vec<u32>,
}

impl<'a> Family<'a> {
    /// Finds the living processes.
    pub(crate) fn of(folder: &'a Path) -> Self {
        Self { folder, seen: living(folder) }
    }

    /// Waits until all processes have ended, at most that long; then sends SIGKILL to the rest.
    pub(crate) fn end(self, patience: Duration) {
        let is_gone = || {
            let left = living(self.folder);
            (left.is_empty() && !self.seen.iter().any(|&pid| is_alive(pid))).then_some(())
        };
        if until(patience, is_gone).is_some() {
            return;
        }
        let mark = mark(self.folder);
        // A process that is started meanwhile is found in the next round.
        let _ = until(Duration::from_secs(5), || {
            living(self.folder).into_iter().for_each(|pid| kill(pid, &mark));
            is_gone()
        });
    }
}

/// Kills a process through a pidfd, after checking its mark again: by now the pid could belong to another process.
fn kill(pid: u32, mark: &[u8]) {
    let handle = i32::try_from(pid).ok().and_then(Pid::from_raw).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
    if let Some(Ok(handle)) = handle
        && has(pid, mark)
    {
        let _ = pidfd_send_signal(&handle, Signal::KILL);
    }
}

/// Returns true if its environment has that entry. A zombie has no environment.
fn has(pid: u32, mark: &[u8]) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|entry| entry == mark)
}

/// Returns the living children of a process.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    processes().filter(|&pid| state_and_parent(pid).is_some_and(|(state, of)| of == parent && state != "Z")).collect()
}

/// Returns true if it was started with that variable, whatever the value.
pub(crate) fn has_variable(pid: u32, name: &str) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|entry| entry.split(|&byte| byte == b'=').next() == Some(name.as_bytes()))
}

/// Returns true if it exists and is not a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| state != "Z" && state != "X")
}

fn state_and_parent(pid: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name before these fields may contain anything, even a bracket.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::process::{Process, command};

    #[test]
    fn process_outside_its_group_without_parent_is_ended_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = command("sh", folder.path());
        shell.args(["-c", "setsid sleep 1000 & echo started"]);
        let mut shell = Process::spawn(shell, folder.path(), "shell").unwrap();
        until(Duration::from_secs(30), || shell.exit()).unwrap();
        let sleeps =
            until(Duration::from_secs(30), || Some(living(folder.path())).filter(|left| left.len() == 1)).unwrap();
        assert!(has_variable(sleeps[0], MARK) && !has_variable(sleeps[0], "HARNESS"));

        let family = Family::of(folder.path());
        shell.end(Duration::ZERO);
        family.end(Duration::ZERO);
        assert!(living(folder.path()).is_empty());
        assert!(!is_alive(sleeps[0]));
    }
}
