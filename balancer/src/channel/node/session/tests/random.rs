//! Against a worker that answers late, wrongly and in any order, some things never happen.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A random step; a number chooses among the possible connections.
#[derive(Clone, Debug)]
enum Step {
    Give,
    Withdraw(usize),
    TakeBack,
    Message,
    Ping,
    Disconnect,
    /// The socket takes one line.
    Write,
    /// The worker acknowledges a socket, or says that it did not arrive.
    Acknowledge(bool),
    /// The worker takes or refuses one of the connections that arrived.
    Accept(usize, bool),
    /// The worker sends a socket of its own.
    Theirs,
    /// The worker sends something random.
    Wild(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => Just(Step::Give),
        2 => any::<usize>().prop_map(Step::Withdraw),
        2 => Just(Step::TakeBack),
        2 => Just(Step::Message),
        2 => Just(Step::Ping),
        1 => Just(Step::Disconnect),
        20 => Just(Step::Write),
        10 => prop::bool::weighted(0.7).prop_map(Step::Acknowledge),
        10 => (any::<usize>(), prop::bool::weighted(0.8)).prop_map(|(which, yes)| Step::Accept(which, yes)),
        1 => Just(Step::Theirs),
        1 => (0..200_u64).prop_map(Step::Wild),
    ]
}

/// The end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Taken,
    Refused,
    Withdrawn,
}

/// A model of the worker at the other end of the socket.
#[derive(Debug, Default)]
struct Model {
    /// A socket or ping that it has not acknowledged, and the connection in it.
    on_the_way: Option<Option<(u64, u64)>>,
    /// Connections that arrived, with their numbers.
    has: Vec<(u64, u64)>,
    /// The connections that it took or refused.
    answered: BTreeMap<u64, End>,
    messages: Vec<u64>,
    disconnects: u32,
}

struct World {
    session: Session,
    worker: Model,
    given: u64,
    sent: u64,
    ends: BTreeMap<u64, End>,
    /// Connections in the order of their first writing.
    written: Vec<u64>,
    seqs: BTreeSet<u64>,
    pings: u64,
    pongs: u64,
}

impl World {
    fn new() -> Self {
        Self {
            session: listening(),
            worker: Model::default(),
            given: 0,
            sent: 0,
            ends: BTreeMap::new(),
            written: Vec::new(),
            seqs: BTreeSet::new(),
            pings: 0,
            pongs: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Give => {
                if self.session.give(self.given, KEY).is_ok() {
                    self.given += 1;
                }
            }
            Step::Withdraw(which) => {
                let all: Vec<_> = self.session.unacknowledged().collect();
                if let Some(&connection) = all.get(which.checked_rem(all.len()).unwrap_or_default())
                    && self.session.withdraw(connection)
                {
                    self.end(connection, End::Withdrawn);
                }
            }
            Step::TakeBack => {
                if let Some(connection) = self.session.in_flight()
                    && self.session.reclaimed(connection)
                {
                    assert!(matches!(self.worker.on_the_way.take(), Some(Some((lost, _))) if lost == connection));
                    self.end(connection, End::Withdrawn);
                }
            }
            Step::Message => {
                self.session.message(&json!(self.sent)).unwrap();
                self.sent += 1;
            }
            Step::Ping => self.pings += u64::from(self.session.ping(self.pings)),
            Step::Disconnect => {
                self.session.disconnect();
            }
            Step::Write => self.write(),
            Step::Acknowledge(came) => {
                let Some(way) = self.worker.on_the_way.take() else { return };
                if came && let Some(connection) = way {
                    self.worker.has.push(connection);
                }
                self.hear(if came { ACK } else { NACK });
            }
            Step::Accept(which, yes) => {
                let all = self.worker.has.len();
                if all > 0 {
                    let (connection, seq) = self.worker.has.remove(which % all);
                    let answer = if yes { End::Taken } else { End::Refused };
                    assert_eq!(self.worker.answered.insert(connection, answer), None);
                    self.hear(&accepted(seq, yes));
                }
            }
            Step::Theirs => {
                self.session.descriptor_came();
                self.hear(b"{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Socket\",\"msg\":0}\n");
            }
            Step::Wild(number) => {
                // An answer for a connection that it cannot know has no effect.
                let known =
                    self.worker.has.iter().chain(self.worker.on_the_way.iter().flatten()).any(|(_, s)| *s == number);
                if !known {
                    let events = self.session.received(&accepted(number, true));
                    assert!(matches!(&*events, [NodeEvent::Ignored(_)]), "{events:?}");
                }
            }
        }
    }

