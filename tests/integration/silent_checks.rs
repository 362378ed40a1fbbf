//! A check that connects and sends nothing is a line in the log of many servers: it is made only where no better sign
//! says the same.

use std::time::Duration;

use crate::kit::{Master, Setup, get, python, stays};

/// Counts the connections on which nothing was said, and answers with that number.
const COUNTS: &str = r#"
import os, socket
port = os.environ["PORT"]
server = socket.create_server((os.environ["HOST"], int(port)), backlog=128)
silent = 0
while True:
    client, _ = server.accept()
    with client:
        try:
            asked = b""
            while b"\r\n\r\n" not in asked and (more := client.recv(65536)):
                asked += more
            if asked:
                body = b"%d" % silent
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
            else:
                silent += 1
        except ConnectionError:
            pass
"#;

const FAST: [&str; 3] = ["health.interval=50ms", "health.timeout=50ms", "health.fast-interval=50ms"];
/// A client comes within each of these intervals, also where a busy machine lets the test wait.
const SLOW: [&str; 3] = ["health.interval=500ms", "health.timeout=500ms", "health.fast-interval=50ms"];

fn start(pace: [&str; 3], options: &[&str]) -> Option<Master> {
    let options = [&pace[..], options].concat();
    let setup = Setup::app(&["-i", "1"], &[python()?, "counts.py"]).file("counts.py", COUNTS);
    Some(setup.with("app", &options).start_ready())
}

fn silent(master: &Master) -> u64 {
    get(master.address(), "/").unwrap().body.parse().unwrap()
}

/// Time for forty checks at the fast pace and for four at the slow one.
const TIME: Duration = Duration::from_secs(2);

#[test]
fn worker_that_takes_clients_gets_no_check_connection() {
    let Some(master) = start(SLOW, &[]) else { return };
    // The checks that made it ready: a busy machine may need a second one.
    let before = silent(&master);
    stays("no check connects", TIME, || silent(&master) == before);
    eventually_eq!(master.worker(0).state, "ready");
}

#[test]
fn idle_worker_gets_a_check_connection_every_ten_seconds() {
    let Some(master) = start(FAST, &[]) else { return };
    let before = silent(&master);
    stays("it is idle", TIME, || master.worker(0).state == "ready");
    assert!(silent(&master) <= before + 1, "one, and not forty");
}

#[test]
fn listen_table_makes_no_connection_and_sees_a_closed_listener() {
    let Some(master) = start(FAST, &["health.probe=listen-table"]) else { return };
    stays("it is idle", TIME, || master.worker(0).state == "ready");
    assert_eq!(silent(&master), 0);

    // The program closes its listener and stays.
    let script = "import os,socket,time\nserver=socket.create_server((os.environ['HOST'],int(os.environ['PORT'])))\n\
                  while not os.path.exists('close'): time.sleep(0.01)\nserver.close()\ntime.sleep(600)\n";
    let Some(python) = python() else { return };
    let setup = Setup::app(&["-i", "1"], &[python, "closes.py"]).file("closes.py", script);
    // A duplicate that the master holds would keep the socket listening.
    let options = [&FAST[..], &["health.probe=listen-table", "recover-queue=false"]].concat();
    let master = setup.with("app", &options).start_ready();
    master.touch("close");
    let worker = master.wait_state(0, "suspect");
    let check = worker.last_check.unwrap();
    assert!(check.what.ends_with("no socket listens there"), "{}", check.what);
}
