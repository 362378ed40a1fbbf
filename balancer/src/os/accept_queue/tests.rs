//! Real queues of the kernel.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::time::Instant;

use super::*;

fn reader() -> QueueReader {
    let reader = QueueReader::new().unwrap();
    if reader.tcp.is_none() || reader.unix.is_none() {
        assert!(std::env::var_os("ROUNDELAY_REQUIRE_ALL").is_none_or(|all| all != "1"), "sock_diag is required");
        println!("skipped in part: needs netlink sock_diag");
    }
    reader
}

fn inode(socket: impl AsFd) -> u64 {
    std::fs::File::from(socket.as_fd().try_clone_to_owned().unwrap()).metadata().unwrap().ino()
}

/// Waits until the queues at `place` hold as many as `expected`, one number for each listener, in any order.
///
/// A handshake may finish a moment after the client believes that it is connected.
fn expect(reader: &mut QueueReader, place: Where<'_>, expected: &[u32]) -> Vec<Listening> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let seen = reader.look(&[place]).remove(0).unwrap();
        let mut queued: Vec<_> = seen.iter().map(|listening| listening.queued).collect();
        queued.sort();
        if queued == expected {
            return seen;
        }
        assert!(Instant::now() < deadline, "{place:?}: expected {expected:?}, saw {seen:?}");
    }
}

/// Checks that the queue of a listener at `at`, as seen at `address`, grows by three and shrinks with each accept.
fn follows(mut reader: QueueReader, at: &str, host: &str) {
    let listener = TcpListener::bind(at).unwrap();
    let address = SocketAddr::new(host.parse().unwrap(), listener.local_addr().unwrap().port());
    let place = Where::Tcp(address);
    expect(&mut reader, place, &[0]);
    let clients = [(); 3].map(|()| TcpStream::connect(address).unwrap());
    let seen = expect(&mut reader, place, &[3]);
    assert_eq!(seen[0].inode, inode(&listener));
    assert!(seen[0].limit.is_none_or(|limit| limit > 0), "{seen:?}");
    for left in (0..3).rev() {
        listener.accept().unwrap();
        expect(&mut reader, place, &[left]);
    }
    drop((clients, listener));
    expect(&mut reader, place, &[]);
}

#[test]
fn queue_length_counts_connections_not_accepted_yet() {
    for (at, host) in
        [("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1")]
    {
        follows(reader(), at, host);
    }
}

#[test]
fn refused_netlink_reads_tcp_from_proc_and_fails_for_unix() {
    let refused = || QueueReader { tcp: None, unix: None };
    follows(refused(), "127.0.0.1:0", "127.0.0.1");
    follows(refused(), "[::1]:0", "::1");
    let answers = refused().look(&[Where::Unix(Path::new("/tmp/a")), Where::Unix(Path::new("/tmp/b"))]);
    for answer in answers {
        let error = answer.unwrap_err();
        assert!(error.kind() == io::ErrorKind::Unsupported && error.to_string().contains("sock_diag"), "{error}");
    }
}

#[test]
fn each_listener_that_shares_a_port_has_its_own_queue() {
    let shared = |port: u16| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
        socket.listen(1000).unwrap();
        TcpListener::from(socket)
    };
    let first = shared(0);
    let address = first.local_addr().unwrap();
    let both = [shared(address.port()), first];
    let clients: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut reader = reader();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let seen = reader.tcp(address).unwrap();
        assert_eq!(seen.len(), 2);
        assert!(both.iter().all(|listener| seen.iter().any(|seen| seen.inode == inode(listener))), "{seen:?}");
        if seen.iter().map(|seen| seen.queued as usize).sum::<usize>() == clients.len() {
            break assert!(seen.iter().all(|seen| seen.queued > 0), "the kernel gave all to one: {seen:?}");
        }
        assert!(Instant::now() < deadline, "{seen:?}");
    }
}

#[test]
fn unix_listener_is_found_by_path_and_by_link() {
    let mut reader = reader();
    if reader.unix.is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (path, link) = (dir.path().join("app.sock"), dir.path().join("link.sock"));
    let listener = UnixListener::bind(&path).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let clients = [(); 3].map(|()| UnixStream::connect(&path).unwrap());
    let seen = expect(&mut reader, Where::Unix(&path), &[3]);
    assert_eq!(seen[0].inode, inode(&listener));
    assert_eq!(reader.unix(&link).unwrap(), seen);
    listener.accept().unwrap();
    expect(&mut reader, Where::Unix(&path), &[2]);
    drop((clients, listener));
    // The file is still there, but no socket listens.
    expect(&mut reader, Where::Unix(&path), &[]);
}

/// Go opens multipath listeners where the kernel supports them.
#[test]
fn multipath_listener_is_seen_like_any_other() {
    const MPTCP: Protocol = Protocol::MPTCP;
    let Ok(socket) = Socket::new(Domain::IPV4, Type::STREAM, Some(MPTCP)) else {
        println!("skipped: needs a kernel with MPTCP");
        return;
    };
    socket.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
    socket.listen(10).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _client = TcpStream::connect(address).unwrap();
    let mut reader = reader();
    let seen = expect(&mut reader, Where::Tcp(address), &[1]);
    assert_eq!(seen[0].inode, inode(&socket));
    socket.accept().unwrap();
    expect(&mut reader, Where::Tcp(address), &[0]);
}

#[test]
fn many_listeners_are_read_at_once_in_order() {
    // More listeners than fit into the first part of an answer, since the kernel makes a part as long as the previous
    // read.
    let mut reader = QueueReader { tcp: Netlink::new().ok(), unix: reader().unix };
    let listeners: Vec<_> = (0..200).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    let mut places: Vec<_> = addresses.iter().map(|&address| Where::Tcp(address)).collect();
    places.insert(7, Where::Unix(Path::new("/nowhere/app.sock")));
    let seen = reader.look(&places);
    assert_eq!(seen.len(), 201);
    for (i, listener) in listeners.iter().enumerate() {
        let seen = seen[if i < 7 { i } else { i + 1 }].as_ref().unwrap();
        assert_eq!(seen.iter().map(|seen| seen.inode).collect::<Vec<_>>(), [inode(listener)]);
    }
    assert!(seen[7].as_ref().is_ok_and(Vec::is_empty) || reader.unix.is_none());
}

#[test]
fn listener_takes_addresses_that_it_includes() {
    let takes = |bound: &str, wanted: &str| takes(bound.parse().unwrap(), false, wanted.parse().unwrap());
    assert!(takes("127.0.0.1:80", "127.0.0.1:80") && takes("0.0.0.0:80", "127.0.0.1:80"));
    assert!(takes("[::]:80", "[::1]:80") && takes("[::]:80", "127.0.0.1:80"));
    assert!(takes("[::ffff:127.0.0.1]:80", "127.0.0.1:80") && takes("127.0.0.1:80", "0.0.0.0:80"));
    assert!(!takes("127.0.0.1:80", "127.0.0.1:81") && !takes("127.0.0.2:80", "127.0.0.1:80"));
    assert!(!takes("0.0.0.0:80", "[::1]:80") && !takes("127.0.0.1:80", "[::1]:80"));
    assert!(!super::takes("[::]:80".parse().unwrap(), true, "127.0.0.1:80".parse().unwrap()), "IPV6_V6ONLY");
}
