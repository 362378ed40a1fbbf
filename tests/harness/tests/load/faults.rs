//! Each class of failures: a server plants it, and its clients must find it exactly as often, and no other class.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use roundelay_checker::Class;
use roundelay_harness::load::{Load, Observed, Traffic};
use rustix::net::{AddressFamily, SocketType};

use crate::server::{Connection, GOOD, Server};
use crate::{ms, traffic};

/// A part of an answer.
const PART: &str = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello";

/// Checks that the clients of such a server find that class as often as it was planted.
fn find(class: Class, timeout: Duration, script: impl Fn(&mut Connection) + Send + Sync + 'static) -> Observed {
    let server = Server::start(script);
    let found = Load::closed(Traffic { timeout, ..traffic(server.address, 2) }, ms(150)).unwrap().wait();
    assert!(server.planted() > 0, "{class} was not planted");
    assert_eq!(found.errors, BTreeMap::from([(class.name().to_owned(), server.planted())]));
    found
}

#[test]
fn reset_before_the_answer_is_found() {
    find(Class::ResetBeforeFirstByte, ms(20_000), |connection| {
        if connection.request().is_some() {
            connection.plant();
            connection.end_in_reset();
        }
    });
}

#[test]
fn end_before_the_answer_is_found() {
    find(Class::ClosedBeforeFirstByte, ms(20_000), |connection| {
        if connection.request().is_some() {
            connection.plant();
        }
    });
}

#[test]
fn kept_connection_that_ends_under_a_request_is_found() {
    let found = find(Class::StaleKeepalive, ms(20_000), |connection| {
        if connection.request().is_some() && connection.send(GOOD) && connection.request().is_some() {
            connection.plant();
        }
    });
    assert!(found.done > 0);
}

#[test]
fn kept_connection_that_is_reset_under_a_request_is_found() {
    let found = find(Class::StaleKeepalive, ms(20_000), |connection| {
        if connection.request().is_some() && connection.send(GOOD) && connection.request().is_some() {
            connection.plant();
            connection.end_in_reset();
        }
    });
    assert!(found.done > 0);
}

#[test]
fn reset_amid_the_answer_is_found() {
    find(Class::ResetMidway, ms(20_000), |connection| {
        if connection.request().is_some() {
            connection.plant();
            connection.send(PART);
            connection.end_in_reset();
        }
    });
}

#[test]
fn answer_that_ends_early_is_found() {
    find(Class::Truncated, ms(20_000), |connection| {
        if connection.request().is_some() {
            connection.plant();
            connection.send(PART);
        }
    });
}

#[test]
fn bytes_that_are_no_http_are_found() {
    find(Class::WrongBytes, ms(20_000), |connection| {
        if connection.request().is_some() {
            connection.plant();
            connection.send("SSH-2.0-x\r\n");
        }
    });
}

#[test]
fn bad_status_is_found_and_its_connection_kept() {
    let script = |connection: &mut Connection| {
        while connection.request().is_some() {
            connection.plant();
            connection.send("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno");
        }
    };
    let server = Server::start(script);
    let found = Load::closed(traffic(server.address, 2), ms(100)).unwrap().wait();
    assert_eq!(found.errors, BTreeMap::from([("bad_status".to_owned(), server.planted())]));
    assert_eq!((found.done, server.connections()), (0, 2));
    assert_eq!(found.latency.count(), 0, "failures have no latency");
}

#[test]
fn answer_that_does_not_come_in_time_is_found() {
    let found = find(Class::Timeout, ms(60), |connection| {
        if connection.request().is_some() {
            connection.plant();
            // Waits until the client has given up.
            connection.request();
        }
    });
    assert_eq!(found.started, found.errors.values().sum::<u64>());
}

#[test]
fn refused_connect_is_found() {
    // The address is bound but not listened on, so no other program can take it.
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
    for found in [
        Load::closed(traffic(address, 2), ms(100)).unwrap().wait(),
        Load::open(traffic(address, 2), 100.0, ms(100)).unwrap().wait(),
    ] {
        assert!(found.started > 0);
        assert_eq!(found.errors, BTreeMap::from([("refused".to_owned(), found.started)]));
        assert!(found.started <= 2 * 100 / 5 + 2, "clients pause: {} tried", found.started);
    }
}

#[test]
fn connect_without_answer_is_found() {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let address = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
    // The queue is full when the kernel no longer answers.
    let waiting: Vec<_> = std::iter::from_fn(|| TcpStream::connect_timeout(&address, ms(300)).ok()).collect();
    let found = Load::closed(Traffic { timeout: ms(50), ..traffic(address, 2) }, ms(100)).unwrap().wait();
    assert!(found.started > 0 && !waiting.is_empty());
    assert_eq!(found.errors, BTreeMap::from([("connect_timeout".to_owned(), found.started)]));
}
