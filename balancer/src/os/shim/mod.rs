//! `roundelay exec-worker`: the process between fork and the worker's own program.
//!
//! The spawner starts our own binary, not the program. Between `fork` and `exec` of a threaded process hardly anything
//! is allowed, and only the child itself can set `LISTEN_PID` and the parent-death signal. The shim is a whole
//! single-threaded process and can do both in plain Rust. Its standard input is the status pipe: on a failure it writes
//! the stage and the errno there; on success `exec` closes the pipe.
//!
//! The order matters. Limits and sockets need the master's rights, so they come before the privileges are dropped. The
//! working directory and the program belong to the worker, so they come after. The parent-death signal comes last,
//! since a change of credentials clears it.

#![allow(unsafe_code)]

mod privileges;
mod spawn_spec;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Resource, Rlimit, Signal};
use worker_runtime::protocol::{self, FIRST_LISTEN_FD};

use super::child::CoreLimit;
pub use spawn_spec::SpawnSpec;

/// The subcommand's name.
pub const COMMAND: &str = "exec-worker";

/// Becomes the worker. Returns only if that failed.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(spawn_spec) = SpawnSpec::parse(args) else {
        let _ = writeln!(io::stderr(), "error: `{COMMAND}` is for the master's own use");
        return ExitCode::from(crate::failure::code::USAGE);
    };
    let status = match take_status_pipe(first_undeclared(&spawn_spec)) {
        Ok(status) => status,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {COMMAND} has no status pipe\ncause: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (stage, error) = become_worker(&spawn_spec);
    let line = format!("{stage} {}\n", error.raw_os_error().unwrap_or(libc::EIO));
    // One write: the spawner reads once, and what it has not read by then ends us with SIGPIPE instead.
    let _ = (&status).write_all(line.as_bytes());
    ExitCode::from(127)
}

/// The first descriptor that the program must not have.
fn first_undeclared(spawn_spec: &SpawnSpec) -> RawFd {
    RawFd::try_from(spawn_spec.inherit.len()).map_or(RawFd::MAX, |count| FIRST_LISTEN_FD.saturating_add(count))
}

/// Moves the status pipe from standard input, which becomes `/dev/null`, to a number above the inherited descriptors.
fn take_status_pipe(above: RawFd) -> io::Result<File> {
    let status = rustix::io::fcntl_dupfd_cloexec(io::stdin().as_fd(), above)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(File::from(status))
}

/// Replaces this process by the worker's program. Returns only on failure: the stage and the error.
fn become_worker(spawn_spec: &SpawnSpec) -> (&'static str, io::Error) {
    // Before the change of credentials: only the master's rights can raise a limit above the inherited one.
    if let Err(error) = set_limits(spawn_spec.nofile, spawn_spec.core) {
        return ("limits", error);
    }
    if let Err(error) = place_inherited(&spawn_spec.inherit, first_undeclared(spawn_spec)) {
        return ("sockets", error);
    }
    close_undeclared(first_undeclared(spawn_spec));
    // With the master's rights, as an inherited directory would be. If a deploy removed it, the worker starts in what
    // is left of the master's own directory, which is enough for a program with an absolute path.
    if let Some(dir) = &spawn_spec.start_dir
        && let Err(error) = std::env::set_current_dir(dir)
    {
        let _ =
            writeln!(io::stderr(), "warning: cannot start in {}, where the master was started: {error}", dir.display());
    }
    if let Err(failed) = privileges::shed(spawn_spec.credentials.as_ref(), spawn_spec.no_new_privs) {
        return failed;
    }
    // As the worker's user, which must be permitted to enter it.
    if let Some(cwd) = &spawn_spec.cwd
        && let Err(error) = std::env::set_current_dir(cwd)
    {
        return ("chdir", error);
    }
    // Last before exec: a change of credentials would clear it. The check after it closes the gap in which the master
    // died before we asked for the signal.
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return ("parent", error.into());
    }
    if rustix::process::getppid().map(Pid::as_raw_pid) != Some(spawn_spec.parent) {
        return ("parent", io::Error::from_raw_os_error(libc::ESRCH));
    }
    super::signals::reset();
    let mut program = Command::new(&spawn_spec.program);
    program.args(&spawn_spec.args);
    if spawn_spec.has_listeners && !spawn_spec.inherit.is_empty() {
        // The pid is known only here, and exec keeps it.
        program.env(protocol::LISTEN_PID, std::process::id().to_string());
    }
    ("exec", program.exec())
}

fn set_limits(nofile: Option<u64>, core: Option<CoreLimit>) -> io::Result<()> {
    if let Some(soft) = nofile {
        let now = rustix::process::getrlimit(Resource::Nofile);
        let maximum = now.maximum.map(|hard| hard.max(soft));
        rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum })?;
    }
    if let Some(core) = core {
        let both = match core {
            CoreLimit::Bytes(bytes) => Some(bytes),
            CoreLimit::Unlimited => None,
        };
        rustix::process::setrlimit(Resource::Core, Rlimit { current: both, maximum: both })?;
    }
    Ok(())
}

/// Moves the inherited descriptors to 3 and on, without close-on-exec.
fn place_inherited(inherit: &[RawFd], above: RawFd) -> io::Result<()> {
    let check = |result: RawFd| if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) };
    // All are first moved away, since the target number of one may be the present number of another.
    // SAFETY: fcntl and dup2 take numbers and touch no memory; a number that is no descriptor gives EBADF. Nothing in
    // this single-threaded process owns the numbers from 3 that are overwritten, save the status pipe, which is above.
    let moved = inherit.iter().map(|&fd| check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, above) }));
    let moved = moved.collect::<io::Result<Vec<_>>>()?;
    for (fd, place) in moved.into_iter().zip(FIRST_LISTEN_FD..) {
        // SAFETY: as above.
        check(unsafe { libc::dup2(fd, place) })?;
    }
    Ok(())
}

/// Marks every descriptor from `first` on close-on-exec, from whatever source: workers get 0, 1, 2 and the declared
/// ones.
fn close_undeclared(first: RawFd) {
    // SAFETY: close_range with CLOSE_RANGE_CLOEXEC closes nothing now, it only sets a flag; no memory is passed.
    // On a kernel without it (before 5.11) the call fails and each descriptor's own flag has to do.
    unsafe {
        libc::syscall(libc::SYS_close_range, first.unsigned_abs(), u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
}
