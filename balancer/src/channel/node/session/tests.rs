//! The messages of a worker, and the answers that its session sends.

mod random;
mod sockets;

use std::fmt::Write;

use serde_json::json;

use super::*;
use crate::channel::node::broken::Broken;
use crate::channel::node::event::Why;
use crate::channel::node::outbox::MOST_WAITING;
use crate::channel::node::query::{AddressType, Query};
use crate::rotation::MAX_PENDING;

const KEY: &str = "null:3000:4:undefined";
const ACK: &[u8] = b"{\"cmd\":\"NODE_HANDLE_ACK\"}\n";
const NACK: &[u8] = b"{\"cmd\":\"NODE_HANDLE_NACK\"}\n";

/// Returns a line of Node's cluster.
fn cluster(mut message: Value) -> Vec<u8> {
    message["cmd"] = json!("NODE_CLUSTER");
    format!("{message}\n").into_bytes()
}

fn accepted(ack: u64, accepted: bool) -> Vec<u8> {
    cluster(json!({"ack": ack, "accepted": accepted, "seq": 100 + ack}))
}

/// Returns the query that a worker sends at `app.listen(3000)`.
fn ask() -> Vec<u8> {
    cluster(json!({"act": "queryServer", "index": 0, "data": null, "address": null, "port": 3000, "addressType": 4,
        "flags": 0, "backlog": 0, "seq": 1}))
}

/// Returns all lines that may be written now, as the worker reads them.
fn said(session: &mut Session) -> Vec<(Value, Option<Attached>)> {
    let lines = std::iter::from_fn(|| session.next_out());
    lines
        .map(|out| {
            let text = std::str::from_utf8(&out.bytes).unwrap();
            assert!(text.find('\n') == Some(text.len() - 1), "one line: {text}");
            (serde_json::from_str(text).unwrap(), out.attached)
        })
        .collect()
}

fn handed() -> Answer {
    Answer::RoundRobin { key: KEY.into(), sockname: Some("[::]:3000".parse().unwrap()), data: Value::Null }
}

/// Returns the session of a worker that is handed connections by [`KEY`].
fn listening() -> Session {
    let mut session = Session::default();
    session.received(&ask());
    session.answer(1, handed()).unwrap();
    assert_eq!(said(&mut session).len(), 1);
    session
}

#[test]
fn server_life_cycle_uses_node_messages() {
    let mut session = Session::default();
    assert_eq!(session.received(b"{\"cmd\":\"NODE_CLUSTER\",\"act\":\"online\",\"seq\":0}\n"), [NodeEvent::Online]);
    let events = session.received(
        b"{\"cmd\":\"NODE_CLUSTER\",\"act\":\"queryServer\",\"index\":0,\"data\":null,\"address\":null,\"port\":3000,\
          \"addressType\":4,\"flags\":0,\"backlog\":0,\"seq\":1}\n",
    );
    let query = Query {
        seq: 1,
        address: None,
        port: Some(3000),
        address_type: AddressType::Ipv4,
        fd: None,
        index: 0,
        flags: 0,
        backlog: None,
        data: Value::Null,
    };
    assert_eq!(events, [NodeEvent::Query(query.clone())]);
    session
        .answer(1, Answer::RoundRobin { key: query.key(), sockname: "[::]:3000".parse().ok(), data: Value::Null })
        .unwrap();
    assert_eq!(session.keys().collect::<Vec<_>>(), [KEY]);
    let reply = json!({"cmd": "NODE_CLUSTER", "errno": null, "key": "null:3000:4:undefined", "ack": 1, "data": null,
        "sockname": {"address": "::", "family": "IPv6", "port": 3000}, "seq": 0});
    assert_eq!(said(&mut session), [(reply, None)]);
    let listening = cluster(json!({"act": "listening", "index": 0, "data": null, "address": null, "port": 3000,
        "addressType": 4, "flags": 0, "backlog": 0, "seq": 2}));
    let events = session.received(&listening);
    assert_eq!(events, [NodeEvent::Listening { address: None, port: Some(3000), address_type: AddressType::Ipv4 }]);

    session.give(77, KEY).unwrap();
    let newconn = json!({"cmd": "NODE_HANDLE", "type": "net.Native",
        "msg": {"cmd": "NODE_CLUSTER", "act": "newconn", "key": "null:3000:4:undefined", "seq": 1}});
    assert_eq!(said(&mut session), [(newconn, Some(Attached::Connection(77)))]);
    let both = [ACK, b"{\"cmd\":\"NODE_CLUSTER\",\"ack\":1,\"accepted\":true,\"seq\":3}\n"].concat();
    assert_eq!(session.received(&both), [NodeEvent::Taken(77)]);
    assert_eq!(session.unacknowledged().count(), 0);

    assert!(session.disconnect());
    let order = json!({"cmd": "NODE_CLUSTER", "act": "disconnect", "seq": 2});
    assert_eq!(said(&mut session), [(order, None)]);
    let close = b"{\"cmd\":\"NODE_CLUSTER\",\"act\":\"close\",\"key\":\"null:3000:4:undefined\",\"seq\":4}\n";
    assert_eq!(session.received(close), [NodeEvent::Closed { key: KEY.into() }]);
    assert_eq!(session.keys().count(), 0);
}

