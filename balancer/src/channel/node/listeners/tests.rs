//! Which listener a query gets: the public one, one of its own, or none.

mod random;

use serde_json::json;

use super::*;
use crate::channel::node::query::AddressType;

const OPEN: Policy = Policy { public: false, public_is_tcp: true, may_bind_low_ports: false, may_bind_paths: false };
const PUBLISHED: Policy = Policy { public: true, ..OPEN };

fn worker(slot: u32, incarnation: u64) -> WorkerId {
    WorkerId { slot, incarnation }
}

/// Returns the query of `listen(port)`.
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

/// Returns the query of `listen(port, address)`.
fn at(address: &str, number: i32) -> Query {
    Query { address: Some(address.into()), ..port(number) }
}

fn path(path: &str) -> Query {
    Query { address_type: AddressType::Unix, ..at(path, -1) }
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

/// Returns the error number and the text with which a query is refused.
fn refused(registry: &mut ListenerRegistry, query: &Query) -> (i32, String) {
    match registry.ask(worker(0, 1), query) {
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

/// Asks the registry, and reports a listener that is to be bound as open.
fn listen(registry: &mut ListenerRegistry, worker: WorkerId, query: &Query) -> Decision {
    let decision = registry.ask(worker, query);
    if let Decision::Bind { key, .. } = &decision {
        let listener_id = query.port.and_then(|port| u32::try_from(port).ok()).unwrap_or(9);
        registry.bound(key, listener_id, address("[::]:1"));
    }
    decision
}

#[test]
fn first_asker_opens_listener_and_others_join() {
    let mut registry = ListenerRegistry::new(OPEN);
    let bind = Decision::Bind {
        key: "null:3000:4:undefined".into(),
        address: Where::Tcp {
            address: "[::]:3000".parse().unwrap(),
            v6_only: false,
            fallback: address("0.0.0.0:3000"),
        },
        backlog: 511,
    };
    assert_eq!(registry.ask(worker(0, 1), &port(3000)), bind);
    let key = || key(&bind).to_owned();
    assert_eq!(registry.ask(worker(1, 1), &port(3000)), Decision::Wait { key: key() }, "it is not there yet");
    assert!(registry.listeners_of(worker(0, 1)).is_empty());
    registry.bound(&key(), 7, address("[::]:3000"));
    let join = Decision::Join { key: key(), listener_id: 7, sockname: address("[::]:3000"), data: Value::Null };
    assert_eq!(registry.ask(worker(1, 1), &port(3000)), join);
    for slot in [0, 1] {
        assert_eq!(registry.listeners_of(worker(slot, 1)), [7]);
        assert_eq!(registry.key_of(worker(slot, 1), 7), Some("null:3000:4:undefined"));
        assert_eq!(registry.key_of(worker(slot, 1), PUBLIC), None);
    }
}

#[test]
fn listener_that_could_not_be_opened_is_asked_for_again() {
    let mut registry = ListenerRegistry::new(OPEN);
    for _ in 0..2 {
        let decision = registry.ask(worker(0, 1), &port(3000));
        assert!(matches!(decision, Decision::Bind { .. }), "{decision:?}");
        registry.not_bound(key(&decision));
    }
    assert!(matches!(registry.ask(worker(1, 1), &port(3000)), Decision::Bind { .. }));
}

#[test]
fn first_server_of_each_worker_gets_public_address() {
    let mut registry = ListenerRegistry::new(PUBLISHED);
    let mapped = |key: &str, sockname| Decision::Mapped { key: key.into(), sockname, data: Value::Null };
    assert_eq!(listen(&mut registry, worker(0, 1), &port(3000)), mapped("null:3000:4:undefined", address("[::]:3000")));
    assert!(matches!(listen(&mut registry, worker(0, 1), &port(9100)), Decision::Bind { .. }));
    // A worker of the same release that opens its servers in another order.
    assert!(matches!(listen(&mut registry, worker(1, 1), &port(9100)), Decision::Join { listener_id: 9100, .. }));
    assert!(matches!(listen(&mut registry, worker(1, 1), &port(3000)), Decision::Mapped { .. }));
    // A worker of a release that uses another port: nothing is opened, so any address is accepted.
    let moved = at("10.0.0.5", 80);
    assert_eq!(listen(&mut registry, worker(0, 2), &moved), mapped("10.0.0.5:80:4:undefined", address("10.0.0.5:80")));
    for worker in [worker(0, 1), worker(1, 1), worker(0, 2)] {
        assert!(registry.listeners_of(worker).contains(&PUBLIC));
    }
    assert_eq!(registry.key_of(worker(0, 2), PUBLIC), Some("10.0.0.5:80:4:undefined"));
    assert_eq!(registry.key_of(worker(0, 1), 9100), Some("null:9100:4:undefined"));
}

#[test]
fn server_on_a_path_is_not_public_if_the_address_is_tcp() {
    let pipe = path("/run/tool.sock");
    for (public_is_tcp, is_public) in [(true, false), (false, true)] {
        let mut registry = ListenerRegistry::new(Policy { public_is_tcp, may_bind_paths: true, ..PUBLISHED });
        let decision = listen(&mut registry, worker(0, 1), &pipe);
        assert_eq!(matches!(decision, Decision::Mapped { .. }), is_public, "{decision:?}");
        assert_eq!(registry.serves_public(worker(0, 1)), is_public);
        listen(&mut registry, worker(0, 1), &port(3000));
        assert!(registry.serves_public(worker(0, 1)), "its first server on a port does");
    }
}

#[test]
fn server_closed_and_listening_again_gets_the_public_address() {
    let mut registry = ListenerRegistry::new(PUBLISHED);
    let first = listen(&mut registry, worker(0, 1), &port(3000));
    registry.closed(worker(0, 1), key(&first));
    assert_eq!((registry.listeners_of(worker(0, 1)), registry.key_of(worker(0, 1), PUBLIC)), (vec![], None));
    assert!(matches!(listen(&mut registry, worker(0, 1), &port(9100)), Decision::Bind { .. }));
    assert_eq!(listen(&mut registry, worker(0, 1), &port(3000)), first);
    assert_eq!(registry.listeners_of(worker(0, 1)), [PUBLIC, 9100]);
}

#[test]
fn public_and_private_key_are_two_listeners() {
    let mut registry = ListenerRegistry::new(PUBLISHED);
    listen(&mut registry, worker(0, 1), &port(3000));
    listen(&mut registry, worker(0, 2), &port(4000));
    assert!(matches!(listen(&mut registry, worker(0, 2), &port(3000)), Decision::Bind { .. }));
    assert!(matches!(listen(&mut registry, worker(1, 1), &port(3000)), Decision::Mapped { .. }));
    assert_eq!(
        (registry.listeners_of(worker(0, 1)), registry.listeners_of(worker(0, 2))),
        (vec![PUBLIC], vec![PUBLIC, 3000])
    );
    registry.left(worker(0, 2));
    assert_eq!(registry.unwanted(), [("null:3000:4:undefined", 3000)], "the others of that key are on the public one");
}

#[test]
fn same_listen_twice_is_in_use_until_closed() {
    let mut registry = ListenerRegistry::new(OPEN);
    let key = key(&listen(&mut registry, worker(0, 1), &port(3000))).to_owned();
    let (errno, why) = refused(&mut registry, &port(3000));
    assert_eq!(errno, libc::EADDRINUSE);
    assert!(why.contains(":3000 twice"), "{why}");
    registry.closed(worker(0, 1), &key);
    assert!(matches!(listen(&mut registry, worker(0, 1), &port(3000)), Decision::Join { .. }));
}

#[test]
fn any_port_is_one_listener_for_nth_server_of_each_worker() {
    let mut registry = ListenerRegistry::new(OPEN);
    let second = Query { index: 1, ..port(0) };
    let keys = [port(0), second.clone()].map(|query| key(&registry.ask(worker(0, 1), &query)).to_owned());
    assert_ne!(keys[0], keys[1]);
    registry.bound(&keys[0], 1, address("[::]:41000"));
    registry.bound(&keys[1], 2, address("[::]:42000"));
    for (query, sockname) in [(port(0), "[::]:41000"), (second, "[::]:42000")] {
        let decision = registry.ask(worker(1, 1), &query);
        assert!(matches!(decision, Decision::Join { sockname: Some(said), .. } if said == sockname.parse().unwrap()));
    }
}

#[test]
fn data_of_the_first_worker_is_told_to_all() {
    let tickets = |text: &str| Query { data: json!({"ticketKeys": text}), ..port(443) };
    for policy in [PUBLISHED, Policy { may_bind_low_ports: true, ..OPEN }] {
        let mut registry = ListenerRegistry::new(policy);
        let key = key(&listen(&mut registry, worker(0, 1), &port(443))).to_owned();
        assert_eq!(registry.data(&key), Value::Null);
        for (slot, text) in [(1, "aa"), (2, "bb")] {
            let (Decision::Mapped { data, .. } | Decision::Join { data, .. }) =
                listen(&mut registry, worker(slot, 1), &tickets(text))
            else {
                panic!("it is open")
            };
            assert_eq!(data, json!({"ticketKeys": "aa"}));
        }
        (0..3).for_each(|slot| registry.left(worker(slot, 1)));
        listen(&mut registry, worker(0, 2), &tickets("cc"));
        assert_eq!(registry.data(&key), json!({"ticketKeys": "aa"}), "tickets outlive the workers");
    }
}

#[test]
fn listener_not_configured_is_refused_with_the_remedy() {
    let mut registry = ListenerRegistry::new(OPEN);
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
        (handle, libc::EINVAL, "socket object"),
        (port(-1), libc::EINVAL, "port -1"),
        (port(65536), libc::EINVAL, "port 65536"),
        (Query { port: None, ..port(0) }, libc::EINVAL, "port none"),
    ] {
        let (said, why) = refused(&mut registry, &query);
        assert_eq!(said, errno, "{why}");
        assert!(
            why.contains(text) && why.starts_with("the app ") && !why.contains(crate::printable::is_harmful),
            "{why}"
        );
    }
    assert!(registry.listeners_of(worker(0, 1)).is_empty());
}

#[test]
fn allowed_listener_is_opened_as_the_application_asks() {
    let mut registry = ListenerRegistry::new(Policy { may_bind_low_ports: true, may_bind_paths: true, ..OPEN });
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
        let decision = registry.ask(worker(0, 1), &query);
        assert!(matches!(&decision, Decision::Bind { address, .. } if *address == expected), "{query:?}: {decision:?}");
    }
    let decision = registry.ask(worker(0, 1), &Query { backlog: Some(16), ..port(5000) });
    assert!(matches!(decision, Decision::Bind { backlog: 16, .. }));
}

#[test]
fn unused_listener_is_unwanted_until_joined_or_forgotten() {
    let mut registry = ListenerRegistry::new(OPEN);
    let key = key(&listen(&mut registry, worker(0, 1), &port(3000))).to_owned();
    assert_eq!(registry.forget(&key), None);
    assert_eq!(registry.unwanted(), []);
    registry.left(worker(0, 1));
    assert_eq!(registry.unwanted(), [("null:3000:4:undefined", 3000)]);
    assert!(matches!(listen(&mut registry, worker(0, 2), &port(3000)), Decision::Join { .. }));
    assert_eq!(registry.forget(&key), None);
    assert_eq!(registry.unwanted(), []);
    registry.closed(worker(0, 2), &key);
    assert_eq!(registry.forget(&key), Some(3000));
    assert_eq!(registry.unwanted(), []);
    assert!(matches!(listen(&mut registry, worker(0, 2), &port(3000)), Decision::Bind { .. }));
}

#[test]
fn listener_opened_for_gone_worker_is_unwanted() {
    let mut registry = ListenerRegistry::new(OPEN);
    let key = key(&registry.ask(worker(0, 1), &port(3000))).to_owned();
    registry.left(worker(0, 1));
    registry.bound(&key, 4, None);
    assert_eq!(registry.unwanted(), [(&*key, 4)]);
}

#[test]
fn worker_that_listens_in_a_loop_is_stopped() {
    let mut registry = ListenerRegistry::new(OPEN);
    for number in 0..1024 {
        assert!(matches!(listen(&mut registry, worker(0, 1), &port(2000 + number)), Decision::Bind { .. }));
    }
    assert_eq!(refused(&mut registry, &port(9999)).0, libc::EMFILE);
}
