//! One public address in every mode: `--listen`, else the caller's `PORT`, else 127.0.0.1:8080.

use std::net::SocketAddr;

use crate::kit::{Setup, a_node, free_everywhere, get, is_listening, python, wait_for};

/// The application of the README: it listens on `PORT` and `HOST`.
const README_APP: &str = "require('http').createServer((q, r) => r.end('hello from process ' + process.pid))
    .listen(process.env.PORT, process.env.HOST);";

/// An application as in every tutorial.
const FIXED_PORT: &str =
    "require('http').createServer((q, r) => r.end('hello from process ' + process.pid)).listen(3000);";

/// An address on 127.0.0.1 on which nothing listens.
fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_everywhere()))
}

/// The command's master with `PORT`, and without any other word on where to listen.
fn on_port(port: u16, flags: &[&str], command: &[&str]) -> Setup {
    Setup::app(flags, command).without("ROUNDELAY_LISTEN").env("PORT", &port.to_string())
}

/// Starts it; `expected` must be its only public address, serve and stand in the banner.
#[track_caller]
fn serves_only_at(expected: SocketAddr, setup: Setup) {
    let master = setup.start_ready();
    eventually_eq!(master.pool().listen, [expected.to_string()]);
    let answer = get(expected, "/").unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    master.wait_log(&format!("public     http://{expected}/"));
}

#[test]
fn port_of_the_caller_is_public_for_node_in_every_mode() {
    let Some(node) = a_node() else { return };
    for (mode, app) in [
        ("proxy", README_APP),
        ("handoff", README_APP),
        ("shared", README_APP),
        ("handoff", FIXED_PORT),
        ("shared", FIXED_PORT),
    ] {
        eprintln!("{mode}");
        let (address, flags) = (free(), ["--mode", mode, "-i", "2"]);
        let setup = on_port(address.port(), &flags, &[&node.program, "app.js"]);
        serves_only_at(address, setup.file("app.js", app));
    }
}

#[test]
fn port_of_the_caller_is_public_for_python() {
    let Some(python) = python() else { return };
    let address = free();
    let command = [python, "-m", "http.server", "{port}", "--bind", "127.0.0.1"];
    serves_only_at(address, on_port(address.port(), &["-i", "2"], &command));
}

#[test]
fn workers_that_inherit_listeners_have_port_of_the_caller() {
    let Some(python) = python() else { return };
    for mode in ["shared", "reuseport"] {
        eprintln!("{mode}");
        let (address, flags) = (free(), ["--mode", mode, "-i", "2", "--ready", "none"]);
        let command = [python, "-c", include_str!("shared/accepts.py")];
        let master = on_port(address.port(), &flags, &command).start_ready();
        eventually_eq!(master.pool().listen, [address.to_string()], "{mode}");
        wait_for("an answer", || get(address, "/").ok());
    }
}

#[test]
fn listen_flag_wins_over_port_of_the_caller() {
    let Some(node) = a_node() else { return };
    for mode in ["proxy", "handoff", "shared"] {
        eprintln!("{mode}");
        let [address, other] = [free(), free()];
        let listen = address.to_string();
        let flags = ["--mode", mode, "-i", "1", "--listen", &listen];
        let setup = on_port(other.port(), &flags, &[&node.program, "app.js"]).file("app.js", README_APP);
        serves_only_at(address, setup);
        assert!(!is_listening(other));
    }
}

#[test]
fn listen_app_serves_and_prints_the_address_of_the_application() {
    let Some(node) = a_node() else { return };
    for mode in ["handoff", "shared"] {
        eprintln!("{mode}");
        let address = free();
        let flags = ["--mode", mode, "-i", "2", "--listen", "app"];
        let app = README_APP.replace("process.env.HOST", "'127.0.0.1'");
        let setup = on_port(address.port(), &flags, &[&node.program, "app.js"]).file("app.js", &app);
        serves_only_at(address, setup);
    }
}

#[test]
fn roundelay_as_a_worker_listens_where_it_is_told() {
    for endpoint in ["port", "unix"] {
        eprintln!("{endpoint}");
        let inner = [crate::kit::BINARY, "demo", "-i", "1", "--admin", "off", "--control", "off"];
        let master = Setup::app(&["-i", "1", "--endpoint", endpoint], &inner).start_ready();
        let answer = master.get("/").unwrap();
        assert!(answer.body.starts_with("hello from demo/0"), "{answer:?}");
    }
}
