//! The addresses at which an application listens, and the address that it is told.

use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{MODES, PID, all_answer, answering, app, with_modes};
use crate::kit::{
    Master, Setup, a_node, burst, carried_out, for_each, free_address, get, is_listening, nodes, request, two_nodes,
    wait_for, wait_until,
};

/// An application that says its pid, listening there.
fn listening(to: &str) -> String {
    PID.replace("3000", to)
}

/// The pids that have answered there among so many clients.
#[track_caller]
fn pids(address: std::net::SocketAddr) -> Vec<u32> {
    let burst = burst(address, "/", 12);
    assert_eq!(burst.failed, [""; 0]);
    burst.bodies.iter().map(|body| body.parse().unwrap()).collect()
}

#[test]
fn application_chooses_the_address_where_none_is_configured() {
    for_each(&with_modes(nodes()), |&(node, mode)| {
        let address = free_address();
        let text = listening(&format!("{}, '{}'", address.port(), address.ip()));
        let master = app(node, &["--mode", mode, "-i", "3"], &text).env("ROUNDELAY_LISTEN", "app").start_ready();
        at_once_eq!(master.pool().listen, [address.to_string()]);
        all_answer(address, &master);
        carried_out(&master, &["reload"]);
        all_answer(address, &master);
    });
}

#[test]
fn configured_address_replaces_that_of_the_first_server() {
    let text = "
const server = require('http').createServer((q, r) => r.end(JSON.stringify(server.address()))).listen(80, () => {
    console.log('listens on', server.address().port);
});";
    for node in nodes() {
        eprintln!("{node:?}");
        let master = app(node, &["--mode", "handoff", "-i", "1"], text).start_ready();
        master.wait_log("listens on 80");
        assert_eq!(super::text(master.address(), "/"), r#"{"address":"::","family":"IPv6","port":80}"#);
        eventually_eq!(master.pool().listen.len(), 1);
    }
}

#[test]
fn every_usual_form_of_listen_is_understood() {
    let forms = [
        "3000",
        "3000, () => {}",
        "3000, '127.0.0.1'",
        "3000, '127.0.0.1', () => {}",
        "3000, '127.0.0.1', 64, () => {}",
    ];
    for node in nodes() {
        for form in forms {
            eprintln!("{node:?}: listen({form})");
            let text = format!("require('http').createServer((q, r) => r.end('served')).listen({form});");
            let master = app(node, &["--mode", "handoff", "-i", "1"], &text).start_ready();
            assert_eq!(super::text(master.address(), "/"), "served");
        }
    }
}

#[test]
fn release_that_changes_its_port_keeps_the_public_one() {
    for_each(&with_modes(two_nodes()), |&(node, mode)| {
        let master = app(node, &["--mode", mode, "-i", "2"], PID).start_ready();
        std::fs::write(master.dir().join("app.js"), listening("4000")).unwrap();
        carried_out(&master, &["reload"]);
        eventually_eq!(master.pool().listen.len(), 1);
        all_answer(master.address(), &master);
    });
}

#[test]
fn release_that_changes_a_second_port_leaves_the_old_one() {
    for_each(&with_modes(two_nodes()), |&(node, mode)| {
        let [old, new] = [free_address(), free_address()];
        let at = |address: std::net::SocketAddr| listening(&format!("{}, '{}'", address.port(), address.ip()));
        let master = app(node, &["--mode", mode, "-i", "2"], &at(old)).env("ROUNDELAY_LISTEN", "app").start_ready();
        std::fs::write(master.dir().join("app.js"), at(new)).unwrap();
        carried_out(&master, &["reload"]);
        all_answer(new, &master);
        wait_until("the old one to be closed", || !is_listening(old));
        eventually_eq!(master.pool().listen, [new.to_string()]);
    });
}

#[test]
fn application_with_two_servers_serves_both() {
    for_each(&with_modes(nodes()), |&(node, mode)| {
        let second = free_address();
        let text = format!(
            "{PID} require('http').createServer((q, r) => r.end('the second')).listen({}, '{}');",
            second.port(),
            second.ip()
        );
        let master = app(node, &["--mode", mode, "-i", "2"], &text).start_ready();
        wait_until("the second to be open", || master.pool().listen.len() == 2);
        all_answer(master.address(), &master);
        assert_eq!(burst(second, "/", 12).bodies, ["the second"; 12]);
    });
}

#[test]
fn any_port_is_one_port_for_all_workers() {
    for node in nodes() {
        eprintln!("{node:?}");
        let text = "
const server = require('http').createServer((q, r) => r.end(String(server.address().port))).listen(0, '127.0.0.1');";
        let master = app(node, &["--mode", "handoff", "-i", "3"], text).env("ROUNDELAY_LISTEN", "app").start_ready();
        let [address] = &master.pool().listen[..] else { panic!("{:?}", master.pool().listen) };
        let address: std::net::SocketAddr = address.parse().unwrap();
        assert_eq!(burst(address, "/", 12).bodies, vec![address.port().to_string(); 12]);
    }
}

#[test]
fn application_with_port_0_is_told_the_public_port() {
    let Some(node) = a_node() else { return };
    let text = "
const server = require('http').createServer((q, r) => r.end(String(server.address().port))).listen(0);";
    for mode in MODES {
        let master = app(node, &["--mode", mode, "-i", "2"], text).start_ready();
        assert_eq!(super::text(master.address(), "/"), master.address().port().to_string());
    }
}

#[test]
fn unix_path_is_served_and_removed() {
    let ask = |path: &Path| request(UnixStream::connect(path).unwrap(), "/").unwrap().body;
    for_each(&with_modes(nodes()), |&(node, mode)| {
        let mut master =
            app(node, &["--mode", mode, "-i", "2"], &listening("'sock'")).env("ROUNDELAY_LISTEN", "app").start_ready();
        let path = master.dir().join("sock");
        for _ in 0..4 {
            at_once!(master.pids().contains(&ask(&path).parse().unwrap()));
        }
        carried_out(&master, &["reload"]);
        at_once!(master.pids().contains(&ask(&path).parse().unwrap()));
        master.signal("TERM");
        assert_eq!(master.wait_end().code(), Some(0));
        assert!(!path.exists());
    });
}

#[test]
fn taken_port_is_an_application_error_and_is_logged() {
    for node in nodes() {
        eprintln!("{node:?}");
        let taken = std::net::TcpListener::bind((free_address().ip(), 0)).unwrap();
        let address = taken.local_addr().unwrap();
        let text = listening(&format!("{}, '{}'", address.port(), address.ip()))
            + "process.on('uncaughtException', error => { console.log(error.code, error.syscall); process.exit(9); });";
        let ended = app(node, &["--mode", "handoff", "-i", "1"], &text).env("ROUNDELAY_LISTEN", "app").run_to_end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains("EADDRINUSE bind"), "{said}");
        let told =
            [format!("address={address}"), "held by integration-".to_owned(), format!("(pid {})", std::process::id())];
        let is_told = |line: &str| line.contains("cannot listen") && told.iter().all(|word| line.contains(word));
        assert!(said.lines().any(is_told), "{said}");
    }
}