#[test]
fn shared_listener_is_attached_to_its_answer_and_resends() {
    let mut session = Session::default();
    session.received(&ask());
    let ticket = json!({"ticketKeys": "00ff"});
    session.answer(1, Answer::Shared { key: KEY.into(), listener: 5, data: ticket.clone() }).unwrap();
    let inner = json!({"cmd": "NODE_CLUSTER", "errno": null, "key": KEY, "ack": 1, "data": ticket, "seq": 0});
    let reply = json!({"cmd": "NODE_HANDLE", "type": "net.Native", "msg": inner});
    assert_eq!(said(&mut session), [(reply.clone(), Some(Attached::Listener(5)))]);
    assert_eq!(session.give(1, KEY), Err(SendError::NotOn(KEY.into())));
    for _ in 0..3 {
        assert_eq!(session.received(NACK), []);
        assert_eq!(said(&mut session), [(reply.clone(), Some(Attached::Listener(5)))]);
    }
    let events = session.received(NACK);
    assert!(matches!(&*events, [NodeEvent::Broken(Broken::NoListener { tries: 4, .. })]), "{events:?}");
}

#[test]
fn refused_listen_is_answered_with_negative_errno() {
    for (errno, said_errno) in [(98, -98), (13, -13), (0, -22), (i32::MIN, -22), (i32::MAX, -i32::MAX)] {
        let mut session = Session::default();
        session.received(&ask());
        session.answer(1, Answer::Refused { errno, key: KEY.into() }).unwrap();
        let reply = json!({"cmd": "NODE_CLUSTER", "errno": said_errno, "key": KEY, "ack": 1, "data": null, "seq": 0});
        assert_eq!(said(&mut session), [(reply, None)]);
        assert_eq!(session.keys().count(), 0);
    }
}

#[test]
fn answer_for_a_unix_listener_has_no_sockname() {
    let mut session = Session::default();
    session.received(&ask());
    let data = json!({"ticketKeys": "ab".repeat(48)});
    session
        .answer(1, Answer::RoundRobin { key: "/a:-1:-1:undefined".into(), sockname: None, data: data.clone() })
        .unwrap();
    let [(reply, None)] = &*said(&mut session) else { panic!("one line without a socket") };
    assert_eq!(reply.get("sockname"), None);
    assert_eq!(reply.get("data"), Some(&data));
    assert_eq!(reply.get("errno"), Some(&Value::Null));
}

#[test]
fn message_that_would_end_a_worker_is_not_sent() {
    let mut session = listening();
    assert_eq!(session.answer(1, handed()), Err(SendError::NotAsked(1)));
    session.received(&cluster(json!({"act": "queryServer", "port": 3000, "addressType": 4, "seq": 2})));
    assert_eq!(session.answer(2, handed()), Err(SendError::AlreadyOn(KEY.into())));
    assert_eq!(session.message(&json!({"cmd": "NODE_CLUSTER"})), Err(SendError::OfNode));
    assert!(session.disconnect());
    assert!(!session.disconnect());
    assert_eq!(session.answer(2, Answer::Refused { errno: 98, key: KEY.into() }), Err(SendError::Disconnecting));
    assert_eq!(session.give(1, KEY), Err(SendError::Disconnecting));
    assert_eq!(said(&mut session).len(), 1, "the command to disconnect");
}

#[test]
fn leaving_worker_is_acknowledged_and_later_queries_ignored() {
    let mut session = listening();
    let events = session.received(b"{\"cmd\":\"NODE_CLUSTER\",\"act\":\"exitedAfterDisconnect\",\"seq\":5}\n");
    assert_eq!(events, [NodeEvent::Disconnecting]);
    assert_eq!(said(&mut session), [(json!({"cmd": "NODE_CLUSTER", "ack": 5, "seq": 1}), None)]);
    assert!(!session.disconnect());
    let late = session.received(&cluster(json!({"act": "queryServer", "port": 1, "addressType": 4, "seq": 6})));
    assert!(matches!(&*late, [NodeEvent::Ignored(_)]));
}

