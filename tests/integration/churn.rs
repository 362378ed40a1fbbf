//! Many connections, one after the other, leave nothing behind in the master.

use crate::kit::{Master, Setup, at_rest, clients, descriptors, post, wait_until};

const MIB: f64 = 1_048_576.0;
const WARM_UP: usize = 3_000;
const CONNECTIONS: usize = 20_000;

/// Makes `count` connections with one request each, from four clients that go as fast as they are served.
#[track_caller]
fn churn(master: &Master, count: usize) {
    let address = master.address();
    let ask = |n: usize| {
        let text = format!("token {n}\n");
        post(address, "/echo", &text).map(|answer| (answer.status, answer.body == text))
    };
    let wrong: Vec<_> =
        clients(4, count, ask).into_iter().filter(|answer| !matches!(answer, Ok((200, true)))).collect();
    assert!(wrong.is_empty(), "{} of {count}, the first of them {:?}", wrong.len(), wrong.first());
}

/// The number of the master's descriptors when no connection is open, without those of the question itself.
#[track_caller]
fn open_at_rest(master: &Master) -> usize {
    wait_until("all connections to have ended", || master.metric("roundelay_connections_active", &[]) == 0.0);
    at_rest("the master's descriptors", || descriptors(master.pid()).len())
}

fn resident(master: &Master) -> f64 {
    master.metric("process_resident_memory_bytes", &[])
}

#[test]
fn connections_20000_leak_no_descriptor_and_no_memory() {
    let master = Setup::new(&["demo", "-i", "2"]).start_ready();
    churn(&master, WARM_UP);
    let (open, memory) = (open_at_rest(&master), resident(&master));
    churn(&master, CONNECTIONS);
    let (open_after, memory_after) = (open_at_rest(&master), resident(&master));
    println!(
        "churn: {CONNECTIONS} connections, descriptors {open} -> {open_after}, resident {:.1} -> {:.1} MiB",
        memory / MIB,
        memory_after / MIB
    );
    assert_eq!(open_after, open);
    assert!(memory_after <= memory * 1.03 + 2.0 * MIB, "{memory} -> {memory_after}");
}
