//! Against the kernel of this machine.

use std::net::{Shutdown, TcpStream};

use socket2::SockRef;
use tokio::time::Instant;

use super::*;

const COUNT: usize = 4;
/// Connections of one try: by the kernel's hash all of them would go to one of four in one of 65,536 tries.
const TRIES: usize = 9;

fn group(address: &str) -> Group {
    Group::bind(&address.parse().unwrap(), COUNT, 64, Duration::from_secs(60), false).unwrap()
}

/// Connects some times and says how many came to each member.
fn spread(group: &Group, tries: usize) -> Vec<usize> {
    let clients: Vec<_> = (0..tries).map(|_| TcpStream::connect(group.way_in()).unwrap()).collect();
    let mut came = vec![0; COUNT];
    let deadline = Instant::now() + Duration::from_secs(20);
    while came.iter().sum::<usize>() < tries {
        assert!(Instant::now() < deadline, "{came:?} of {tries}");
        for (slot, came) in came.iter_mut().enumerate() {
            while let Some((_, from)) = group.member(slot).unwrap().accept_waiting().unwrap() {
                assert!(clients.iter().any(|client| client.local_addr().ok() == from || from.unwrap().is_ipv6()));
                *came += 1;
            }
        }
    }
    came
}

/// Steers to each in turn, and to all but one.
fn is_steered(group: &mut Group) {
    for slot in 0..COUNT {
        group.set_eligible(&[slot]).unwrap();
        let mut expected = vec![0; COUNT];
        expected[slot] = TRIES;
        assert_eq!(spread(group, TRIES), expected, "to {slot}");
        let others: Vec<_> = (0..COUNT).filter(|&other| other != slot).collect();
        group.set_eligible(&others).unwrap();
        let came = spread(group, 40);
        assert!(came[slot] == 0 && others.iter().all(|&other| came[other] > 0), "to all but {slot}: {came:?}");
    }
}

fn shut_down(group: &Group, slot: usize) {
    SockRef::from(group.member(slot).unwrap()).shutdown(Shutdown::Read).unwrap();
    assert!(!group.member(slot).unwrap().is_listening());
}

const ADDRESSES: [&str; 4] = ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"];

#[test]
fn only_eligible_members_get_connections() {
    for address in ADDRESSES {
        is_steered(&mut group(address));
    }
}

#[test]
fn only_eligible_members_get_connections_after_a_revival() {
    for address in ADDRESSES {
        let mut group = group(address);
        for gone in [&[1][..], &[0], &[3], &[0], &[2]] {
            gone.iter().for_each(|&slot| shut_down(&group, slot));
            let found = group.revive(64);
            assert!(!found.has_lost_order && found.members.iter().all(|(_, listens)| listens.is_ok()), "{found:?}");
            assert_eq!(found.members.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), gone);
            is_steered(&mut group);
        }
    }
}

#[test]
fn revived_member_that_is_alone_eligible_gets_all_connections() {
    let mut group = group("127.0.0.1:0");
    group.set_eligible(&[1]).unwrap();
    shut_down(&group, 1);
    group.revive(64);
    assert_eq!(spread(&group, TRIES), [0, TRIES, 0, 0]);
}

#[test]
fn lost_order_makes_every_member_eligible() {
    let mut group = group("127.0.0.1:0");
    group.set_eligible(&[2]).unwrap();
    // One after the other, without a look in between.
    shut_down(&group, 1);
    shut_down(&group, 0);
    let found = group.revive(64);
    assert!(found.has_lost_order && found.members.len() == 2, "{found:?}");
    assert!(!group.revive(64).has_lost_order, "it is said once");
    let came = spread(&group, 80);
    assert!(came.iter().all(|&came| came > 0), "{came:?}");
}

#[test]
fn foreign_socket_of_the_group_gets_no_connection() {
    let mut group = group("127.0.0.1:0");
    let stranger = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
    stranger.set_reuse_port(true).unwrap();
    stranger.bind(&group.way_in().into()).unwrap();
    stranger.listen(64).unwrap();
    group.set_eligible(&[0, 1, 2, 3]).unwrap();
    let came = spread(&group, 80);
    assert!(came.iter().all(|&came| came > 0), "{came:?}");
    assert_eq!(stranger.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn empty_selection_makes_every_member_eligible() {
    let mut group = group("127.0.0.1:0");
    for _ in 0..2 {
        let came = spread(&group, 80);
        assert!(came.iter().all(|&came| came > 0), "{came:?}");
        group.set_eligible(&[]).unwrap();
    }
}

#[test]
fn foreign_listener_is_an_error_even_with_reuseport() {
    let first = group("127.0.0.1:0");
    let again = Group::bind(first.address(), COUNT, 64, Duration::ZERO, false).unwrap_err();
    assert_eq!(again.source.kind(), io::ErrorKind::AddrInUse);
    let alone = Listener::bind(first.address(), 64, Duration::ZERO, false).unwrap_err();
    assert_eq!(alone.source.kind(), io::ErrorKind::AddrInUse);

    let single = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 64, Duration::ZERO, false).unwrap();
    let group = Group::bind(single.address(), COUNT, 64, Duration::ZERO, false).unwrap_err();
    assert_eq!(group.source.kind(), io::ErrorKind::AddrInUse);
    assert!(Group::bind(&"unix:/nowhere".parse().unwrap(), COUNT, 64, Duration::ZERO, false).is_err());
}

#[test]
fn wildcard_is_reached_by_loopback() {
    let way = |bound: &str, v6_only| way_in(bound.parse().unwrap(), v6_only).to_string();
    assert_eq!(way("0.0.0.0:80", false), "127.0.0.1:80");
    assert_eq!((way("[::]:80", false), way("[::]:80", true)), ("127.0.0.1:80".into(), "[::1]:80".into()));
    assert_eq!((way("10.0.0.1:80", false), way("[fe80::1]:80", false)), ("10.0.0.1:80".into(), "[fe80::1]:80".into()));
}
