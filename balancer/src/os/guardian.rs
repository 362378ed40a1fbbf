//! The guardian: a small process that outlives the master for a moment and kills what the workers left.
//!
//! The parent-death signal reaches a worker, but not the processes that a worker started (`sh -c`, `npm`). So the
//! guardian holds the reading end of a pipe, the lifeline. On it the master names the process groups that it starts and
//! reaps. When the master ends, for any reason, the pipe ends, and the guardian kills what is left of those groups.

#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::io::{self, PipeWriter, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};

use rustix::process::{Pid, Signal};

/// The default capacity of a pipe, in bytes.
const DEFAULT_PIPE: usize = 64 << 10;

/// The subcommand's name.
pub const COMMAND: &str = "guardian";

/// The master's end of the pipe, and the groups that the guardian knows.
#[derive(Debug)]
pub struct Lifeline {
    /// Non-blocking: a guardian that stands still must not block the spawner.
    pipe: PipeWriter,
    groups: BTreeSet<i32>,
    is_stuck: bool,
}

impl Lifeline {
    /// Starts a guardian from our own binary; it knows no group yet. Call it only on the spawner's thread, which also
    /// reaps the returned child.
    ///
    /// # Errors
    ///
    /// The pipe or the process could not be made.
    pub fn start() -> io::Result<(Self, Child)> {
        let (reader, pipe) = io::pipe()?;
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let child = Command::new("/proc/self/exe")
            .arg0("roundelay")
            .arg(COMMAND)
            .env_clear()
            .stdin(reader)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // In a group of its own: a Ctrl-C in the master's terminal must not reach it.
            .process_group(0)
            .spawn()?;
        Ok((Self::new(pipe), child))
    }

    fn new(pipe: PipeWriter) -> Self {
        Self { pipe, groups: BTreeSet::new(), is_stuck: false }
    }

    /// Names the groups that another lifeline knows. Enlarges the pipe for them, if the system allows it.
    pub fn take_over(&mut self, known: &BTreeSet<i32>) {
        let wanted = known.len().saturating_mul(2 * size_of::<i32>());
        if wanted > DEFAULT_PIPE {
            let _ = rustix::pipe::fcntl_setpipe_size(&self.pipe, wanted);
        }
        known.iter().for_each(|&group| self.add(group));
    }

    /// Returns true if the guardian has left thousands of numbers unread: it stands still, and knows fewer groups than
    /// it should. Kill it and replace it by one that is told all groups.
    pub fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    /// Names a group to kill if the master dies.
    pub fn add(&mut self, group: i32) {
        self.groups.insert(group);
        self.say(group);
    }

    /// Takes a group back. Call it before its leader is reaped: after that the number may belong to any other group.
    pub fn remove(&mut self, group: i32) {
        if self.groups.remove(&group) {
            self.say(-group);
        }
    }

    /// The groups that are named now.
    pub fn groups(&self) -> &BTreeSet<i32> {
        &self.groups
    }

    fn say(&mut self, number: i32) {
        if self.is_stuck {
            return;
        }
        // So few bytes are written as a whole or not at all (pipe(7)). A dead guardian is noticed by its exit and
        // replaced; the new one is then told all groups.
        if self.pipe.write(&number.to_ne_bytes()).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.is_stuck = true;
        }
    }
}

/// Waits for the master's end, then kills the groups that it left. Always returns success: no process is left that an
/// error could be reported to.
pub fn main() -> ExitCode {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGPIPE] {
        // SAFETY: SIG_IGN installs no handler, so no code of ours runs in signal context.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    for group in groups_left(io::stdin().lock()) {
        if let Some(group) = Pid::from_raw(group) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
    ExitCode::SUCCESS
}

/// Reads to the end of the lifeline: a positive number adds a group, its negative takes it back.
fn groups_left(mut lifeline: impl Read) -> BTreeSet<i32> {
    let mut groups = BTreeSet::new();
    let mut number = [0; 4];
    while lifeline.read_exact(&mut number).is_ok() {
        match i32::from_ne_bytes(number) {
            // Never 0 or 1: kill(2) reads group 0 as "my own group", and group 1, passed as -1, as "every process".
            group @ 2.. => {
                groups.insert(group);
            }
            gone => {
                groups.remove(&gone.saturating_neg());
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guardian_that_does_not_read_does_not_block() {
        let (reader, pipe) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&pipe, true).unwrap();
        let mut lifeline = Lifeline::new(pipe);
        (2..=20_000).for_each(|group| lifeline.add(group));
        (2..=100).for_each(|group| lifeline.remove(group));
        assert!(lifeline.is_stuck());
        // The next guardian is told all groups.
        let (again, pipe) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&pipe, true).unwrap();
        let mut next = Lifeline::new(pipe);
        next.take_over(lifeline.groups());
        assert!(!next.is_stuck());
        drop(next);
        assert_eq!(groups_left(again), (101..=20_000).collect());
        drop(reader);
    }

    #[test]
    fn only_groups_that_were_not_taken_back_are_left() {
        let said: Vec<u8> = [30, 40, -30, 0, 1, -1, 50, i32::MIN].into_iter().flat_map(i32::to_ne_bytes).collect();
        assert_eq!(groups_left(said.as_slice()), BTreeSet::from([40, 50]));
    }
}
