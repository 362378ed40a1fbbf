//! `--mode shared`: the workers accept from the one listening socket, which they inherit and the master keeps.

mod harm;
mod refused;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};

use crate::kit::{
    BINARY, Kept, Master, Setup, burst, clients, command_line, demo_after, descriptors, environment, express, get_unix,
    has, is_read, python, read_answer, send_get, shell, variable, wait_for, wait_until,
};

/// A pool `app` of `count` workers that accept by themselves.
fn pool(count: &str, flags: &[&str], command: &[&str]) -> Setup {
    Setup::app(&[&["--mode", "shared", "-i", count], flags].concat(), command)
}

/// The pool `demo`, of demo workers.
fn demo(count: &str, flags: &[&str]) -> Setup {
    Setup::new(&[&["demo", "--mode", "shared", "-i", count], flags].concat())
}

/// A pool of `accepts.py`, if there is a Python.
fn plain(count: &str, flags: &[&str], more: &[&str]) -> Option<Setup> {
    let command = [&[python()?, "-c", include_str!("accepts.py")], more].concat();
    Some(pool(count, &[&["--ready", "none"], flags].concat(), &command))
}

/// Asks until every one of `hellos` has answered: the kernel chooses which worker accepts.
#[track_caller]
fn all_say(address: SocketAddr, hellos: &[String]) {
    let mut missing: Vec<_> = hellos.to_vec();
    wait_until("every worker to have answered", || {
        let burst = burst(address, "/", 20);
        assert_eq!(burst.failed, [""; 0]);
        missing.retain(|hello| burst.starting(hello) == 0);
        missing.is_empty()
    });
}

fn hellos(of: &str, count: usize) -> Vec<String> {
    (0..count).map(|slot| format!("{of}{slot} ")).collect()
}

#[test]
fn demo_workers_all_answer_and_are_ready_by_notify() {
    let master = demo("3", &[]).start_ready();
    all_say(master.address(), &hellos("hello from demo/", 3));
    eventually!(master.workers().iter().all(|worker| worker.endpoint.as_deref() == Some("inherited")));
    assert_eq!(master.ask("/readyz").status, 200);
    master.wait_log("3 workers accept by themselves");
}

#[test]
fn worker_is_not_ready_before_its_ready_message() {
    let script = demo_after("until test -e go; do sleep 0.01; done");
    let mut master = pool("2", &[], &shell(&script)).start();
    wait_until("both to run", || master.pids().len() == 2);
    eventually!(master.workers().iter().all(|worker| worker.state == "starting"));
    assert_eq!(master.ask("/readyz").status, 503);
    // A client that comes before the first worker is ready waits in the queue.
    let early = send_get(master.address(), "/").unwrap();
    master.touch("go");
    assert!(read_answer(early).unwrap().body.starts_with("hello from app/"));
    master.wait_all_ready();
}

/// Checks the variables about listeners in a worker's environment.
#[track_caller]
fn assert_told(pid: u32, count: &str, names: &str) {
    let environment = environment(pid);
    let told = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"].map(|name| variable(&environment, name));
    assert_eq!(told, [count.to_owned(), pid.to_string(), names.to_owned()]);
    for name in ["PORT=", "HOST="] {
        assert!(environment.iter().all(|one| !one.starts_with(name)), "{environment:?}");
    }
}

#[test]
fn worker_inherits_only_the_listeners_from_descriptor_3_on() {
    let two = ["--ready", "none", "-l", "127.0.0.1:0", "-l", "[::1]:0"];
    for (flags, count, names) in [(&two[..2], "1", "app"), (&two[..], "2", "app:app")] {
        let stray = ["sh", "-c", "exec 9</etc/passwd 7>&1; exec \"$@\"", "sh"];
        let setup = pool("2", flags, &["sleep", "600"]).through(&stray);
        let canaries = ["PORT", "HOST", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];
        let master = canaries.iter().fold(setup, |setup, name| setup.env(name, "7")).start_ready();
        let listening: Vec<_> = master.pool().listen.iter().map(|address| inode(address)).collect();
        for pid in master.pids() {
            assert_eq!(command_line(pid), ["sleep", "600"]);
            assert_told(pid, count, names);
            let found = descriptors(pid);
            let sockets = listening.iter().map(|inode| format!("socket:[{inode}]"));
            let expected: Vec<_> = (3..).zip(sockets).collect();
            assert_eq!(found[3..], expected, "in the order of `listen`: {found:?}");
            assert!(found[..3].iter().map(|(number, _)| *number).eq(0..3), "{found:?}");
            assert!(!is_nonblocking(pid, 3), "it is handed over blocking");
        }
    }
}

