use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::channel::node::query::AddressType;

const OPEN: Policy = Policy { public: false, public_is_tcp: true, may_bind_low_ports: false, may_bind_paths: false };
const PUBLISHED: Policy = Policy { public: true, ..OPEN };

fn worker(slot: u32, incarnation: u64) -> WorkerId {
    WorkerId { slot, incarnation }
}

/// `listen(port)`.
fn port(port: i32) -> Query {
    let address_type = AddressType::Ipv4;
    Query {
        seq: 1,
        address: None,
        port: Some(port),
        address_type,
        fd: None,
        index: 0,
        flags: 0,
        backlog: None,
        data: Value::Null,
    }
}

/// `listen(port, address)`.
fn at(address: &str, number: i32) -> Query {
    Query { address: Some(address.into()), ..port(number) }
}

fn path(path: &str) -> Query {
    Query { address_type: AddressType::Unix, ..at(path, -1) }
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

/// Why it is refused: the number, and the text.
fn refused(doors: &mut Doors, query: &Query) -> (i32, String) {
    match doors.ask(worker(0, 1), query) {
        Decision::Refuse { key, errno, why } => {
            assert_eq!(key, query.key());
            (errno, why)
        }
        other => panic!("{query:?}: {other:?}"),
    }
}

fn key(decision: &Decision) -> &str {
    match decision {
        Decision::Mapped { key, .. }
        | Decision::Join { key, .. }
        | Decision::Bind { key, .. }
        | Decision::Wait { key }
        | Decision::Refuse { key, .. } => key,
    }
}

/// Asks, and opens what is to be opened.
fn listen(doors: &mut Doors, worker: WorkerId, query: &Query) -> Decision {
    let decision = doors.ask(worker, query);
    if let Decision::Bind { key, .. } = &decision {
        let door = query.port.and_then(|port| u32::try_from(port).ok()).unwrap_or(9);
        doors.bound(key, door, address("[::]:1"));
    }
    decision
}

#[test]
fn the_first_to_ask_opens_and_the_others_join() {
    let mut doors = Doors::new(OPEN);
    let bind = Decision::Bind {
        key: "null:3000:4:undefined".into(),
        address: Where::Tcp {
            address: "[::]:3000".parse().unwrap(),
            v6_only: false,
            fallback: address("0.0.0.0:3000"),
        },
        backlog: 511,
    };
    assert_eq!(doors.ask(worker(0, 1), &port(3000)), bind);
    let key = || key(&bind).to_owned();
    assert_eq!(doors.ask(worker(1, 1), &port(3000)), Decision::Wait { key: key() }, "it is not there yet");
    assert!(doors.doors_of(worker(0, 1)).is_empty());
    doors.bound(&key(), 7, address("[::]:3000"));
    let join = Decision::Join { key: key(), door: 7, sockname: address("[::]:3000"), data: Value::Null };
    assert_eq!(doors.ask(worker(1, 1), &port(3000)), join);
    for slot in [0, 1] {
        assert_eq!(doors.doors_of(worker(slot, 1)), [7]);
        assert_eq!(doors.key_of(worker(slot, 1), 7), Some("null:3000:4:undefined"));
        assert_eq!(doors.key_of(worker(slot, 1), PUBLIC), None);
    }
}

#[test]
fn what_could_not_be_opened_was_never_asked_for() {
    let mut doors = Doors::new(OPEN);
    for _ in 0..2 {
        let decision = doors.ask(worker(0, 1), &port(3000));
        assert!(matches!(decision, Decision::Bind { .. }), "{decision:?}");
        doors.not_bound(key(&decision));
    }
    assert!(matches!(doors.ask(worker(1, 1), &port(3000)), Decision::Bind { .. }));
}

#[test]
fn a_public_address_belongs_to_each_workers_first_server_whatever_it_names() {
    let mut doors = Doors::new(PUBLISHED);
    let mapped = |key: &str, sockname| Decision::Mapped { key: key.into(), sockname, data: Value::Null };
    assert_eq!(listen(&mut doors, worker(0, 1), &port(3000)), mapped("null:3000:4:undefined", address("[::]:3000")));
    assert!(matches!(listen(&mut doors, worker(0, 1), &port(9100)), Decision::Bind { .. }));
    // Of the same release, with its servers in another order.
    assert!(matches!(listen(&mut doors, worker(1, 1), &port(9100)), Decision::Join { door: 9100, .. }));
    assert!(matches!(listen(&mut doors, worker(1, 1), &port(3000)), Decision::Mapped { .. }));
    // Of a release that moved: nothing is opened, so any address will do.
    let moved = at("10.0.0.5", 80);
    assert_eq!(listen(&mut doors, worker(0, 2), &moved), mapped("10.0.0.5:80:4:undefined", address("10.0.0.5:80")));
    for worker in [worker(0, 1), worker(1, 1), worker(0, 2)] {
        assert!(doors.doors_of(worker).contains(&PUBLIC));
    }
    assert_eq!(doors.key_of(worker(0, 2), PUBLIC), Some("10.0.0.5:80:4:undefined"));
    assert_eq!(doors.key_of(worker(0, 1), 9100), Some("null:9100:4:undefined"));
}

#[test]
fn server_on_a_path_is_never_the_public_one_where_that_is_tcp() {
    let pipe = path("/run/tool.sock");
    for (public_is_tcp, is_public) in [(true, false), (false, true)] {
        let mut doors = Doors::new(Policy { public_is_tcp, may_bind_paths: true, ..PUBLISHED });
        let decision = listen(&mut doors, worker(0, 1), &pipe);
        assert_eq!(matches!(decision, Decision::Mapped { .. }), is_public, "{decision:?}");
        assert_eq!(doors.serves_public(worker(0, 1)), is_public);
        listen(&mut doors, worker(0, 1), &port(3000));
        assert!(doors.serves_public(worker(0, 1)), "its first server on a port does");
    }
}

#[test]
fn a_closed_first_server_can_be_opened_again_and_no_other_takes_its_place() {
    let mut doors = Doors::new(PUBLISHED);
    let first = listen(&mut doors, worker(0, 1), &port(3000));
    doors.closed(worker(0, 1), key(&first));
    assert_eq!((doors.doors_of(worker(0, 1)), doors.key_of(worker(0, 1), PUBLIC)), (vec![], None));
    assert!(matches!(listen(&mut doors, worker(0, 1), &port(9100)), Decision::Bind { .. }));
    assert_eq!(listen(&mut doors, worker(0, 1), &port(3000)), first);
    assert_eq!(doors.doors_of(worker(0, 1)), [PUBLIC, 9100]);
}

#[test]
fn a_key_that_is_public_for_one_worker_and_private_for_another_is_two_doors() {
    let mut doors = Doors::new(PUBLISHED);
    listen(&mut doors, worker(0, 1), &port(3000));
    listen(&mut doors, worker(0, 2), &port(4000));
    assert!(matches!(listen(&mut doors, worker(0, 2), &port(3000)), Decision::Bind { .. }));
    assert!(matches!(listen(&mut doors, worker(1, 1), &port(3000)), Decision::Mapped { .. }));
    assert_eq!((doors.doors_of(worker(0, 1)), doors.doors_of(worker(0, 2))), (vec![PUBLIC], vec![PUBLIC, 3000]));
    doors.left(worker(0, 2));
    assert_eq!(doors.unwanted(), [("null:3000:4:undefined", 3000)], "the others of that key are on the public one");
}

#[test]
fn the_same_twice_in_one_process_is_in_use_but_not_after_a_close() {
    let mut doors = Doors::new(OPEN);
    let key = key(&listen(&mut doors, worker(0, 1), &port(3000))).to_owned();
    let (errno, why) = refused(&mut doors, &port(3000));
    assert_eq!(errno, libc::EADDRINUSE);
    assert!(why.contains(":3000 twice"), "{why}");
    doors.closed(worker(0, 1), &key);
    assert!(matches!(listen(&mut doors, worker(0, 1), &port(3000)), Decision::Join { .. }));
}

#[test]
fn any_port_is_one_door_for_the_nth_server_of_each_worker() {
    let mut doors = Doors::new(OPEN);
    let second = Query { index: 1, ..port(0) };
    let keys = [port(0), second.clone()].map(|query| key(&doors.ask(worker(0, 1), &query)).to_owned());
    assert_ne!(keys[0], keys[1]);
    doors.bound(&keys[0], 1, address("[::]:41000"));
    doors.bound(&keys[1], 2, address("[::]:42000"));
    for (query, sockname) in [(port(0), "[::]:41000"), (second, "[::]:42000")] {
        let decision = doors.ask(worker(1, 1), &query);
        assert!(matches!(decision, Decision::Join { sockname: Some(said), .. } if said == sockname.parse().unwrap()));
    }
}

#[test]
fn what_the_first_worker_says_all_are_told() {
    let tickets = |text: &str| Query { data: json!({"ticketKeys": text}), ..port(443) };
    for policy in [PUBLISHED, Policy { may_bind_low_ports: true, ..OPEN }] {
        let mut doors = Doors::new(policy);
        let key = key(&listen(&mut doors, worker(0, 1), &port(443))).to_owned();
        assert_eq!(doors.data(&key), Value::Null);
        for (slot, text) in [(1, "aa"), (2, "bb")] {
            let (Decision::Mapped { data, .. } | Decision::Join { data, .. }) =
                listen(&mut doors, worker(slot, 1), &tickets(text))
            else {
                panic!("it is open")
            };
            assert_eq!(data, json!({"ticketKeys": "aa"}));
        }
        (0..3).for_each(|slot| doors.left(worker(slot, 1)));
        listen(&mut doors, worker(0, 2), &tickets("cc"));
        assert_eq!(doors.data(&key), json!({"ticketKeys": "aa"}), "tickets outlive the workers");
    }
}

#[test]
fn what_is_not_configured_is_refused_with_what_to_do() {
    let mut doors = Doors::new(OPEN);
    let udp = Query { address_type: AddressType::Udp4, fd: Some(-1), ..port(53) };
    let fd = Query { address_type: AddressType::Fd, fd: Some(5), port: None, ..port(0) };
    let handle = Query { address: None, ..path("") };
    for (query, errno, text) in [
        (udp, libc::ENOTSUP, "UDP port 53"),
        (fd, libc::EBADF, "descriptor 5"),
        (at("10.0.0.5", 3000), libc::EADDRNOTAVAIL, "--listen 10.0.0.5:3000"),
        (at("2001:db8::1", 3000), libc::EADDRNOTAVAIL, "--listen [2001:db8::1]:3000"),
        (at("fe80::1%eth0", 3000), libc::EADDRNOTAVAIL, "fe80::1%eth0"),
        (at("app.internal\u{1b}", 3000), libc::EADDRNOTAVAIL, r"app.internal\u{1b}"),
        (port(80), libc::EACCES, "--listen :80"),
        (at("127.0.0.1", 1023), libc::EACCES, "--listen 127.0.0.1:1023"),
        (path("/run/app.sock"), libc::EACCES, "--listen unix:/run/app.sock"),
        (path("app.sock"), libc::EINVAL, "absolute"),
        (path("\0abstract"), libc::EINVAL, "absolute"),
        (path(&format!("/{}", "x".repeat(107))), libc::EINVAL, "107"),
        (handle, libc::EINVAL, "handed"),
        (port(-1), libc::EINVAL, "port -1"),
        (port(65536), libc::EINVAL, "port 65536"),
        (Query { port: None, ..port(0) }, libc::EINVAL, "port none"),
    ] {
        let (said, why) = refused(&mut doors, &query);
        assert_eq!(said, errno, "{why}");
        assert!(
            why.contains(text) && why.starts_with("the app ") && !why.contains(crate::printable::is_harmful),
            "{why}"
        );
    }
    assert!(doors.doors_of(worker(0, 1)).is_empty());
}

#[test]
fn what_is_allowed_is_opened_as_the_app_asks() {
    let mut doors = Doors::new(Policy { may_bind_low_ports: true, may_bind_paths: true, ..OPEN });
    let tcp = |text: &str, v6_only| Where::Tcp { address: text.parse().unwrap(), v6_only, fallback: None };
    for (query, expected) in [
        (at("127.0.0.1", 80), tcp("127.0.0.1:80", false)),
        (at("::1", 1024), tcp("[::1]:1024", false)),
        (at("0.0.0.0", 65535), tcp("0.0.0.0:65535", false)),
        (at("::", 3000), tcp("[::]:3000", false)),
        (at("::ffff:127.0.0.1", 3000), tcp("127.0.0.1:3000", false)),
        (Query { flags: 1, ..at("::", 3001) }, tcp("[::]:3001", true)),
        (Query { flags: 1, ..at("127.0.0.2", 3001) }, tcp("127.0.0.2:3001", false)),
        (Query { flags: 1, ..port(3002) }, tcp("[::]:3002", true)),
        (path("/run/a:b.sock"), Where::Unix("/run/a:b.sock".into())),
    ] {
        let decision = doors.ask(worker(0, 1), &query);
        assert!(matches!(&decision, Decision::Bind { address, .. } if *address == expected), "{query:?}: {decision:?}");
    }
    let decision = doors.ask(worker(0, 1), &Query { backlog: Some(16), ..port(5000) });
    assert!(matches!(decision, Decision::Bind { backlog: 16, .. }));
}

#[test]
fn a_door_that_nobody_is_on_is_unwanted_until_somebody_comes_or_it_is_forgotten() {
    let mut doors = Doors::new(OPEN);
    let key = key(&listen(&mut doors, worker(0, 1), &port(3000))).to_owned();
    assert_eq!(doors.forget(&key), None);
    assert_eq!(doors.unwanted(), []);
    doors.left(worker(0, 1));
    assert_eq!(doors.unwanted(), [("null:3000:4:undefined", 3000)]);
    assert!(matches!(listen(&mut doors, worker(0, 2), &port(3000)), Decision::Join { .. }));
    assert_eq!(doors.forget(&key), None);
    assert_eq!(doors.unwanted(), []);
    doors.closed(worker(0, 2), &key);
    assert_eq!(doors.forget(&key), Some(3000));
    assert_eq!(doors.unwanted(), []);
    assert!(matches!(listen(&mut doors, worker(0, 2), &port(3000)), Decision::Bind { .. }));
}

#[test]
fn a_door_that_opens_for_a_worker_that_is_gone_is_unwanted() {
    let mut doors = Doors::new(OPEN);
    let key = key(&doors.ask(worker(0, 1), &port(3000))).to_owned();
    doors.left(worker(0, 1));
    doors.bound(&key, 4, None);
    assert_eq!(doors.unwanted(), [(&*key, 4)]);
}

#[test]
fn a_worker_that_listens_in_a_loop_is_stopped() {
    let mut doors = Doors::new(OPEN);
    for number in 0..1024 {
        assert!(matches!(listen(&mut doors, worker(0, 1), &port(2000 + number)), Decision::Bind { .. }));
    }
    assert_eq!(refused(&mut doors, &port(9999)).0, libc::EMFILE);
}

/// What happens in a pool; numbers choose.
#[derive(Clone, Debug)]
enum Step {
    Ask(u32, u64, i32),
    Bound(i32),
    NotBound(i32),
    Closed(u32, u64, i32),
    Left(u32, u64),
    Forget(i32),
}

fn step() -> impl Strategy<Value = Step> {
    let (slot, incarnation, key) = (0..3_u32, 0..3_u64, 2000..2004_i32);
    prop_oneof![
        10 => (slot.clone(), incarnation.clone(), key.clone()).prop_map(|(s, i, k)| Step::Ask(s, i, k)),
        6 => key.clone().prop_map(Step::Bound),
        1 => key.clone().prop_map(Step::NotBound),
        4 => (slot.clone(), incarnation.clone(), key.clone()).prop_map(|(s, i, k)| Step::Closed(s, i, k)),
        2 => (slot, incarnation).prop_map(|(s, i)| Step::Left(s, i)),
        2 => key.prop_map(Step::Forget),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_keys_and_doors_agree(steps in vec(step(), 0..80), public: bool) {
        let mut doors = Doors::new(Policy { public, ..OPEN });
        let all: Vec<_> = (0..3).flat_map(|slot| (0..3).map(move |incarnation| worker(slot, incarnation))).collect();
        let mut open = BTreeMap::new();
        for (i, step) in steps.iter().enumerate() {
            match *step {
                Step::Ask(slot, incarnation, number) => {
                    let query = Query { data: json!(i), ..port(number) };
                    let before = doors.doors_of(worker(slot, incarnation)).len();
                    let decision = doors.ask(worker(slot, incarnation), &query);
                    let after = doors.doors_of(worker(slot, incarnation)).len();
                    let joins = match &decision {
                        Decision::Mapped { .. } => public,
                        Decision::Join { door, .. } => open.get(&query.key()) == Some(door),
                        _ => false,
                    };
                    prop_assert_eq!(after, before + usize::from(joins), "{:?}", decision);
                    if matches!(decision, Decision::Bind { .. }) {
                        prop_assert!(!open.contains_key(&query.key()), "bound twice");
                    }
                }
                Step::Bound(number) => {
                    let key = port(number).key();
                    let is_asked = doors.own.get(&key).is_some_and(|own| own.open.is_none());
                    doors.bound(&key, u32::try_from(i).unwrap() + 1, None);
                    if is_asked {
                        open.insert(key, u32::try_from(i).unwrap() + 1);
                    }
                }
                Step::NotBound(number) => doors.not_bound(&port(number).key()),
                Step::Closed(slot, incarnation, number) => doors.closed(worker(slot, incarnation), &port(number).key()),
                Step::Left(slot, incarnation) => {
                    doors.left(worker(slot, incarnation));
                    prop_assert!(doors.doors_of(worker(slot, incarnation)).is_empty());
                }
                Step::Forget(number) => {
                    let key = port(number).key();
                    if let Some(door) = doors.forget(&key) {
                        prop_assert_eq!(open.remove(&key), Some(door));
                    }
                }
            }
            let unwanted: Vec<u32> = doors.unwanted().into_iter().map(|(_, door)| door).collect();
            let mut wanted = BTreeSet::new();
            for worker in &all {
                let mine = doors.doors_of(*worker);
                let keys: BTreeSet<_> = mine.iter().map(|door| doors.key_of(*worker, *door).unwrap()).collect();
                prop_assert_eq!(keys.len(), mine.len(), "two doors by one key");
                wanted.extend(mine);
            }
            prop_assert!(unwanted.iter().all(|door| *door != PUBLIC && !wanted.contains(door)));
            let private = wanted.iter().filter(|door| **door != PUBLIC);
            prop_assert_eq!(unwanted.len() + private.count(), open.len(), "each open door is wanted or not");
            prop_assert!(doors.public.len() <= all.len());
        }
    }
}
