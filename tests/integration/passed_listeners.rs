//! Listeners that the parent process passes to the master, as systemd's sockets.

use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::kit::{
    Master, Setup, a_node, burst, carried_out, environment, free_everywhere, get, get_unix, has, is_listening, python,
    says, wait_for, wait_until,
};

/// A Node application that says its pid.
const PID: &str =
    "require('http').createServer((q, r) => r.end(String(process.pid))).listen(process.env.PORT || 3000);";

/// An address on which nothing listens.
fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_everywhere()))
}

/// The master that is started with these listeners, each as NAME=ADDRESS; nothing without a Python.
fn passing(listeners: &[&str], setup: Setup) -> Option<Setup> {
    let launcher = [&[python()?, "-c", include_str!("passes.py")], listeners, &["--"]].concat();
    Some(setup.through(&launcher).without("ROUNDELAY_LISTEN"))
}

fn demo(flags: &[&str]) -> Setup {
    Setup::new(&[&["demo", "-i", "2"], flags].concat())
}

#[track_caller]
fn is_served(address: SocketAddr) {
    let burst = burst(address, "/", 8);
    assert_eq!(burst.failed, [""; 0]);
}

/// Checks that no process that the master started was told of the listeners that were passed to it.
#[track_caller]
fn workers_know_nothing(master: &Master, listeners: &[&str]) {
    for pid in master.pids() {
        let environment = environment(pid);
        let names = listeners.join(":");
        let is_told = |line: &&String| line.starts_with("LISTEN_FDNAMES=") && line.contains(&names);
        assert_eq!(environment.iter().find(is_told), None);
    }
}

#[test]
fn socket_activated_master_serves_the_client_that_woke_it() {
    if !has("systemd-socket-activate") {
        return;
    }
    let Some(python) = python() else { return };
    let address = free();
    let listen = address.to_string();
    let command = [python, "-m", "http.server", "{port}", "--bind", "127.0.0.1"];
    // `systemd-socket-activate` passes on only the variables that `-E` names.
    let kept = ["ROUNDELAY_ADMIN", "ROUNDELAY_CONTROL", "ROUNDELAY_LOG_FORMAT", "TEST_FOLDER"].map(|name| ["-E", name]);
    let starter = [&["systemd-socket-activate", "-l", &listen][..], kept.as_flattened()].concat();
    let setup = Setup::app(&["-i", "2", "-l", &listen], &command).through(&starter).without("ROUNDELAY_LISTEN");
    // `systemd-socket-activate` starts the master when the first client has come.
    let client = std::thread::spawn(move || wait_for("an answer", || get(address, "/").ok()));
    let mut master = setup.start_ready();
    assert_eq!(client.join().unwrap().status, 200);
    is_served(address);
    eventually_eq!(master.pool().listen, [listen]);
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0), "{}", master.log());
}

#[test]
fn passed_listener_is_used_by_its_address_in_every_mode() {
    for mode in ["proxy", "handoff", "shared"] {
        let address = free();
        let (listen, passed) = (address.to_string(), format!("web={address}"));
        let flags = ["--mode", mode, "-l", &listen];
        let Some(setup) = passing(&[&passed], demo(&flags)) else { return };
        eprintln!("{mode}");
        let master = setup.start_ready();
        eventually_eq!(master.pool().listen, [listen]);
        is_served(address);
        workers_know_nothing(&master, &["web"]);
    }
}

#[test]
fn passed_listener_is_used_by_its_name_for_node() {
    let Some(node) = a_node() else { return };
    for mode in ["proxy", "handoff", "shared"] {
        let address = free();
        let passed = format!("web.socket={address}");
        let flags = ["--mode", mode, "-i", "2", "-l", "fd:web.socket"];
        let setup = Setup::app(&flags, &[&node.program, "app.js"]).file("app.js", PID);
        let Some(setup) = passing(&[&passed], setup) else { return };
        eprintln!("{mode}");
        let master = setup.start_ready();
        eventually_eq!(master.pool().listen, [address.to_string()]);
        is_served(address);
        master.wait_log(&format!("public     http://{address}/"));
    }
}