    fn write(&mut self) {
        let Some(out) = self.session.next_out() else { return };
        let message: Value = serde_json::from_slice(&out.bytes).unwrap();
        match message.get("cmd").and_then(Value::as_str) {
            Some("NODE_HANDLE") => {
                assert_eq!(self.worker.on_the_way, None, "two sockets on their way");
                let connection = out.attached.map(|attached| match attached {
                    Attached::Connection(connection) => (connection, message["msg"]["seq"].as_u64().unwrap()),
                    Attached::Listener(_) => panic!("no worker asked for a listener"),
                });
                if let Some((connection, seq)) = connection
                    && !self.written.contains(&connection)
                {
                    assert!(self.seqs.insert(seq));
                    self.written.push(connection);
                }
                self.worker.on_the_way = Some(connection);
            }
            Some("NODE_HANDLE_ACK") => (),
            Some("NODE_CLUSTER") => {
                assert_eq!((self.worker.on_the_way, &message["act"]), (None, &json!("disconnect")));
                self.worker.disconnects += 1;
            }
            _ => {
                assert_eq!(self.worker.on_the_way, None, "a message behind a socket");
                self.worker.messages.push(message.as_u64().unwrap());
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        for events in self.session.received(bytes) {
            match events {
                NodeEvent::Taken(connection) => self.end(connection, End::Taken),
                NodeEvent::Refused(connection, _) => self.end(connection, End::Refused),
                NodeEvent::Pong(token) => {
                    assert_eq!(token, self.pongs);
                    self.pongs += 1;
                }
                NodeEvent::StrayDescriptor | NodeEvent::Ignored(_) => (),
                other => panic!("{other:?}"),
            }
        }
    }

    fn end(&mut self, connection: u64, end: End) {
        assert_eq!(self.ends.insert(connection, end), None, "connection {connection} ended twice");
    }

    /// Checks the invariants that hold at any time, and so also if the worker dies now.
    fn check(&self) {
        let open: Vec<_> = self.session.unacknowledged().collect();
        assert!(open.is_sorted() && open.len() <= MAX_PENDING);
        let all: BTreeSet<_> = self.ends.keys().copied().chain(open.iter().copied()).collect();
        assert_eq!(all.len(), self.ends.len() + open.len(), "a connection that ended is still open");
        assert!(all.into_iter().eq(0..self.given), "a connection is lost");
        assert!(self.written.is_sorted(), "order is kept");
        assert!(self.worker.messages.iter().copied().eq(0..self.worker.messages.len() as u64));
        assert!(self.worker.disconnects <= 1);
        for (connection, end) in &self.worker.answered {
            assert_eq!(self.ends.get(connection), Some(end), "what the worker says is what happened");
        }
    }
}

proptest! {
    #[test]
    fn every_connection_ends_once_whatever_the_worker_does(steps in vec(step(), 1..300)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            world.check();
        }
        // A worker that recovers answers for all connections that are left.
        for _ in 0..2000 {
            world.step(&Step::Write);
            world.step(&Step::Acknowledge(true));
            world.step(&Step::Accept(0, true));
        }
        world.check();
        prop_assert_eq!(world.session.unacknowledged().count(), 0);
        prop_assert_eq!(world.worker.messages.len() as u64, world.sent);
        prop_assert_eq!(world.pings, world.pongs);
    }

    #[test]
    fn random_bytes_are_read_alike_in_any_cut(
        lines in vec(line(), 0..30), noise in vec(any::<u8>(), 0..20), cut in 1..50_usize,
    ) {
        let stream = [lines.concat().into_bytes(), noise].concat();
        let (mut whole, mut parts) = (busy(), busy());
        let events = whole.received(&stream);
        let in_parts: Vec<_> = stream.chunks(cut).flat_map(|part| parts.received(part)).collect();
        prop_assert_eq!(&events, &in_parts);
        prop_assert!(whole.unacknowledged().eq(parts.unacknowledged()));
        prop_assert_eq!(said(&mut whole), said(&mut parts));
        let breaks = events.iter().position(|events| matches!(events, NodeEvent::Broken(_)));
        prop_assert!(breaks.is_none_or(|i| i + 1 == events.len()), "a broken channel says nothing more");
        prop_assert!(events.iter().filter(|events| matches!(events, NodeEvent::Taken(_) | NodeEvent::Refused(..))).count() <= 3);
    }
}

/// Returns a session with one connection in flight and two behind it.
fn busy() -> Session {
    let mut session = listening();
    (0..3).for_each(|connection| session.give(connection, KEY).unwrap());
    said(&mut session);
    session
}

/// Generates texts that resemble a line of Node.
fn line() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just(json!(null)),
        any::<i64>().prop_map(|number| json!(number)),
        (0..6_u64).prop_map(|number| json!(number)),
        any::<bool>().prop_map(|yes| json!(yes)),
        "[ -~ü\u{1b}\u{202e}]{0,12}".prop_map(|text| json!(text)),
        Just(json!(KEY)),
        Just(json!(["x", {"y": []}])),
    ];
    let field = prop::sample::select(vec![
        "act",
        "seq",
        "ack",
        "accepted",
        "key",
        "port",
        "address",
        "addressType",
        "fd",
        "index",
        "flags",
        "backlog",
        "data",
        "msg",
    ]);
    let cmd = prop::sample::select(vec![
        "NODE_CLUSTER",
        "NODE_CLUSTER",
        "NODE_CLUSTER",
        "NODE_HANDLE",
        "NODE_HANDLE_ACK",
        "NODE_HANDLE_NACK",
        "NODE_",
        "NODE_X",
        "x",
    ]);
    let act =
        prop::sample::select(vec!["online", "queryServer", "listening", "close", "exitedAfterDisconnect", "newconn"]);
    (cmd, act, prop::collection::btree_map(field, value, 0..6)).prop_map(|(cmd, act, fields)| {
        let mut message = json!({"act": act});
        for (name, value) in fields {
            message[name] = value;
        }
        message["cmd"] = json!(cmd);
        format!("{message}\n")
    })
}
