//! At its limits the master waits; it neither spins nor drops what it has.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use tokio::time::Instant;

use crate::kit::{Master, Setup, clients, cpu_time, get, has, read_answer, send_get, wait_until};

/// Connects without a word; the kernel completes the handshake whether or not the master accepts.
#[track_caller]
fn idle(master: &Master, count: usize) -> Vec<TcpStream> {
    let address = master.address();
    (0..count).map(|_| TcpStream::connect(address).unwrap()).collect()
}

/// Asks on a connection that was idle.
#[track_caller]
fn is_served(mut client: TcpStream) {
    write!(client, "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(read_answer(client).unwrap().body, "ok\n");
}

/// While `meanwhile` runs, `count` clients ask at once; a client that has its answer makes room for the next.
#[track_caller]
fn all_are_served(master: &Master, count: usize, meanwhile: impl FnOnce()) {
    let address = master.address();
    let answers = std::thread::scope(|scope| {
        let asking = scope.spawn(|| clients(count, count, |_| get(address, "/")));
        meanwhile();
        asking.join().unwrap()
    });
    for answer in answers {
        assert!(answer.unwrap().body.starts_with("hello from demo/"));
    }
}

/// The master comes to rest while nothing happens to it: a loop that spins never does.
#[track_caller]
fn does_not_spin(master: &Master) {
    const WINDOW: Duration = Duration::from_millis(300);
    let now = || (Instant::now(), cpu_time(master.pid()));
    let mut before = now();
    wait_until("the master to rest", || {
        let (time, cpu) = now();
        if time - before.0 < WINDOW {
            return false;
        }
        let is_resting = cpu - before.1 < (time - before.0) / 4;
        before = (time, cpu);
        is_resting
    });
}

#[test]
fn connections_over_the_pools_limit_wait_and_are_served() {
    for threads in ["1", "2"] {
        let flags = ["demo", "-i", "2", "--threads", threads, "--set", "pool.demo.max-connections=10"];
        let master = Setup::new(&flags).start_ready();
        let open = idle(&master, 10);
        wait_until("ten to be open", || master.pool().active == Some(10));
        all_are_served(&master, 30, || {
            does_not_spin(&master);
            assert_eq!(master.ask("/livez").status, 200);
            assert_eq!((master.pool().accepted, master.pool().active), (Some(10), Some(10)));
            assert_eq!(master.metric("roundelay_connections_limit", &[]), 10.0);
            open.into_iter().for_each(is_served);
        });
        assert_eq!(master.pool().accepted, Some(40));
        assert_eq!(master.metric("roundelay_connections_rejected_total", &[]), 0.0);
    }
}

#[test]
fn the_masters_limit_holds_over_all_pools() {
    let text = "[master]\nmax-connections = 6\n[pool.a]\ncommand = [\"BINARY\", \"demo-worker\"]\nlisten = \"127.0.0.1:0\"\n\
                workers = 1\n[pool.b]\ncommand = [\"BINARY\", \"demo-worker\"]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n";
    let text = text.replace("BINARY", crate::kit::BINARY);
    let setup = Setup::new(&["run", "-c", "two.toml"]).without("ROUNDELAY_LISTEN").file("two.toml", &text);
    let master = setup.start_ready();
    let pools = master.state().pools;
    let address = |pool: usize| pools[pool].listen[0].parse::<std::net::SocketAddr>().unwrap();
    let active = || master.state().pools.iter().filter_map(|pool| pool.active).sum::<i64>();
    let mut open: Vec<_> = (0..6).map(|n| TcpStream::connect(address(n % 2)).unwrap()).collect();
    wait_until("six to be open", || active() == 6);
    let waiting = [0, 1].map(|pool| send_get(address(pool), "/").unwrap());
    does_not_spin(&master);
    assert_eq!(active(), 6);
    // Room in either pool is room for both.
    open.drain(..2).for_each(is_served);
    for client in waiting {
        assert_eq!(read_answer(client).unwrap().status, 200);
    }
    open.into_iter().for_each(is_served);
}

#[test]
fn few_descriptors_bound_the_connections_and_nothing_else() {
    if !has("prlimit") {
        return;
    }
    // 256 are kept for everything else, a connection takes two.
    let setup = Setup::new(&["demo", "-i", "2", "--threads", "2"]).through(&["prlimit", "--nofile=320:320"]);
    let master = setup.start_ready();
    let open = idle(&master, 32);
    wait_until("32 to be open", || master.pool().active == Some(32));
    all_are_served(&master, 40, || {
        does_not_spin(&master);
        assert_eq!(master.pool().active, Some(32));
        assert!(master.workers().iter().all(|worker| worker.state == "ready"));
        open.into_iter().for_each(is_served);
    });
    // A worker can still be replaced while all are taken.
    let open = idle(&master, 32);
    wait_until("32 to be open", || master.pool().active == Some(32));
    master.kill_worker(0);
    wait_until("a successor", || master.worker(0).restarts == 1 && master.worker(0).state == "ready");
    drop(open);
    assert_eq!(master.metric("roundelay_accept_errors_total", &[]), 0.0);
}

#[test]
fn a_master_that_has_hardly_any_descriptors_serves_one_client_after_the_other() {
    if !has("prlimit") {
        return;
    }
    let setup = Setup::new(&["demo", "-i", "2"]).through(&["prlimit", "--nofile=64:64"]);
    let master = setup.start_ready();
    let first = idle(&master, 1).remove(0);
    wait_until("it to be open", || master.pool().active == Some(1));
    all_are_served(&master, 40, || {
        does_not_spin(&master);
        assert_eq!(master.pool().active, Some(1));
        is_served(first);
    });
}

#[test]
fn without_a_descriptor_left_accepting_pauses_and_resumes() {
    if !has("prlimit") {
        return;
    }
    // More connections are allowed than there are descriptors for: what the limits otherwise prevent.
    let flags = ["demo", "-i", "2", "--threads", "2", "--set", "master.max-connections=1000"];
    let mut master = Setup::new(&flags).through(&["prlimit", "--nofile=100:100"]).start_ready();
    let open = idle(&master, 200);
    wait_until("accept to fail", || {
        // The control socket needs a descriptor, too: the log tells.
        master.log().contains("accepting pauses")
    });
    does_not_spin(&master);
    let begun = Instant::now();
    wait_until("four health checks to be due", || begun.elapsed() > Duration::from_millis(1500));
    drop(open);
    wait_until("the connections' end", || {
        crate::kit::get_unix(&master.control, "/livez").is_ok() && master.pool().active == Some(0)
    });
    master.wait_all_ready();
    assert_eq!(crate::kit::burst(master.address(), "/", 20).failed, [""; 0]);
    assert!(master.metric("roundelay_accept_errors_total", &[r#"reason="exhausted""#]) > 0.0);
    assert!(master.workers().iter().all(|worker| worker.restarts == 0));
    assert_eq!(master.metric("roundelay_health_transitions_total", &[]), 0.0, "the lack was the master's, not theirs");
}
