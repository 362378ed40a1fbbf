//! A reload opens and closes public addresses and changes limits, and no client of an address that stays is
//! disturbed.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use roundelay_checker::{Allowance, Length, Load, Plan};

use crate::kit::{
    BINARY, Ended, Kept, Master, Setup, free_address, get, get_unix, kill, read_answer, run_to_end, send_get,
    wait_until,
};

/// A file of the demo pool, with these addresses and further lines.
fn file(listen: &[&str], lines: &str) -> String {
    format!("[pool.app]\ncommand = [\"{BINARY}\", \"demo-worker\"]\nworkers = 2\nlisten = {listen:?}\n{lines}\n")
}

#[track_caller]
fn start(text: &str) -> Master {
    let setup = Setup::new(&["run", "-c", "r.toml"]).without("ROUNDELAY_LISTEN").without("ROUNDELAY_LOG_FORMAT");
    setup.file("r.toml", text).start_ready()
}

fn run_command(master: &Master, args: &[&str]) -> Ended {
    run_to_end(Command::new(BINARY).args(args).env("ROUNDELAY_CONTROL", &master.control).current_dir(master.dir()))
}

fn reload(master: &Master, text: &str) -> Ended {
    std::fs::write(master.dir().join("r.toml"), text).unwrap();
    run_command(master, &["reload"])
}