/// The inode of the socket that listens at an IPv4 or IPv6 loopback address.
#[track_caller]
fn inode(address: &str) -> u64 {
    let address: SocketAddr = address.parse().unwrap();
    let table = if address.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let table = std::fs::read_to_string(table).unwrap();
    let port = format!(":{:04X}", address.port());
    let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut listening = row.filter(|fields| fields[3] == "0A" && fields[1].ends_with(&port));
    listening.next().unwrap()[9].parse().unwrap()
}

fn is_nonblocking(pid: u32, descriptor: u32) -> bool {
    let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:\t")).unwrap();
    u32::from_str_radix(flags, 8).unwrap() & 0o4000 != 0
}

#[test]
fn plain_accepting_program_is_served() {
    let Some(setup) = plain("3", &[], &[]) else { return };
    let master = setup.start_ready();
    all_say(master.address(), &hellos("python/", 3));
    for pid in master.pids() {
        assert_told(pid, "1", "app");
        assert!(!is_nonblocking(pid, 3));
    }
}

#[test]
fn pool_with_two_addresses_passes_both_listeners() {
    let Some(setup) = plain("2", &["-l", "127.0.0.1:0", "-l", "127.0.0.1:0"], &[]) else { return };
    let master = setup.start_ready();
    for (address, descriptor) in master.pool().listen.iter().zip([3, 4]) {
        let burst = burst(address.parse().unwrap(), "/", 20);
        let right = burst.bodies.iter().filter(|body| body.ends_with(&format!(" on {descriptor}\n"))).count();
        assert_eq!((right, burst.failed.len()), (20, 0), "{burst:?}");
    }

    let master = demo("2", &["-l", "127.0.0.1:0", "-l", "127.0.0.1:0"]).start_ready();
    for address in master.pool().listen {
        all_say(address.parse().unwrap(), &hellos("hello from demo/", 2));
    }
}

#[test]
fn public_unix_address_is_served_and_removed_at_the_end() {
    let setup = demo("2", &[]);
    let public = setup.dir().join("public");
    let mut master = setup.arg("-l").arg(&format!("unix:{}", public.display())).start_ready();
    let answers = clients(4, 40, |_| get_unix(&public, "/"));
    let bodies: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().body).collect();
    assert!(bodies.iter().all(|body| body.starts_with("hello from demo/")), "{bodies:?}");
    let dead = master.kill_worker(0);
    wait_until("a successor", || master.worker(0).pid.is_some_and(|pid| pid != dead));
    master.wait_all_ready();
    assert!(get_unix(&public, "/").is_ok());
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    assert!(!public.exists());
}

#[test]
fn express_app_listens_on_descriptor_3() {
    let Some(app) = express() else { return };
    let modules = std::path::Path::new(app).with_file_name("node_modules");
    let script = format!(
        "const app = require('{}/express')();
         app.get('/', (request, response) => response.send(`node/${{process.env.ROUNDELAY_WORKER}} answers`));
         const server = app.listen({{ fd: 3 }});
         process.once('SIGTERM', () => server.close());",
        modules.display()
    );
    let flags = ["--ready", "none", "--set", "pool.app.socket-passing=\"listen-fds\""];
    let mut master = pool("2", &flags, &["node", "-e", &script]).start_ready();
    all_say(master.address(), &hellos("node/", 2));
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    eventually_eq!(master.log().matches("exit=exit code 0").count(), 2, "{}", master.log());
}

