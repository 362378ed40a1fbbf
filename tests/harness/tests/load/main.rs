//! The generator against servers that follow a script.

// A test that cannot go on panics: this is how it fails.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod closed_loop; // exact counts; kept and closed connections; the end
mod faults; // each class of failures is found as often as planted
mod open_loop; // the schedule, stalls, and the limit
mod server; // servers that do what a script says

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use roundelay_harness::load::{Load, Traffic};
use roundelay_harness::plan::Request;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn get(path: &str) -> Request {
    Request { method: "GET".to_owned(), path: path.to_owned(), body: None, weight: 1.0 }
}

fn traffic(target: SocketAddr, connections: usize) -> Traffic {
    let requests = vec![get("/")];
    Traffic {
        target,
        requests,
        requests_per_connection: None,
        connections,
        lead_in: ms(0),
        timeout: ms(20_000),
        seed: 7,
    }
}

fn per_connection(requests: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(requests)
}

#[test]
fn only_this_machine_is_loaded() {
    for target in ["192.0.2.1:80", "0.0.0.0:80", "[2001:db8::1]:80", "[::]:80"] {
        let error = Load::closed(traffic(target.parse().unwrap(), 1), ms(1)).unwrap_err();
        assert!(error.to_string().contains(target), "{error}");
        assert!(error.to_string().contains("only this machine's own addresses"), "{error}");
    }
}

#[test]
fn load_that_cannot_be_sent_is_refused() {
    let target = SocketAddr::from(([127, 0, 0, 1], 9));
    assert!(Load::closed(traffic(target, 0), ms(1)).unwrap_err().to_string().contains("0 connections"));
    assert!(Load::closed(Traffic { requests: Vec::new(), ..traffic(target, 1) }, ms(1)).is_err());
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Load::open(traffic(target, 1), rate, ms(1)).is_err(), "{rate}");
    }
}