#[test]
fn waiting_messages_are_bounded_by_their_memory() {
    let mut session = listening();
    let large = json!("x".repeat(1024 * 1024));
    while session.message(&large).is_ok() {}
    let error = session.message(&large).unwrap_err().to_string();
    assert!(error.contains("1048579 bytes") && error.contains("16777216"), "{error}");
    said(&mut session);
    assert_eq!(session.message(&large), Ok(()), "it was read");
    said(&mut session);
    let tiny = (0..).take_while(|_| session.message(&json!(1)).is_ok()).count();
    assert!(tiny * 64 < MOST_WAITING);
}

#[test]
fn program_that_asks_without_reading_is_broken_off() {
    for line in [
        "{\"cmd\":\"NODE_HANDLE\"}\n",
        "{\"cmd\":\"NODE_CLUSTER\",\"act\":\"exitedAfterDisconnect\",\"seq\":1}\n",
        "{\"cmd\":\"NODE_CLUSTER\",\"act\":\"queryServer\",\"addressType\":\"x\",\"seq\":1}\n",
    ] {
        let mut session = Session::default();
        let events = session.received(line.repeat(2000).as_bytes());
        assert!(matches!(events.last(), Some(NodeEvent::Broken(Broken::Greedy(1024)))), "{line}");
        assert!(events.len() < 1100);
    }
    let mut lines = String::new();
    for seq in 0..2000 {
        writeln!(
            lines,
            "{{\"cmd\":\"NODE_CLUSTER\",\"act\":\"queryServer\",\"addressType\":4,\"port\":1,\"seq\":{seq}}}"
        )
        .unwrap();
    }
    let events = Session::default().received(lines.as_bytes());
    assert!(matches!(events.last(), Some(NodeEvent::Broken(Broken::Greedy(1024)))));
}

#[test]
fn query_of_unknown_form_is_answered() {
    let mut session = Session::default();
    let odd = cluster(json!({"act": "queryServer", "addressType": "udp5", "port": 1, "seq": 7}));
    assert!(matches!(&*session.received(&odd), [NodeEvent::Ignored(_)]));
    let reply = json!({"cmd": "NODE_CLUSTER", "errno": -22, "key": "", "ack": 7, "data": null, "seq": 0});
    assert_eq!(said(&mut session), [(reply, None)]);
}

#[test]
fn unknown_message_is_ignored_and_invalid_json_ends_channel() {
    let mut session = listening();
    session.give(1, KEY).unwrap();
    said(&mut session);
    let ignored = [
        "{\"cmd\":\"NODE_NEW\"}",
        "{\"cmd\":\"NODE_CLUSTER\"}",
        "{\"cmd\":\"NODE_CLUSTER\",\"act\":\"dance\",\"seq\":1}",
        "{\"cmd\":\"NODE_CLUSTER\",\"ack\":1000,\"accepted\":true}",
        "{\"cmd\":\"NODE_CLUSTER\",\"act\":\"close\",\"key\":\"another\"}",
        "{\"cmd\":\"NODE_CLUSTER\",\"act\":\"close\",\"key\":7}",
        "{\"cmd\":\"NODE_CLUSTER\",\"act\":\"listening\"}",
        "\"\\ud800\"",
    ];
    for line in ignored {
        assert!(matches!(&*session.received(format!("{line}\n").as_bytes()), [NodeEvent::Ignored(_)]), "{line}");
    }
    let events = session.received(&[accepted(1, true), b"\"hi\"\nboom\x1b\n\"lost\"\n".to_vec()].concat());
    let [NodeEvent::Taken(1), NodeEvent::Message(hi), NodeEvent::Broken(broken @ Broken::NotJson { .. })] = &*events
    else {
        panic!("{events:?}");
    };
    assert_eq!(hi, "hi");
    assert!(broken.to_string().contains(r"`boom\u{1b}`"), "{broken}");
    assert_eq!(session.received(ACK), []);
    assert_eq!(session.give(2, KEY), Err(SendError::Broken));
    assert!(!session.ping(1) && !session.disconnect() && session.next_out().is_none());
}

#[test]
fn message_of_300_kilobytes_passes_both_ways() {
    let mut session = listening();
    let long = json!({"text": "ü\n".repeat(100_000)});
    let events = session.received(format!("{long}\n").as_bytes());
    assert_eq!(events, [NodeEvent::Message(long.clone())]);
    session.message(&long).unwrap();
    assert_eq!(said(&mut session), [(long, None)]);
    let fake = cluster(json!({"act": "close", "key": "x".repeat(100_000)}));
    assert!(matches!(&*session.received(&fake), [NodeEvent::Broken(Broken::LongInternal { .. })]));
}