/// Debian's lighttpd, as a systemd unit with a socket would start it.
#[test]
fn socket_activated_web_server_of_debian_is_served() {
    if !has("lighttpd") {
        return;
    }
    let config = "server.systemd-socket-activation = \"enable\"\n\
                  server.document-root = var.CWD\n\
                  mimetype.assign = ( \".txt\" => \"text/plain\" )\n";
    let setup = pool("3", &["--ready", "none"], &["lighttpd", "-D", "-f", "site.conf"]);
    let mut master = setup.file("site.conf", config).file("page.txt", "a page").start_ready();
    let pages = |count| {
        let burst = burst(master.address(), "/page.txt", count);
        assert_eq!((burst.starting("a page"), burst.failed.len()), (count, 0), "{burst:?}");
    };
    pages(60);
    let dead = master.kill_worker(1);
    pages(60);
    wait_until("a successor", || master.worker(1).pid.is_some_and(|pid| pid != dead));
    wait_until("all to have started", || master.log().matches("server started").count() == 4);
    // The workers listen nowhere else, so the answers come from the passed listener.
    for pid in master.pids() {
        let sockets = descriptors(pid).into_iter().filter(|(_, target)| target.starts_with("socket:"));
        assert_eq!(sockets.map(|(number, _)| number).collect::<Vec<_>>(), [3]);
    }
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    eventually_eq!(master.log().matches("exit=exit code 0").count(), 3, "{}", master.log());
}

/// The spread is no promise: the kernel wakes any of the waiting workers.
#[test]
fn every_connection_is_answered_once() {
    let spread = |name: &str, path: &str, master: &Master, hellos: &[String]| {
        // All workers answer.
        all_say(master.address(), hellos);
        let burst = burst(master.address(), path, 1200);
        assert_eq!(burst.failed, [""; 0]);
        let answered: Vec<_> = hellos.iter().map(|hello| burst.starting(hello)).collect();
        eprintln!("1,200 connections over 3 {name} by the kernel: {answered:?}");
        assert_eq!(answered.iter().sum::<usize>(), 1200);
    };
    spread("demo workers", "/", &demo("3", &[]).start_ready(), &hellos("hello from demo/", 3));
    if let Some(setup) = plain("3", &[], &[]) {
        spread("blocking accepts", "/quick", &setup.start_ready(), &hellos("python/", 3));
    }
}

#[test]
fn stop_signals_workers_at_once_and_open_requests_finish() {
    let mut master = demo("3", &[]).start_ready();
    let address = master.address();
    let mut slow = Kept::connect(address);
    slow.send("GET /slow/3000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wait_until("a worker to have the request", || is_read(address, slow.local()));
    master.signal("TERM");
    // Two workers have nothing open, and do not wait for the third.
    wait_until("the idle workers' end", || {
        master.workers().iter().filter(|worker| worker.state == "stopped").count() == 2
    });
    // A new client is refused, instead of waiting in a queue that no worker serves any more.
    let refused = wait_for("new connections to be refused", || TcpStream::connect(address).err());
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    eventually!(master.state().is_stopping);
    let answer = slow.answer();
    assert_eq!((answer.body.as_str(), answer.says_close()), ("waited 3000 ms\n", true), "{answer:?}");
    assert_eq!(slow.rest(), "");
    assert_eq!(master.wait_end().code(), Some(0));
    let log = master.log();
    assert_eq!(log.matches("exit=exit code 0").count(), 3, "{log}");
    master.wait_no_family();
}

#[test]
fn stop_of_accepting_workers_does_not_wait_for_another_pool() {
    let file = r#"
[pool.relayed]
command = ["BINARY", "demo-worker"]
listen = "127.0.0.1:0"
workers = 1
[pool.shared]
command = ["BINARY", "demo-worker"]
mode = "shared"
listen = "127.0.0.1:0"
workers = 2
"#;
    let setup = Setup::new(&["run", "-c", "two.toml"]).without("ROUNDELAY_LISTEN");
    let mut master = setup.file("two.toml", &file.replace("BINARY", BINARY)).start_ready();
    let slow = send_get(master.address(), "/slow/1000").unwrap();
    wait_until("the request to be under way", || master.worker(0).active == Some(1));
    master.signal("TERM");
    wait_until("the workers' end", || master.state().pools[1].workers.iter().all(|worker| worker.state == "stopped"));
    eventually_eq!(master.worker(0).active, Some(1), "the other pool's worker goes on");
    assert_eq!(read_answer(slow).unwrap().body, "waited 1000 ms\n");
    assert_eq!(master.wait_end().code(), Some(0));
}