#[track_caller]
fn is_done(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Starts a checked load on an address that stays.
#[track_caller]
fn load_on(address: SocketAddr) -> Load {
    let plan = Plan {
        kinds: "one-shot=2,keep-alive=1".parse().unwrap(),
        rate: 150.0,
        length: Length::UntilStopped,
        timeout: Duration::from_secs(30),
        ..Plan::new(address)
    };
    let load = Load::start(plan).unwrap();
    flows_on(&load);
    load
}

/// Waits until the load has more answers.
#[track_caller]
fn flows_on(load: &Load) {
    let until = load.so_far().good() + 30;
    wait_until("the load to flow", || load.so_far().good() >= until);
}

#[track_caller]
fn nobody_noticed(load: Load) {
    flows_on(&load);
    load.stop().analyse(&Allowance::none()).unwrap();
}

/// Waits until the address is closed. A worker that is just being forked has all of the master's sockets for a
/// moment.
#[track_caller]
fn is_closed(address: SocketAddr) {
    wait_until("the address to be closed", || TcpStream::connect(address).is_err());
}

#[test]
fn addresses_come_and_go_and_the_others_lose_no_client() {
    let (kept, other) = (free_address(), free_address());
    let [a, b] = [kept, other].map(|address| address.to_string());
    let master = start(&file(&[&a], ""));
    let load = load_on(kept);
    let path = master.dir().join("p");
    let unix = format!("unix:{}", path.display());
    is_done(&reload(&master, &file(&[&a, &b, &unix], "")));
    assert!(get(other, "/").unwrap().body.starts_with("hello from app/"));
    assert!(get_unix(&path, "/").unwrap().body.starts_with("hello from app/"));
    at_once_eq!(master.pool().listen, [&a, &b, &unix].map(Clone::clone));
    let list = run_command(&master, &["list", "--json"]).stdout;
    assert!([&a, &b, &unix].iter().all(|address| list.contains(address.as_str())), "{list}");
    is_done(&reload(&master, &file(&[&a], "")));
    is_closed(other);
    assert!(!path.exists());
    at_once_eq!(master.pool().listen, std::slice::from_ref(&a));
    // The second time shows that nothing was left of it.
    is_done(&reload(&master, &file(&[&b, &a], "")));
    at_once_eq!((get(other, "/health").unwrap().status, master.pool().listen), (200, vec![b, a]));
    nobody_noticed(load);
}

#[test]
fn clients_of_a_removed_address_are_answered_before_it_closes() {
    let (kept, other) = (free_address(), free_address());
    let [a, b] = [kept, other].map(|address| address.to_string());
    let slow = "hold-timeout = \"60s\"\nenv = { DEMO_START_DELAY = \"2000\" }";
    let master = start(&file(&[&a, &b], slow));
    // Without a worker all clients wait, until one has started again.
    master.pids().into_iter().for_each(|pid| kill(i64::from(pid), "KILL"));
    master.wait_accept_state("hold");
    let waiting = |address| (0..20).map(move |n| send_get(address, &format!("/api/{n}")).unwrap()).collect::<Vec<_>>();
    let (there, here) = (waiting(other), waiting(kept));
    is_done(&reload(&master, &file(&[&a], slow)));
    at_once_eq!(master.pool().listen, [a]);
    for client in there.into_iter().chain(here) {
        assert_eq!(read_answer(client).unwrap().status, 200);
    }
    is_closed(other);
}

#[test]
fn taken_address_fails_the_reload_and_its_holder_is_named() {
    let (kept, other) = (free_address(), free_address());
    let [a, b] = [kept, other].map(|address| address.to_string());
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let master = start(&file(&[&a], ""));
    let before = (master.pids(), master.pool().generation);
    let load = load_on(kept);
    let ended = reload(&master, &file(&[&a, &b, &taken], "max-connections = 7"));
    assert_eq!(ended.code, Some(6), "{ended:?}");
    for part in [
        &format!("cannot listen on {taken}: Address already in use"),
        "held by ",
        &format!("(pid {})", std::process::id()),
        "hint:  choose another, such as listen = ",
    ] {
        assert!(ended.stderr.contains(part), "{part} in {}", ended.stderr);
    }
    // The address that was bound before it is closed again.
    is_closed(other);
    at_once_eq!(((master.pids(), master.pool().generation), master.pool().listen), (before, vec![a.clone()]));
    // Once it is free, the reload gets it.
    drop(holder);
    is_done(&reload(&master, &file(&[&a, &taken], "")));
    at_once_eq!(master.pool().listen, [a, taken]);
    nobody_noticed(load);
}

#[test]
fn failed_reload_closes_new_addresses_and_keeps_the_old() {
    let (kept, other, new) = (free_address(), free_address(), free_address());
    let [a, b, c] = [kept, other, new].map(|address| address.to_string());
    let master = start(&file(&[&a, &b], ""));
    let load = load_on(kept);
    let broken = "env = { DEMO_FAIL_START = \"1\" }";
    let ended = reload(&master, &file(&[&a, &c], broken));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    is_closed(new);
    at_once_eq!((get(other, "/health").unwrap().status, master.pool().listen), (200, vec![a.clone(), b]));
    // The same file without the mistake.
    is_done(&reload(&master, &file(&[&a, &c], "")));
    is_closed(other);
    at_once_eq!((get(new, "/health").unwrap().status, master.pool().listen), (200, vec![a, c]));
    nobody_noticed(load);
}

#[test]
fn port_0_keeps_the_port_that_was_found() {
    let master = start(&file(&["127.0.0.1:0"], ""));
    let found = master.pool().listen;
    let load = load_on(master.address());
    is_done(&reload(&master, &file(&["127.0.0.1:0", "127.0.0.1:0"], "")));
    let both = master.pool().listen;
    assert_eq!((both.len(), &both[0]), (2, &found[0]));
    is_done(&reload(&master, &file(&["127.0.0.1:0"], "")));
    at_once_eq!(master.pool().listen, found);
    nobody_noticed(load);
}

#[test]
fn connection_limit_takes_effect_with_the_reload() {
    let master = start(&file(&["127.0.0.1:0"], "max-connections = 1"));
    is_done(&reload(&master, &file(&["127.0.0.1:0"], "max-connections = 3")));
    // Each client keeps its connection while the next one is answered.
    let mut clients: Vec<Kept> = Vec::new();
    for _ in 0..3 {
        let mut client = Kept::connect(master.address());
        assert_eq!(client.get("/health").status, 200);
        clients.push(client);
    }
    at_once_eq!(master.pool().active, Some(3));
    // Under a lower limit the connected clients stay, and new ones wait.
    drop(clients);
    is_done(&reload(&master, &file(&["127.0.0.1:0"], "max-connections = 1")));
    let mut first = Kept::connect(master.address());
    assert_eq!(first.get("/health").status, 200);
    let second = send_get(master.address(), "/health").unwrap();
    assert_eq!(first.get("/health").status, 200);
    at_once_eq!(master.pool().active, Some(1));
    drop(first);
    assert_eq!(read_answer(second).unwrap().status, 200);
}

#[test]
fn log_level_changes_with_the_reload() {
    let text = file(&["127.0.0.1:0"], "");
    let master = start(&text);
    is_done(&reload(&master, &format!("{text}[log]\nlevel = \"warn\"\n")));
    assert!(!master.log().contains("reload done"), "{}", master.log());
    is_done(&reload(&master, &text));
    master.wait_log("log.level has changed");
    master.wait_log("reload done");
}

#[test]
fn scaled_pool_keeps_its_size_unless_the_file_changes_it() {
    let text = file(&["127.0.0.1:0"], "");
    let master = start(&text);
    is_done(&run_command(&master, &["scale", "app", "3"]));
    is_done(&reload(&master, &format!("{text}settle = \"1ms\"\n")));
    at_once_eq!(master.pool().workers_desired, 3);
    is_done(&reload(&master, &text.replace("workers = 2", "workers = 1")));
    at_once_eq!(master.pool().workers_desired, 1);
}

#[test]
fn other_addresses_need_a_new_master_where_workers_accept() {
    let (a, b) = (free_address().to_string(), free_address());
    let master = start(&file(&[&a], "mode = \"shared\""));
    let ended = reload(&master, &file(&[&a, &b.to_string()], "mode = \"shared\""));
    assert_eq!(ended.code, Some(6), "{ended:?}");
    assert!(ended.stderr.contains("pool.app.listen: ") && ended.stderr.contains("needs a restart of the master"));
    is_closed(b);
    at_once_eq!(master.pool().listen, [a]);
}
