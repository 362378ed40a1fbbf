//! Finds and reaps our children by their pidfds, and finds the next dead one.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus};

use crate::os::child::Exit;

/// Kills and reaps a child that no other code would look after.
pub(super) fn abandon(child: &mut std::process::Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The pid and the pidfd of a child of ours that was not reaped yet.
pub(super) fn identify(pid: u32) -> io::Result<(Pid, OwnedFd)> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    Ok((pid, rustix::process::pidfd_open(pid, PidfdFlags::empty())?))
}

/// The exit of a child, without reaping it; `None` if it has not ended.
pub(super) fn peek(pidfd: &OwnedFd) -> Option<Exit> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let status = rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options));
    status.ok().flatten().map(|status| exit(&status))
}

/// Reaps a child that has ended, and returns its exit.
pub(super) fn reap(pidfd: &OwnedFd) -> Exit {
    let status =
        rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
    // If other code has reaped it, its exit is not known.
    status.ok().flatten().map_or(Exit::Code(-1), |status| exit(&status))
}

fn exit(status: &WaitIdStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(-1),
    }
}

/// Returns a dead child of this process, without reaping it. `nix` would fail here for a child that died by a real-time
/// signal, and `rustix` does not tell the pid.
pub(super) fn next_dead() -> Option<Pid> {
    // SAFETY: `info` is a valid siginfo_t for the call to fill in; zeroed is what waitid wants to tell "nobody" by pid 0.
    let (result, info) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        (libc::waitid(libc::P_ALL, 0, &raw mut info, options), info)
    };
    // SAFETY: after a waitid that succeeded the union holds the SIGCHLD fields, of which si_pid is one.
    (result == 0).then(|| unsafe { info.si_pid() }).and_then(Pid::from_raw)
}