#[test]
fn listener_name_stands_for_every_listener_of_it() {
    let [one, two, admin] = [free(), free(), free()];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("public");
    let passed =
        [format!("web={one}"), format!("admin={admin}"), format!("web={}", path.display()), format!("web={two}")];
    let admin_at = admin.to_string();
    let setup = demo(&["-l", "fd:web", "--admin", &admin_at]);
    let Some(setup) = passing(&passed.each_ref().map(String::as_str), setup) else { return };
    let mut master = setup.start_ready();
    eventually_eq!(master.pool().listen, [one.to_string(), format!("unix:{}", path.display()), two.to_string()]);
    is_served(one);
    is_served(two);
    assert_eq!(get_unix(&path, "/").unwrap().status, 200);
    assert_eq!(get(admin, "/readyz").unwrap().status, 200);
    assert!(!master.log().contains("passed listener closed"), "{}", master.log());
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    assert!(is_socket(&path), "the file belongs to the process that made it");
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

#[test]
fn unused_passed_descriptors_are_reported_and_closed() {
    let [used, unused] = [free(), free()];
    let (listen, passed) = (used.to_string(), [format!("web={used}"), format!("more={unused}"), "none=udp".to_owned()]);
    let Some(setup) = passing(&passed.each_ref().map(String::as_str), demo(&["-l", &listen])) else { return };
    let master = setup.start_ready();
    is_served(used);
    assert!(!is_listening(unused));
    let says = |words: &[&str]| master.log().lines().any(|line| words.iter().all(|word| line.contains(word)));
    eventually!(says(&["passed listener closed", "name=\"more\"", &unused.to_string()]), "{}", master.log());
    eventually!(says(&["passed descriptor closed", "name=\"none\""]), "{}", master.log());
}

#[test]
fn reload_keeps_a_passed_listener_and_closes_one_it_drops() {
    let [passed, other] = [free(), free()];
    let file = |listen: &str| {
        format!("[pool.app]\ncommand = [\"{}\", \"demo-worker\"]\nlisten = {listen}\n", crate::kit::BINARY)
    };
    let both = file(&format!("[\"fd:web\", \"{other}\"]"));
    let setup = Setup::new(&["run", "-c", "app.toml"]).file("app.toml", &both);
    let Some(setup) = passing(&[&format!("web={passed}")], setup) else { return };
    let master = setup.start_ready();
    carried_out(&master, &["reload"]);
    is_served(passed);
    is_served(other);
    std::fs::write(master.dir().join("app.toml"), file(&format!("\"{other}\""))).unwrap();
    carried_out(&master, &["reload"]);
    wait_until("the passed listener to be closed", || !is_listening(passed));
    is_served(other);
    std::fs::write(master.dir().join("app.toml"), &both).unwrap();
    let refused = crate::kit::run_command(&master, &["reload"]);
    assert_ne!(refused.code, Some(0));
    assert!(format!("{}{}", refused.stdout, refused.stderr).contains("when it is started"), "{refused:?}");
    is_served(other);
}

#[test]
fn passed_listener_that_cannot_be_used_stops_the_start() {
    let address = free();
    let (listen, passed) = (address.to_string(), format!("web={address}"));
    let wildcard = format!("0.0.0.0:{}", address.port());
    for (flags, words) in [
        (
            &["--mode", "reuseport", "-l", &listen][..],
            &["reuseport", "was passed to this process", "mode `shared`"][..],
        ),
        (&["-l", "fd:wbe"], &["cannot listen on fd:wbe", "are called web", "FileDescriptorName=wbe"]),
        (&["-l", &wildcard], &["was passed to this process", "fd:web", &listen]),
    ] {
        eprintln!("{flags:?}");
        let Some(setup) = passing(&[&passed], demo(flags)) else { return };
        says(&setup.run_to_end(), 1, words);
    }
    let Some(setup) = passing(&[&passed], demo(&["--mode", "reuseport", "-l", "fd:web"])) else { return };
    says(&setup.run_to_end(), 2, &["fd:web", "use mode `shared`"]);
    let Some(setup) = passing(&[&passed], demo(&["-l", &listen])) else { return };
    says(&setup.env("PASS_AS", "1").run_to_end(), 1, &["LISTEN_PID must be its own pid"]);
}
