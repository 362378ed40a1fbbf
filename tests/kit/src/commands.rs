//! Commands that do not outlive their test, and their results.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use crate::wait_for;

/// The end of a command: its exit code and its output.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The text on standard output.
    pub stdout: String,
    /// The text on standard error.
    pub stderr: String,
}

/// Runs a command to its end, within the deadline.
#[track_caller]
pub fn run_to_end(command: &mut Command) -> Ended {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Threads read the output, because a full pipe would keep the command from ending.
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = |mut pipe: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let (out, err) = (read(Box::new(out)), read(Box::new(err)));
    // The command is killed with the test if it does not end.
    let mut child = Started(child);
    let status = wait_for("the command's end", || child.0.try_wait().unwrap());
    Ended { code: status.code(), stdout: out.join().unwrap(), stderr: err.join().unwrap() }
}

/// A child that does not outlive the test.
#[derive(Debug)]
pub struct Started(pub Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
