//! The bytes of a Node worker on its cluster channel, to a master that gives it connections. Its first byte is the size of
//! the pieces in which they come: they mean the same in any pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roundelay::channel::node::{Answer, NodeEvent, Session};
use serde_json::Value;

/// The key of the one server that this worker has.
const KEY: &str = "127.0.0.1:3000:4:undefined";

/// A worker that listens and was given three connections.
fn session() -> Session {
    let mut session = Session::default();
    session.received(
        b"{\"cmd\":\"NODE_CLUSTER\",\"act\":\"queryServer\",\"index\":0,\"data\":null,\"address\":\"127.0.0.1\",\
          \"port\":3000,\"addressType\":4,\"flags\":0,\"seq\":1}\n",
    );
    let _ = session.answer(1, Answer::RoundRobin { key: KEY.into(), sockname: None, data: Value::Null });
    let _ = (1..=3).try_for_each(|connection| session.give(connection, KEY));
    let _ = session.next_out();
    session
}

fn play(bytes: &[u8], size: usize) -> (Vec<NodeEvent>, Vec<u64>, usize) {
    let mut session = session();
    let mut events = Vec::new();
    for piece in bytes.chunks(size) {
        events.extend(session.received(piece));
    }
    let lines = std::iter::from_fn(|| session.next_out()).take(10_000).count();
    assert!(lines < 10_000, "a master that says more than it was given");
    (events, session.unacknowledged().collect(), lines)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&size, bytes)) = bytes.split_first() else { return };
    let (whole, pieces) = (play(bytes, usize::MAX), play(bytes, usize::from(size) + 1));
    assert_eq!(whole, pieces, "it depends on how the bytes come");
    let ends = |event: &NodeEvent| matches!(event, NodeEvent::Taken(_) | NodeEvent::Refused(..));
    assert!(whole.0.iter().filter(|event| ends(event)).count() <= 3, "a connection ended twice");
    let broken = whole.0.iter().position(|event| matches!(event, NodeEvent::Broken(_)));
    assert!(broken.is_none_or(|at| at + 1 == whole.0.len()), "a broken channel says more");
});