/// The output of an application that tried to listen in a way.
#[track_caller]
fn tried(setup: Setup, begins: &str) -> (Master, String) {
    let master = setup.start_ready();
    let line = wait_for("the application to say how it went", || {
        let log = master.log();
        log.lines().find_map(|line| line.split_once(begins).map(|(_, rest)| rest.to_owned()))
    });
    (master, line)
}

#[test]
fn unsupported_listen_is_an_error_and_the_log_has_the_remedy() {
    for node in nodes() {
        for (how, code, why) in [
            ("net.createServer().listen({ fd: 97 })", "EBADF", "descriptor 97"),
            ("net.createServer().listen(3000)", "EADDRINUSE", "twice in one process"),
            ("net.createServer().listen(3001, '192.0.2.1')", "EADDRNOTAVAIL", "--listen 192.0.2.1:3001"),
            ("dgram.createSocket('udp4').bind(5353)", "ENOTSUP", "UDP port 5353"),
        ] {
            eprintln!("{node:?} {how}");
            let text = format!(
                "const net = require('net'), dgram = require('dgram');
                {}
                setTimeout(() => {how}.on('error', error => console.log('tried:', error.code)), 10);",
                PID
            );
            let (master, said) = tried(app(node, &["--mode", "handoff", "-i", "1"], &text), "tried: ");
            assert_eq!(said, code, "{how}");
            master.wait_log(why);
            all_answer(master.address(), &master);
        }
    }
}

