//! The public address may be IPv4, IPv6, both, several, or a path.

use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::kit::{Master, Setup, clients, get, get_unix, missing};

fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok() || missing("IPv6")
}

fn demo(listen: &[&str]) -> Setup {
    let flags: Vec<_> = listen.iter().flat_map(|&address| ["-l", address]).collect();
    Setup::new(&[&["demo", "-i", "2"], &flags[..]].concat())
}

#[track_caller]
fn is_served(address: SocketAddr) {
    let answer = get(address, "/").unwrap();
    assert!(answer.body.starts_with("hello from demo/"), "{address}: {answer:?}");
}

fn port(master: &Master, listener: usize) -> u16 {
    master.pool().listen[listener].parse::<SocketAddr>().unwrap().port()
}

#[test]
fn ipv4_address_is_served() {
    let master = demo(&["127.0.0.1:0"]).start_ready();
    is_served(([127, 0, 0, 1], port(&master, 0)).into());
}

#[test]
fn ipv6_address_is_served() {
    if !has_ipv6() {
        return;
    }
    let master = demo(&["[::1]:0"]).start_ready();
    assert!(master.address().is_ipv6());
    is_served(master.address());
}

#[test]
fn ipv6_wildcard_is_reached_by_both_families() {
    if !has_ipv6() {
        return;
    }
    let master = demo(&["[::]:0"]).start_ready();
    let port = port(&master, 0);
    is_served(([127, 0, 0, 1], port).into());
    is_served((std::net::Ipv6Addr::LOCALHOST, port).into());
}

#[test]
fn several_addresses_of_a_pool_share_one_rotation() {
    let setup = demo(&["127.0.0.1:0", "127.0.0.1:0"]);
    let path = setup.dir().join("public");
    let master = demo_with(setup, &path).start_ready();
    eventually_eq!(master.pool().listen.len(), 3);
    let addresses = [0, 1].map(|listener| SocketAddr::from(([127, 0, 0, 1], port(&master, listener))));
    assert_ne!(addresses[0], addresses[1]);
    let answers = clients(3, 60, |n| match n % 3 {
        2 => get_unix(&path, "/"),
        listener => get(addresses[listener], "/"),
    });
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200)), "{answers:?}");
    eventually!(master.workers().iter().all(|worker| worker.connections == Some(30)), "{:?}", master.workers());
}

/// Like `demo`, with a unix socket as one more address.
fn demo_with(setup: Setup, path: &Path) -> Setup {
    setup.arg("-l").arg(&format!("unix:{}", path.display()))
}

#[test]
fn unix_path_is_served_and_removed_with_the_master() {
    let setup = demo(&[]);
    let path = setup.dir().join("public");
    let mut master = demo_with(setup, &path).start_ready();
    eventually_eq!(master.pool().listen, [format!("unix:{}", path.display())]);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_ne!(mode & 0o600, 0);
    for _ in 0..4 {
        assert!(get_unix(&path, "/").unwrap().body.starts_with("hello from demo/"));
    }
    eventually!(master.workers().iter().all(|worker| worker.connections == Some(2)));
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn socket_of_a_killed_master_is_replaced() {
    let setup = demo(&[]);
    let path = setup.dir().join("public");
    let listen = format!("unix:{}", path.display());
    let mut first = demo_with(setup, &path).start_ready();
    first.signal("KILL");
    first.wait_end();
    assert!(std::fs::symlink_metadata(&path).unwrap().file_type().is_socket(), "a stale socket");
    let second = Setup::beside(&first, &["demo", "-i", "1", "-l", &listen]).start_ready();
    assert_eq!(get_unix(&path, "/").unwrap().status, 200);
    drop(second);
}

#[test]
fn path_of_another_program_is_refused_and_left_alone() {
    let refused = |setup: Setup, path: &Path| {
        let ended = demo_with(setup, path).run_to_end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let expected = format!("error: cannot listen on unix:{}", path.display());
        assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
        ended.stderr
    };
    let dir = tempfile::tempdir().unwrap();
    let (live, notes) = (dir.path().join("live"), dir.path().join("notes"));
    let _listener = UnixListener::bind(&live).unwrap();
    assert!(refused(demo(&[]), &live).contains("in use"));
    assert!(live.exists());
    std::fs::write(&notes, "precious").unwrap();
    assert!(refused(demo(&[]), &notes).contains("not a socket"));
    assert_eq!(std::fs::read_to_string(&notes).unwrap(), "precious");
}
