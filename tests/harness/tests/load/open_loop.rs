//! The open loop: the schedule, the effect of a stall on latencies, and the limit.

use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use roundelay_harness::load::{Load, MOST_UNDER_WAY, Traffic};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::server::{GOOD, Server};
use crate::{ms, per_connection, traffic};

#[test]
fn stall_delays_all_due_requests_and_none_is_left_out() {
    let (door, number) = (Mutex::new(()), AtomicUsize::new(0));
    let server = Server::start(move |connection| {
        while connection.request().is_some() {
            let guard = door.lock().unwrap();
            if number.fetch_add(1, Ordering::SeqCst) == 20 {
                std::thread::sleep(ms(300));
            }
            drop(guard);
            connection.send(GOOD);
        }
    });
    let found = Load::open(traffic(server.address, 4), 200.0, ms(800)).unwrap().wait();
    assert_eq!((found.started, found.done, found.not_started), (160, 160, 0));
    assert_eq!((found.errors.len(), found.seconds), (0, 0.8));
    assert_eq!((found.latency.count(), found.lag.count()), (160, 160));
    assert!(found.latency.max() >= 0.3, "the longest took {} s", found.latency.max());
    // 30 more requests were due within its first half. If they had waited for each other, only four would show it.
    assert!(found.latency.percentile(85.0) >= 0.14, "{}", found.latency.percentile(85.0));
    assert!(server.connections() > 4, "all were busy, and {} were open", server.connections());
    let counts: Vec<_> = found.timeline.iter().map(|tick| tick.done).collect();
    assert_eq!(counts, [20; 8], "by when they were due");
    assert!(found.timeline.iter().any(|tick| tick.max >= 0.3 && tick.p99 >= 0.3));
}

#[test]
fn each_of_as_many_connections_as_are_kept_is_used() {
    let server = Server::that_answers(GOOD);
    let found = Load::open(traffic(server.address, 8), 400.0, ms(400)).unwrap().wait();
    assert_eq!((found.started, found.done, found.errors.len()), (160, 160, 0));
    assert!(server.connections() >= 8, "{}", server.connections());
}

#[test]
fn with_one_request_each_every_one_has_its_connection() {
    let server = Server::that_answers(GOOD);
    let traffic = Traffic { requests_per_connection: per_connection(1), ..traffic(server.address, 4) };
    let found = Load::open(traffic, 300.0, ms(500)).unwrap().wait();
    assert_eq!((found.started, found.done, found.errors.len()), (150, 150, 0));
    assert_eq!((server.connections(), server.requests()), (150, 150));
}

#[test]
fn connection_that_ends_while_idle_is_no_failure() {
    let server = Server::start(|connection| {
        connection.request();
        connection.send(GOOD);
    });
    let found = Load::open(traffic(server.address, 1), 4.0, ms(1000)).unwrap().wait();
    assert_eq!((found.done, found.errors.len()), (4, 0), "{:?}", found.errors);
    assert_eq!(server.connections(), 4);
}

#[test]
fn failures_stand_in_the_timeline_where_they_were_due() {
    let server = Server::that_answers("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    let found = Load::open(traffic(server.address, 2), 100.0, ms(200)).unwrap().wait();
    let counts: Vec<_> = found.timeline.iter().map(|tick| (tick.done, tick.errors)).collect();
    assert_eq!(counts, [(0, 10), (0, 10)]);
}

#[test]
fn request_over_the_open_limit_is_not_started_but_counted() {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum.map_or(8192, |most| most.min(8192)).max(limit.current.unwrap_or(0));
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limit.maximum }).unwrap();
    // No server accepts or answers.
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let target = listener.local_addr().unwrap();
    let timeout = ms(1500);
    let found = Load::open(Traffic { timeout, ..traffic(target, 4) }, 5000.0, ms(500)).unwrap().wait();
    assert_eq!(found.started + found.not_started, 2500);
    assert_eq!(found.errors.values().sum::<u64>(), found.started, "{:?}", found.errors);
    assert!(found.not_started > 0 && found.started <= MOST_UNDER_WAY as u64, "{} started", found.started);
    assert!(found.started > 1000, "{} started", found.started);
}
