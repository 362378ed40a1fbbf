//! Duplicates another process's listening socket, so that its accept queue outlives that process.
//!
//! When the last holder of a listening socket ends, the kernel resets every connection that waits in its queue. A
//! duplicate taken while the worker lives (`pidfd_getfd`, Linux 5.6) is one more holder. After the worker's end the
//! connections are still there, with all bytes that clients have sent, and can be accepted.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use procfs::ProcError;
use procfs::process::{FDTarget, Process};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::inspect;

/// Returns a duplicate of the listening socket with this inode that a process of the group holds; close-on-exec.
///
/// It shares everything with the original but the number: do not set options on it, and do not accept from it while a
/// worker holds the socket too, see [`accept_all`].
///
/// Costs one pass over `/proc` and the descriptors of the group: milliseconds. Call it once for a listener, not in a
/// loop.
///
/// # Errors
///
/// No process of the group holds that socket, or we may not read any that does; the kernel refuses or lacks the call;
/// or the duplicate is another socket, or does not listen. The text names the case and the remedy.
pub fn duplicate_listener(group: u32, inode: u64) -> io::Result<OwnedFd> {
    let (mut unreadable, mut failed) = (None, None);
    for (process, _) in inspect::group(group) {
        match holding(&process, inode) {
            Ok(None) => {}
            Ok(Some(number)) => match duplicate(process.pid, number, inode) {
                Ok(listener) => return Ok(listener),
                Err(error) => failed = Some(error),
            },
            Err(error) => unreadable = Some(error),
        }
    }
    let nobody = || format!("no process of the group {group} holds socket {inode}");
    Err(failed.or(unreadable).unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, nobody())))
}

/// Returns true if a process of the group holds the socket with this inode.
///
/// # Errors
///
/// No process that we may read holds it, and one process may not be read.
pub fn is_held(group: u32, inode: u64) -> io::Result<bool> {
    let mut unreadable = None;
    for (process, _) in inspect::group(group) {
        match holding(&process, inode) {
            Ok(Some(_)) => return Ok(true),
            Ok(None) => {}
            Err(error) => unreadable = Some(error),
        }
    }
    unreadable.map_or(Ok(false), Err)
}

/// The number of the descriptor by which a process holds a socket, if it does.
fn holding(process: &Process, inode: u64) -> io::Result<Option<i32>> {
    let unreadable = |error: ProcError| match error {
        ProcError::PermissionDenied(_) => refused("the list of descriptors", process.pid, Errno::ACCESS),
        error => io::Error::other(format!("the list of descriptors of process {}: {error}", process.pid)),
    };
    let descriptors = match process.fd() {
        // The process has just ended.
        Err(ProcError::NotFound(_)) => return Ok(None),
        descriptors => descriptors.map_err(unreadable)?,
    };
    let mut same = descriptors.flatten().filter(|held| matches!(held.target, FDTarget::Socket(held) if held == inode));
    Ok(same.next().map(|held| held.fd))
}

/// The rights that both `/proc/PID/fd` and `pidfd_getfd` need (`PTRACE_MODE_ATTACH`, `ptrace(2)`).
const MAY_NOT: &str = "the master may not trace it. It must run as the same user without more privileges, or the master \
                       needs CAP_SYS_PTRACE; kernel.yama.ptrace_scope must be 0 or 1, and no seccomp filter in the way";

fn duplicate(pid: i32, number: i32, inode: u64) -> io::Result<OwnedFd> {
    let holder = Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
    let pidfd = pidfd_open(holder, PidfdFlags::empty()).map_err(|errno| refused("pidfd_open", pid, errno))?;
    let duplicate = pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty());
    let duplicate = duplicate.map_err(|errno| refused("pidfd_getfd", pid, errno))?;
    // The process may have ended, closed the number or used it anew since it was listed.
    let is_same = rustix::fs::fstat(&duplicate)?.st_ino == inode;
    if !is_same || !rustix::net::sockopt::socket_acceptconn(&duplicate).unwrap_or(false) {
        let what = if is_same { "does not listen any more" } else { "was closed while it was duplicated" };
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("socket {inode} of process {pid} {what}")));
    }
    Ok(duplicate)
}

