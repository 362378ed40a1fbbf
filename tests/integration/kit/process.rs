//! Processes, looked at and ended by pid.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use super::wait_for;

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end, within the deadline.
#[track_caller]
pub(crate) fn run_to_end(command: &mut Command) -> Ended {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Read on threads, or a full pipe would keep the command from ending.
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = |mut pipe: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let (out, err) = (read(Box::new(out)), read(Box::new(err)));
    let status = wait_for("the command's end", || child.try_wait().unwrap());
    Ended { code: status.code(), stdout: out.join().unwrap(), stderr: err.join().unwrap() }
}

/// Sends a signal (`TERM`, `KILL`, `STOP`, ...) to a process, or with a negative pid to a group.
pub(crate) fn kill(pid: i64, signal: &str) {
    let status = Command::new("kill").args(["-s", signal, "--", &pid.to_string()]).stderr(Stdio::null()).status();
    status.unwrap();
}

/// True while the process exists and is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields.first().is_some_and(|state| state != "Z" && state != "X"))
}

/// The fields of `/proc/PID/stat` after the command: state, parent, group, ...
pub(crate) fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Kills a child whatever it does, and reaps it.
pub(crate) fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
