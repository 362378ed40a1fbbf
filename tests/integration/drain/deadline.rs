//! At the drain deadline exactly the connections that are still open are ended, and the report counts them.

use std::io::ErrorKind;
use std::time::Duration;

use roundelay_checker::Class;

use crate::kit::{
    Kept, Setup, Traffic, is_alive, ledger, read_answer, report, run_command, running_command, says, send_get,
    wait_until,
};

/// The drain timeout of these pools.
const DRAIN: Duration = Duration::from_secs(3);

/// Demo workers that ignore the signal.
fn deaf(workers: &str) -> Setup {
    let short = ["--set", "pool.demo.drain-timeout=3s", "--set", "pool.demo.kill-timeout=1s"];
    Setup::new(&[&["demo", "-i", workers], &short[..]].concat()).env("DEMO_IGNORE_TERM", "1")
}

/// A conversation of chunks in both directions, as on a websocket.
const CONVERSATION: &str = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn deadline_closes_idle_and_resets_pending_and_counts_both() {
    let master = deaf("1").start_ready();
    let (address, old) = (master.address(), master.pids()[0]);
    let mut idle = [(); 3].map(|()| Kept::connect(address));
    let mut talking = Kept::connect(address);
    talking.send(CONVERSATION);
    let owed = [(); 2].map(|()| send_get(address, "/slow/60000").unwrap());
    let hello = format!("(pid {old})");
    assert!(idle.iter_mut().all(|kept| kept.get("/").body.contains(&hello)));
    wait_until("all to be open", || master.worker(0).active == Some(6));
    let traffic = Traffic::start(&master, "one-shot");
    let reload = running_command(&master, &["reload", "--json"]);
    wait_until("the drain", || master.worker(0).others().any(|other| other.pid == Some(old)));
    // During the drain everything goes on as before.
    assert!(idle.iter_mut().all(|kept| kept.get("/").body.contains(&hello)));
    talking.send("5\r\nhello\r\n");
    let ended = reload.join().unwrap();
    traffic.lost_nothing();
    says(&ended, 1, &["demo/0  pid ", "2 cut", "the reload of demo was carried out, but 2 clients were lost"]);
    let report = report(&ended);
    let connections = ledger(&report);
    assert_eq!(report.result, "lost");
    assert_eq!((connections.closed, connections.cut, connections.rejected), (4, 2, 0), "{connections:?}");
    assert!(idle.iter_mut().all(|kept| kept.rest().is_empty()));
    assert!(talking.rest().ends_with("\r\n\r\n5\r\nhello\r\n"));
    for client in owed {
        assert_eq!(read_answer(client).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    wait_until("its end", || !is_alive(old));
    let labels = [r#"verb="reload""#, r#"outcome="cut""#];
    eventually_eq!(master.metric("roundelay_operation_connections_total", &labels), 2.0);
}

#[test]
fn deadline_with_only_idle_connections_loses_no_client() {
    let master = deaf("1").start_ready();
    let mut idle = Kept::connect(master.address());
    idle.get("/");
    let ended = run_command(&master, &["reload", "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let connections = ledger(&report(&ended));
    assert_eq!((connections.closed, connections.cut), (1, 0), "{connections:?}");
    assert_eq!(idle.rest(), "");
}

#[test]
fn clients_that_stay_fail_only_at_the_deadline() {
    let master = deaf("2").start_ready();
    let traffic = Traffic::start(&master, "one-shot=100,stubborn=100,websocket=1");
    let begun = traffic.elapsed();
    let pids = master.pids();
    let ended = run_command(&master, &["reload", "--json"]);
    let connections = ledger(&report(&ended));
    assert_eq!(ended.code, Some(i32::from(connections.cut > 0)), "{ended:?}");
    eventually!(master.pids().iter().all(|pid| !pids.contains(pid)));
    let record = traffic.stop();
    for failure in record.failures() {
        assert!(failure.ended >= begun + DRAIN, "within the time it had: {failure}");
        assert_ne!(failure.class, Class::Refused, "{failure}");
    }
    let ended_by_us = connections.cut + connections.closed;
    assert!(record.failed_total() <= ended_by_us, "{connections:?}: {:?}", record.failures());
}
