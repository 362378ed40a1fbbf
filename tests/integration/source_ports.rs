//! More connections to one worker than one source address has ports.
//!
//! The master has a network namespace of its own in which there are few; clients reach it by a unix socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::kit::{DEADLINE, Master, Setup, has, is_root, python, wait_until};

/// Source ports of one address.
const PORTS: usize = 24;
const NAMESPACE: [&str; 5] = [
    "unshare",
    "-n",
    "sh",
    "-c",
    "ip link set lo up && echo '40000 40023' > /proc/sys/net/ipv4/ip_local_port_range && exec \"$0\" \"$@\"",
];

/// One worker that keeps all its connections and says where they came from.
fn few_ports(health: &str, options: &[&str]) -> Option<Master> {
    if !is_root() || !has("unshare") || !has("ip") {
        return None;
    }
    let command = [python()?, "-c", include_str!("source_ports/holder.py")];
    let setup = Setup::app(&["-i", "1", "--health", health], &command).with("app", options);
    let listen = format!("unix:{}", setup.dir().join("public").display());
    // The admin port would take one of the few ports.
    Some(setup.env("ROUNDELAY_LISTEN", &listen).env("ROUNDELAY_ADMIN", "off").through(&NAMESPACE).start_ready())
}

/// A client that asked and was answered: its connection, which stays open, and the worker's answer.
fn ask(public: &Path) -> io::Result<(UnixStream, String)> {
    let mut stream = UnixStream::connect(public)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if answer.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body)?;
    Ok((stream, String::from_utf8(body).unwrap()))
}

fn no_port(master: &Master) -> f64 {
    master.metric("roundelay_worker_connect_errors_total", &[r#"reason="no_port""#])
}

// Checks need ports too, so most of these tests have no checks.
#[test]
fn further_source_addresses_are_used_when_ports_run_out() {
    let Some(master) = few_ports("none", &[]) else { return };
    let public = master.dir().join("public");
    let clients: Vec<_> = (0..5 * PORTS).map(|_| ask(&public).unwrap()).collect();
    let from = |source: &str| clients.iter().filter(|(_, body)| body.trim() == format!("from {source}")).count();
    let counts: Vec<_> = (1..=8).map(|n| from(&format!("127.0.0.{n}"))).collect();
    assert_eq!(counts.iter().sum::<usize>(), clients.len(), "{counts:?}");
    assert!(counts[0] + 2 >= PORTS && counts[1] > 0, "127.0.0.1 first: {counts:?}");
    assert!(clients[..PORTS - 2].iter().all(|(_, body)| body == "from 127.0.0.1\n"), "{counts:?}");
    eventually_eq!(master.log().matches("source ports of 127.0.0.1 to a worker are used up").count(), 1);
    master.wait_log("--endpoint unix");
    eventually_eq!(no_port(&master), 0.0);
}

#[test]
fn single_source_address_that_runs_out_is_reported() {
    let options = ["source-addresses=1", "connect-timeout=100ms", "dispatch-timeout=500ms"];
    let Some(master) = few_ports("none", &options) else { return };
    let public = master.dir().join("public");
    let answers: Vec<_> = (0..PORTS + 3).map(|_| ask(&public)).collect();
    let served = answers.iter().flatten().filter(|(_, body)| body == "from 127.0.0.1\n").count();
    assert!((PORTS - 2..=PORTS).contains(&served), "{served}");
    assert_eq!(answers.iter().flatten().count(), served, "no other address");
    eventually_eq!(master.log().matches("no source port to a worker is left").count(), 1);
    master.wait_log("--endpoint unix");
    eventually!(no_port(&master) > 0.0);
    eventually_eq!(master.worker(0).state, "ready", "it is no fault of the worker's");
    drop(answers);
    wait_until("ports to be free again", || ask(&public).is_ok());
}

#[test]
fn checks_go_on_when_ports_of_the_first_address_run_out() {
    let Some(master) = few_ports("/", &["health.interval=5s"]) else { return };
    let public = master.dir().join("public");
    let mut clients = Vec::new();
    // A port that a check had can be used again two seconds later.
    wait_until("clients at all ports of the first address", || {
        let (client, body) = ask(&public).unwrap();
        clients.extend(Some(client).filter(|_| body == "from 127.0.0.1\n"));
        clients.len() == PORTS
    });
    let checks = || master.metric("roundelay_health_checks_total", &[r#"result="ok""#]);
    let before = checks();
    wait_until("further checks", || checks() > before);
    drop(clients);
}
