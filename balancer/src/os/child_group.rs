//! A child process that leads its own process group, for the tests of code that reads groups.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// A child that leads its own process group, killed with the group when dropped.
pub(in crate::os) struct ChildGroup(pub(in crate::os) Child);

impl ChildGroup {
    /// Starts a shell that runs `script`.
    pub(in crate::os) fn shell(script: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0).stdin(Stdio::null());
        Self(command.spawn().expect("sh"))
    }

    pub(in crate::os) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(in crate::os) fn signal(&self, signal: Signal) {
        kill_process_group(Pid::from_child(&self.0), signal).expect("group");
    }
}

impl Drop for ChildGroup {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.0.wait();
    }
}