#[test]
fn udp_socket_that_only_sends_works() {
    let Some(node) = a_node() else { return };
    let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(crate::kit::DEADLINE)).unwrap();
    let text = format!(
        "{PID} require('dgram').createSocket('udp4').send('from the worker', {}, '127.0.0.1');",
        receiver.local_addr().unwrap().port()
    );
    let _master = app(node, &["--mode", "handoff", "-i", "1"], &text).start_ready();
    let mut datagram = [0; 64];
    let (length, _) = receiver.recv_from(&mut datagram).unwrap();
    assert_eq!(&datagram[..length], b"from the worker");
}

#[test]
fn server_closed_and_opened_again_serves_again() {
    let text = "
const http = require('http');
let server;
const open = () => {
    server = http.createServer((q, r) => {
        r.setHeader('Connection', 'close');
        r.end(String(process.pid));
        if (q.url === '/again') server.close(open);
        if (q.url === '/at-once') { server.close(); open(); }
    }).listen(3000);
};
open();";
    for_each(&with_modes(nodes()), |&(node, mode)| {
        let master = app(node, &["--mode", mode, "-i", "1"], text).start_ready();
        let pid = master.pids()[0];
        for path in ["/again", "/at-once", "/again"] {
            assert_eq!(super::text(master.address(), path), pid.to_string());
            assert_eq!(answering(master.address(), 3), [pid; 3], "{path}");
        }
        master.wait_state(0, "ready");
    });
}

#[test]
fn second_server_closed_by_all_workers_is_removed() {
    let Some(node) = a_node() else { return };
    for mode in MODES {
        let second = free_address();
        let text = format!(
            "{PID}
const second = require('http').createServer((q, r) => r.end('the second')).listen({}, '{}');
process.on('SIGUSR2', () => second.close());",
            second.port(),
            second.ip()
        );
        let master = app(node, &["--mode", mode, "-i", "2"], &text).start_ready();
        wait_until("the second to be open", || master.pool().listen.len() == 2);
        let pids = master.pids();
        crate::kit::kill(i64::from(pids[0]), "USR2");
        wait_until("the other one to answer alone", || get(second, "/").is_ok());
        assert!(is_listening(second));
        crate::kit::kill(i64::from(pids[1]), "USR2");
        wait_until("it to be closed", || !is_listening(second));
        eventually_eq!(master.pool().listen.len(), 1);
        at_once_eq!(master.pids(), pids, "nobody was replaced");
        all_answer(master.address(), &master);
    }
}

#[test]
fn worker_that_closes_its_only_server_is_replaced() {
    let Some(node) = a_node() else { return };
    let text = "
const server = require('http').createServer((q, r) => r.end(String(process.pid))).listen(3000);
process.on('SIGUSR2', () => server.close());";
    let master = app(node, &["--mode", "handoff", "-i", "2"], text).start_ready();
    let pid = master.pids()[0];
    crate::kit::kill(i64::from(pid), "USR2");
    wait_until("another in its place", || {
        let worker = master.worker(0);
        worker.state == "ready" && worker.pid != Some(pid)
    });
    all_answer(master.address(), &master);
}

#[test]
fn modules_and_options_of_node_change_nothing() {
    for node in two_nodes() {
        let text = "import http from 'node:http';
http.createServer((q, r) => r.end(String(process.pid))).listen(3000);";
        let command = [&node.program, "--max-old-space-size=64", "-r", "./first.cjs", "app.mjs"];
        let setup = Setup::app(&["--mode", "handoff", "-i", "2"], &command)
            .file("app.mjs", text)
            .file("first.cjs", "console.log('required first');")
            .env("NODE_OPTIONS", "--no-warnings");
        let master = setup.start_ready();
        all_answer(master.address(), &master);
        master.wait_log("required first");
    }
}

#[test]
fn fixed_inspector_port_goes_to_one_worker_and_others_go_on() {
    let Some(node) = a_node() else { return };
    let port = free_address();
    let inspect = format!("--inspect={port}");
    let setup = Setup::app(&["--mode", "handoff", "-i", "3"], &[&node.program, &inspect, "app.js"]);
    let master = setup.file("app.js", PID).start_ready();
    all_answer(master.address(), &master);
}

#[test]
fn wildcard_server_is_reached_by_both_families() {
    let Some(node) = a_node() else { return };
    let master = app(node, &["--mode", "handoff", "-i", "2", "-l", "[::1]:0", "-l", "127.0.0.1:0"], PID).start_ready();
    for address in master.pool().listen {
        assert_eq!(pids(address.parse().unwrap()).len(), 12);
    }
}
