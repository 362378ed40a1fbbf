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
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use tokio::time::Instant;

    use super::super::accept_queue::{QueueReader, Where};
    use super::*;

    fn inode(socket: impl AsFd) -> u64 {
        File::from(socket.as_fd().try_clone_to_owned().unwrap()).metadata().unwrap().ino()
    }

    fn own_group() -> u32 {
        rustix::process::getpgrp().as_raw_nonzero().get() as u32
    }

    #[test]
    fn duplicate_keeps_queue_of_closed_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let duplicate = duplicate_listener(own_group(), inode(&listener)).unwrap();
        assert!(rustix::io::fcntl_getfd(&duplicate).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        let mut clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        drop(listener);
        wait_queued(Where::Tcp(address), 3);

        let first = accept_all(&duplicate, 2).unwrap();
        assert!(first.connections.len() == 2 && matches!(first.end, AcceptEnd::Limit), "{first:?}");
        let mut accepted = first.connections;
        accepted.extend(accept_all(&duplicate, 100).unwrap().connections);
        let peers: Vec<_> = accepted.iter().map(|(_, peer)| peer.unwrap()).collect();
        assert_eq!(peers, clients.iter().map(|client| client.local_addr().unwrap()).collect::<Vec<_>>());
        drop(accepted);
        assert_eq!(clients[0].read(&mut [0; 8]).unwrap(), 0, "a connection closed, not reset");
    }

    /// Waits until `count` connections are queued: a handshake may finish a moment after the client believes that it is
    /// connected.
    fn wait_queued(place: Where<'_>, count: u32) {
        let mut reader = QueueReader::new().unwrap();
        let mut look = || reader.look(&[place]).remove(0).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while look()[0].queued < count {
            assert!(Instant::now() < deadline, "{:?}", look());
        }
    }

    #[test]
    fn socket_not_listening_in_group_is_refused_with_reason() {
        let client = TcpListener::bind("127.0.0.1:0").and_then(|one| TcpStream::connect(one.local_addr()?)).unwrap();
        let text = |group, inode| duplicate_listener(group, inode).unwrap_err().to_string();
        assert!(text(own_group(), inode(&client)).contains("does not listen"));
        let mut group = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let nobody = [text(group.id(), inode(&client)), text(u32::MAX, 1)];
        let _ = (group.kill(), group.wait());
        assert!(nobody.iter().all(|text| text.contains("no process of the group")), "{nobody:?}");
    }

    #[test]
    fn missing_right_and_old_kernel_errors_say_what_helps() {
        let may_not = refused("pidfd_getfd", 7, Errno::PERM);
        assert!(may_not.to_string().contains("CAP_SYS_PTRACE") && may_not.kind() == io::ErrorKind::PermissionDenied);
        let old = refused("pidfd_open", 7, Errno::NOSYS);
        assert!(old.to_string().contains("Linux 5.6") && old.kind() == io::ErrorKind::Unsupported);
    }

    #[test]
    fn socket_that_does_not_listen_ends_accepting() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let accepted = accept_all(&socket.into(), 100).unwrap();
        assert!(accepted.connections.is_empty() && matches!(accepted.end, AcceptEnd::Refused(_)), "{accepted:?}");
    }

    /// A program that listens and accepts nothing.
    const HOLDER: &str = r#"
import socket, sys, time
s = socket.socket(socket.AF_UNIX if "/" in sys.argv[1] else socket.AF_INET)
s.bind(sys.argv[1] if "/" in sys.argv[1] else ("127.0.0.1", 0))
s.listen(100)
print(s.getsockname() if "/" in sys.argv[1] else s.getsockname()[1], flush=True)
time.sleep(600)
"#;

    /// The program in its own process group, and the address where it listens; None if it cannot run here. Killed with
    /// the test.
    struct Holder(Child, String);

    impl Holder {
        fn start(at: &str) -> Option<Self> {
            let mut command = Command::new("python3");
            command.args(["-c", HOLDER, at]).process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
            let Ok(mut child) = command.spawn() else {
                assert!(std::env::var_os("ROUNDELAY_REQUIRE_ALL").is_none_or(|all| all != "1"), "python3 is required");
                println!("skipped: needs python3");
                return None;
            };
            let mut line = String::new();
            io::BufRead::read_line(&mut io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
            Some(Self(child, line.trim().to_owned()))
        }
    }

    impl Drop for Holder {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Queues three clients that have sent a line, kills the holder and returns what is in its queue.
    fn recovered(holder: Holder, place: Where<'_>, mut connect: impl FnMut(usize)) -> Vec<String> {
        let mut reader = QueueReader::new().unwrap();
        let mut look = || reader.look(&[place]).remove(0).unwrap();
        let inode = look()[0].inode;
        let duplicate = duplicate_listener(holder.0.id(), inode).unwrap();
        (0..3).for_each(&mut connect);
        let deadline = Instant::now() + Duration::from_secs(20);
        while look()[0].queued < 3 {
            assert!(Instant::now() < deadline, "{:?}", look());
        }
        // The program is killed and reaped: only we hold the socket now.
        drop(holder);
        assert_eq!(look()[0].queued, 3, "the queue outlives its program");
        let accepted = accept_all(&duplicate, 100).unwrap();
        assert!(matches!(accepted.end, AcceptEnd::Empty) && accepted.broken == 0, "{accepted:?}");
        let read = |(connection, _): (OwnedFd, _)| {
            rustix::io::ioctl_fionbio(&connection, false).unwrap();
            let mut bytes = [0; 64];
            let count = File::from(connection).read(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..count]).into_owned()
        };
        accepted.connections.into_iter().map(read).collect()
    }

    const LINES: [&str; 3] = ["I am 0", "I am 1", "I am 2"];

    #[test]
    fn killed_program_tcp_queue_is_recovered_with_bytes() {
        let Some(holder) = Holder::start("tcp") else { return };
        let address = SocketAddr::from(([127, 0, 0, 1], holder.1.parse().unwrap()));
        let mut clients = Vec::new();
        let connect = |i: usize| {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(LINES[i].as_bytes()).unwrap();
            clients.push(client);
        };
        assert_eq!(recovered(holder, Where::Tcp(address), connect), LINES);
    }

    #[test]
    fn killed_program_unix_queue_is_recovered_with_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.sock");
        let Some(holder) = Holder::start(path.to_str().unwrap()) else { return };
        let mut clients = Vec::new();
        let connect = |i: usize| {
            let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
            client.write_all(LINES[i].as_bytes()).unwrap();
            clients.push(client);
        };
        assert_eq!(recovered(holder, Where::Unix(&path), connect), LINES);
    }
}
