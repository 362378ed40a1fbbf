//! A queue outlives its program, and each error names the remedy.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::os::accept_queue::{QueueReader, Where};

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
