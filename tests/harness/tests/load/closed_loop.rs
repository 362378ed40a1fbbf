//! The closed loop: exact counts, kept and closed connections, the end.

use std::sync::{Arc, Condvar, Mutex};

use roundelay_harness::load::{Load, Traffic};
use roundelay_harness::plan::Request;
use roundelay_test_kit::wait_until;

use crate::server::{GOOD, Server};
use crate::{get, ms, per_connection, traffic};

/// Holds answers back until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |is_open| !*is_open).unwrap());
    }
}

#[test]
fn every_request_is_counted_once_and_connections_are_kept() {
    let server = Server::that_answers(GOOD);
    let found = Load::closed(traffic(server.address, 3), ms(300)).unwrap().wait();
    assert_eq!(found.started, server.requests());
    assert_eq!(server.connections(), 3);
    assert!(found.done > 0 && found.started <= found.done + 3, "{} of {} done", found.done, found.started);
    assert_eq!((found.errors.len(), found.not_started), (0, 0));
    assert_eq!(found.latency.count(), found.done);
    assert_eq!(found.bytes, found.done * GOOD.len() as u64);
    assert_eq!(found.answers.get("demo/1"), Some(&found.done));
    assert_eq!(found.seconds, 0.3);
    assert!(found.timeline.is_empty());
}

#[test]
fn connection_carries_its_requests_and_the_last_says_so() {
    let server = Server::start(|connection| {
        for number in 1.. {
            let Some(request) = connection.request() else { return };
            if request.contains("Connection: close") != (number == 3) {
                connection.plant();
            }
            connection.send(GOOD);
        }
    });
    let traffic = Traffic { requests_per_connection: per_connection(3), ..traffic(server.address, 2) };
    let found = Load::closed(traffic, ms(200)).unwrap().wait();
    assert!(found.done > 0 && found.errors.is_empty(), "{:?}", found.errors);
    assert_eq!(server.planted(), 0, "the third request of a connection, and no other, says that it is the last");
    assert!(server.connections() >= server.requests() / 3 && server.connections() <= server.requests() / 3 + 2);
}

#[test]
fn announced_end_is_respected() {
    let server = Server::that_answers("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    let found = Load::closed(traffic(server.address, 2), ms(200)).unwrap().wait();
    assert!(found.done > 0 && found.errors.is_empty(), "{:?}", found.errors);
    assert_eq!(server.connections(), server.requests());
}

#[test]
fn bodies_are_sent_and_answers_in_chunks_read() {
    let server = Server::that_answers(
        "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nX-Worker: app/2\r\n\r\n3\r\nyes\r\n0\r\n\r\n",
    );
    let body = Some("x".repeat(3 << 20));
    let post = Request { method: "POST".to_owned(), body, ..get("/upload") };
    let found = Load::closed(Traffic { requests: vec![post], ..traffic(server.address, 1) }, ms(300)).unwrap().wait();
    assert!(found.done > 0 && found.errors.is_empty(), "{:?}", found.errors);
    assert_eq!(found.answers.get("app/2"), Some(&found.done));
    assert_eq!(server.connections(), 1);
}

#[test]
fn answer_after_the_end_is_neither_done_nor_failed() {
    let gate = Gate::default();
    let theirs = gate.clone();
    let server = Server::start(move |connection| {
        while connection.request().is_some() {
            theirs.pass();
            connection.send(GOOD);
        }
    });
    let load = Load::closed(traffic(server.address, 3), ms(100)).unwrap();
    wait_until("the end of the load", || load.elapsed() > ms(100) && server.requests() == 3);
    assert!(!load.is_over(), "what is under way is waited for");
    gate.open();
    let found = load.wait();
    assert_eq!((found.started, found.done, found.errors.len()), (3, 0, 0));
    assert_eq!(found.latency.count(), 0);
}

#[test]
fn load_that_is_broken_off_closes_its_connections() {
    let server = Server::start(|connection| while connection.request().is_some() {});
    let load = Load::closed(traffic(server.address, 4), ms(600_000)).unwrap();
    wait_until("four requests", || server.requests() == 4);
    load.abort();
    wait_until("the end of all connections", || server.open() == 0);
    let load = Load::open(traffic(server.address, 4), 100.0, ms(600_000)).unwrap();
    wait_until("more requests", || server.requests() >= 8);
    drop(load);
    wait_until("the end of all connections", || server.open() == 0);
}
