//! The ledger has a word for each end of a connection during an operation: lost, the client's, unanswered or closed.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::kit::{Ended, Master, Setup, ledger, python, report, run_command, wait_until};

/// One worker that ends at once when it is told to.
fn leaves(flags: &[&str]) -> Option<Master> {
    let rules = ["--set", "pool.app.drain=signal", "--set", "pool.app.drain-timeout=5s"];
    let command = [&[python()?, "-c", include_str!("ends.py")], flags].concat();
    Some(Setup::app(&[&["-i", "1"], &rules[..]].concat(), &command).start_ready())
}

/// Connects clients that each send this line.
fn said(master: &Master, count: usize, line: &str) -> Vec<TcpStream> {
    let before = master.worker(0).active.unwrap();
    let say = |_| {
        let mut client = TcpStream::connect(master.address()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        client.write_all(line.as_bytes()).unwrap();
        client
    };
    let clients = (0..count).map(say).collect();
    wait_until("all to be with the worker", || master.worker(0).active == Some(before + count as u64));
    clients
}

/// Connects clients that each send this line and have their answer.
fn answered(master: &Master, count: usize) -> Vec<TcpStream> {
    let clients = said(master, count, "hello?\n");
    for client in &clients {
        let mut line = String::new();
        BufReader::new(client).read_line(&mut line).unwrap();
        assert_eq!(line, "hello\n");
    }
    clients
}

/// Waits until the worker has as many bytes as its clients have said.
fn wait_received(master: &Master, bytes: f64) {
    let direction = [r#"direction="rx""#];
    wait_until("the bytes to be with the worker", || master.metric("roundelay_bytes_total", &direction) >= bytes);
}

fn reload(master: &Master) -> Ended {
    run_command(master, &["reload", "--json"])
}

#[test]
fn client_of_a_worker_that_leaves_without_an_answer_is_lost() {
    for flags in [&[][..], &["--badly"]] {
        let Some(master) = leaves(flags) else { return };
        let idle = answered(&master, 3);
        let owed = said(&master, 4, "wait\n");
        wait_received(&master, 3.0 * 7.0 + 4.0 * 5.0);
        let ended = reload(&master);
        let connections = ledger(&report(&ended));
        assert_eq!((connections.served, connections.cut), (0, 4), "{flags:?}: {connections:?}");
        assert_eq!(ended.code, Some(1), "{ended:?}");
        drop((idle, owed));
    }
}

#[test]
fn idle_clients_of_a_worker_that_the_signal_kills_are_closed() {
    let Some(master) = leaves(&["--badly"]) else { return };
    let idle = answered(&master, 20);
    let ended = reload(&master);
    let connections = ledger(&report(&ended));
    assert_eq!((connections.closed, connections.cut), (20, 0), "{connections:?}");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    drop(idle);
}

#[test]
fn one_way_clients_are_unanswered_and_fail_no_operation() {
    for flags in [&[][..], &["--badly"]] {
        let Some(master) = leaves(flags) else { return };
        let clients = said(&master, 3, "wait <34>1 a line of syslog\n");
        wait_received(&master, 3.0 * 28.0);
        let ended = reload(&master);
        // If the worker has ended its side in order, the connection is over when the client has ended its side, too.
        drop(clients);
        let connections = ledger(&report(&ended));
        assert_eq!((connections.served, connections.cut), (0, 0), "{flags:?}: {connections:?}");
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let unanswered = || master.metric("roundelay_connection_closes_total", &[r#"reason="unanswered""#]);
        wait_until("their ends", || unanswered() == 3.0);
    }
}

#[test]
fn client_that_ends_first_is_not_counted_as_lost() {
    let Some(master) = leaves(&[]) else { return };
    let _idle = answered(&master, 1);
    let left = said(&master, 2, "wait\n");
    wait_received(&master, 7.0 + 2.0 * 5.0);
    for client in &left {
        client.shutdown(std::net::Shutdown::Write).unwrap();
    }
    let by_client = || master.metric("roundelay_connection_closes_total", &[r#"reason="client_left""#]);
    wait_until("their ends", || by_client() == 2.0);
    let ended = reload(&master);
    assert_eq!((ended.code, ledger(&report(&ended)).cut), (Some(0), 0), "{ended:?}");
}