/// An error that names the call that failed and the remedy.
fn refused(step: &str, pid: i32, errno: Errno) -> io::Error {
    let (kind, help) = match errno {
        Errno::PERM | Errno::ACCESS => (io::ErrorKind::PermissionDenied, MAY_NOT),
        Errno::NOSYS => (io::ErrorKind::Unsupported, "it needs Linux 5.6, or a seccomp filter that knows it"),
        Errno::SRCH | Errno::BADF => (io::ErrorKind::NotFound, "the process ended, or closed the socket"),
        Errno::MFILE | Errno::NFILE => (io::Error::from(errno).kind(), "no descriptor is left"),
        _ => (io::Error::from(errno).kind(), "the kernel refuses"),
    };
    io::Error::new(kind, format!("{step} of process {pid}: {} ({help})", io::Error::from(errno)))
}

/// The result of [`accept_all`].
#[derive(Debug)]
pub struct Accepted {
    /// The connections, oldest first, close-on-exec and non-blocking; with the client's address if it is TCP.
    pub connections: Vec<(OwnedFd, Option<SocketAddr>)>,
    /// The number of connections that had failed in the queue already: they have no client to serve.
    pub broken: usize,
    /// The reason why accepting ended.
    pub end: AcceptEnd,
}

/// The reason why [`accept_all`] ended.
#[derive(Debug)]
pub enum AcceptEnd {
    /// The queue is empty.
    Empty,
    /// The limit was reached; more may wait.
    Limit,
    /// The kernel refuses to go on, as when descriptors or memory are exhausted; more connections may wait. Try again
    /// once there is room.
    Refused(io::Error),
}

/// Accepts the connections that wait in the queue of a listener, at most `limit`, and never blocks.
///
/// **Only for a listener that no worker holds any more.** It sets O_NONBLOCK, and that flag belongs to the open socket,
/// not to a descriptor: a living worker that accepts in blocking threads would get errors. Besides, each connection
/// that we take from the queue of a living worker is lost to that worker.
///
/// Clients can still enter the queue until the last holder closes it. So clients must not be sent there any more by
/// then: a connection that comes between the last accept and that close is reset.
///
/// # Errors
///
/// The flag cannot be set; then nothing was accepted.
pub fn accept_all(listener: &OwnedFd, limit: usize) -> io::Result<Accepted> {
    rustix::io::ioctl_fionbio(listener, true)?;
    Ok(accept_some(listener, limit, || true))
}

/// Accepts the connections that wait in the queue of a listener, at most `limit`, while a living worker holds it too.
/// Each connection goes to one of the two.
///
/// The socket's flags stay as they are. If the socket is blocking and the worker accepts the last connection between
/// our poll and our accept, this blocks until another connection comes. So call it on a thread that may block, and
/// connect once to wake it if that takes too long.
pub fn accept_beside(listener: &OwnedFd, limit: usize) -> Accepted {
    let has_waiting = || {
        let mut asked = [PollFd::new(listener, PollFlags::IN)];
        poll(&mut asked, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    };
    accept_some(listener, limit, has_waiting)
}

/// Accepts while `has_waiting` returns true, the limit is not reached and the kernel has a connection.
fn accept_some(listener: &OwnedFd, limit: usize, has_waiting: impl Fn() -> bool) -> Accepted {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (mut connections, mut broken) = (Vec::new(), 0);
    let end = loop {
        if connections.len() + broken >= limit {
            break AcceptEnd::Limit;
        }
        if !has_waiting() {
            break AcceptEnd::Empty;
        }
        match rustix::net::acceptfrom_with(listener, flags) {
            Ok((connection, from)) => connections.push((connection, from.and_then(|from| from.try_into().ok()))),
            Err(Errno::AGAIN) => break AcceptEnd::Empty,
            Err(Errno::INTR) => {}
            Err(errno) if is_of_one_connection(errno) => broken += 1,
            Err(errno) => break AcceptEnd::Refused(errno.into()),
        }
    };
    Accepted { connections, broken, end }
}

/// Returns true for errors that concern only one connection: it was aborted while it waited, or has a network error
/// pending, which Linux reports by `accept` (`accept(2)`, "Error handling").
fn is_of_one_connection(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::CONNABORTED
            | Errno::PROTO
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH
            | Errno::PERM
    )
}

#[cfg(test)]
mod tests;
