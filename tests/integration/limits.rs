//! At its limits the master waits: it neither spins nor drops connections that it has.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::kit::{
    Ended, Master, Setup, clients, cpu_time, for_each, get, has, read_answer, run_command, send_get, stays, wait_until,
};

/// Connects without a word; the kernel completes the handshake whether or not the master accepts.
#[track_caller]
fn idle(master: &Master, count: usize) -> Vec<TcpStream> {
    let address = master.address();
    (0..count).map(|_| TcpStream::connect(address).unwrap()).collect()
}

/// Asks on a connection that was idle.
#[track_caller]
fn is_served(mut client: TcpStream) {
    client.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
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

/// Checks that the master comes to rest while nothing happens to it: a loop that spins never does.
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
            eventually_eq!((master.pool().accepted, master.pool().active), (Some(10), Some(10)));
            eventually_eq!(master.metric("roundelay_connections_limit", &[]), 10.0);
            open.into_iter().for_each(is_served);
        });
        eventually_eq!(master.pool().accepted, Some(40));
        eventually_eq!(master.metric("roundelay_connections_rejected_total", &[]), 0.0);
    }
}

#[test]
fn master_limit_holds_over_all_pools() {
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
fn few_descriptors_bound_only_the_connections() {
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
        eventually_eq!(master.pool().active, Some(32));
        eventually!(master.workers().iter().all(|worker| worker.state == "ready"));
        open.into_iter().for_each(is_served);
    });
    // A worker can still be replaced while all are taken.
    let open = idle(&master, 32);
    wait_until("32 to be open", || master.pool().active == Some(32));
    master.kill_worker(0);
    wait_until("a successor", || master.worker(0).restarts == 1 && master.worker(0).state == "ready");
    drop(open);
    eventually_eq!(master.metric("roundelay_accept_errors_total", &[]), 0.0);
}

#[test]
fn master_with_hardly_any_descriptors_serves_one_at_a_time() {
    if !has("prlimit") {
        return;
    }
    let setup = Setup::new(&["demo", "-i", "2"]).through(&["prlimit", "--nofile=64:64"]);
    let master = setup.start_ready();
    let first = idle(&master, 1).remove(0);
    wait_until("it to be open", || master.pool().active == Some(1));
    all_are_served(&master, 40, || {
        does_not_spin(&master);
        eventually_eq!(master.pool().active, Some(1));
        is_served(first);
    });
}

#[test]
fn accepting_pauses_without_descriptors_and_resumes() {
    if !has("prlimit") {
        return;
    }
    // Fewer descriptors are left than the limits count on, as where the whole machine runs out of them.
    let mut master = Setup::new(&["demo", "-i", "2", "--threads", "2"]).start_ready();
    let few = std::process::Command::new("prlimit").args(["--nofile=100", "--pid", &master.pid().to_string()]).status();
    assert!(few.unwrap().success());
    let open = idle(&master, 200);
    wait_until("accept to fail", || {
        // The control socket needs a descriptor, too: the log tells.
        master.log().contains("accepting pauses")
    });
    does_not_spin(&master);
    // Four health checks are due meanwhile. The control socket may have no descriptor, too: the log tells.
    stays("nobody is replaced", Duration::from_millis(1500), || !master.log().contains("worker died"));
    drop(open);
    wait_until("the connections' end", || {
        crate::kit::get_unix(&master.control, "/livez").is_ok() && master.pool().active == Some(0)
    });
    master.wait_all_ready();
    assert_eq!(crate::kit::burst(master.address(), "/", 20).failed, [""; 0]);
    eventually!(master.metric("roundelay_accept_errors_total", &[r#"reason="exhausted""#]) > 0.0);
    eventually!(master.workers().iter().all(|worker| worker.restarts == 0));
    eventually_eq!(
        master.metric("roundelay_health_transitions_total", &[]),
        0.0,
        "the lack was the master's, not theirs"
    );
}

/// Opens `count` idle connections to a unix socket.
#[track_caller]
fn idle_unix(path: &Path, count: usize) -> Vec<UnixStream> {
    (0..count).map(|_| UnixStream::connect(path).unwrap()).collect()
}

/// `roundelay status` ends with this code and prints these words.
#[track_caller]
fn status_says(master: &Master, code: i32, words: &[&str]) {
    let status = || run_command(master, &["status"]);
    let is_said = |ended: &Ended| ended.code == Some(code) && words.iter().all(|word| ended.stdout.contains(word));
    eventually!(is_said(&status()), "{code} {words:?}: {:?}", status());
}

#[test]
fn exhausted_descriptors_are_in_log_status_and_metrics() {
    if !has("prlimit") {
        return;
    }
    let limits = [("auto", None), ("1000", Some("is more than the limit of open files allows"))];
    let cases: Vec<_> = ["proxy", "handoff"].iter().flat_map(|mode| limits.map(|limit| (mode, limit))).collect();
    for_each(&cases, |&(mode, (configured, log))| {
        let set = format!("master.max-connections={configured}");
        let setup = Setup::new(&["demo", "-i", "2", "--mode", mode, "--set", &set]);
        let master = setup.through(&["prlimit", "--nofile=300:300"]).start_ready();
        eventually_eq!(master.pool().limited_by, None);
        let few = idle(&master, 22);
        wait_until("22 to be open", || master.pool().active == Some(22));
        eventually_eq!(master.pool().limited_by, None, "no client waits");
        let more = idle(&master, 20);
        wait_until("it to be said", || master.pool().limited_by.as_deref() == Some("open_files"));
        let reason = r#"reason="open_files""#;
        eventually_eq!(master.metric("roundelay_accept_limited", &[reason]), 1.0);
        status_says(&master, 7, &["degraded", "clients wait: the limit of open files is used up"]);
        eventually!(run_command(&master, &["list"]).stdout.contains("clients wait"));
        // The reserve is there all the same.
        master.kill_worker(0);
        wait_until("a successor", || master.worker(0).restarts == 1 && master.worker(0).state == "ready");
        wait_until("its room to be used", || master.pool().active == Some(22));
        drop((few, more));
        wait_until("nothing to be said any more", || master.pool().limited_by.is_none());
        eventually_eq!(run_command(&master, &["status"]).code, Some(0));
        eventually_eq!(master.metric("roundelay_accept_limited_total", &[reason]), 1.0);
        eventually_eq!(master.log().matches("clients wait: there are as many connections").count(), 1);
        eventually!(log.is_none_or(|log| master.log().contains(log)));
        eventually_eq!(master.metric("roundelay_accept_errors_total", &[]), 0.0);
    });
}

#[test]
fn pool_limit_is_shown_and_is_no_fault() {
    let setup = Setup::new(&["demo", "-i", "2", "--set", "pool.demo.max-connections=3"]);
    let master = setup.start_ready();
    let _open = idle(&master, 4);
    wait_until("it to be said", || master.pool().limited_by.as_deref() == Some("max_connections"));
    status_says(&master, 0, &["ready", "clients wait: max-connections is reached"]);
    master.wait_log("clients wait: max-connections of the pool is reached");
}

#[test]
fn reserve_lets_a_whole_pool_respawn_in_every_mode() {
    if !has("prlimit") {
        return;
    }
    for mode in ["proxy", "handoff", "shared", "reuseport"] {
        eprintln!("{mode}");
        // 128 for the master itself, 7 a worker.
        let setup = Setup::new(&["demo", "-i", "24", "--mode", mode, "--set", "master.max-connections=1000"]);
        let mut master = setup.through(&["prlimit", "--nofile=330:330"]).start_ready();
        let _clients = idle(&master, 200);
        // The connections that the control socket and the admin port may take, minus those of the test itself.
        let (_control, admin) = (idle_unix(&master.control, 24), master.admin());
        let _admin: Vec<_> = (0..24).map(|_| TcpStream::connect(admin).unwrap()).collect();
        for pid in master.pids() {
            crate::kit::kill(i64::from(pid), "KILL");
        }
        wait_until("all to be respawned", || master.workers().iter().all(|worker| worker.restarts == 1));
        master.wait_all_ready();
        assert!(!master.log().contains("Too many open files"), "{}", master.log());
    }
}

#[test]
fn workers_without_a_descriptor_are_reported_in_every_mode() {
    for_each(&["handoff", "shared", "reuseport"], |mode| {
        // They would be found hung meanwhile, and replaced.
        let sets =
            ["pool.demo.limit-nofile=40", "pool.demo.health.hang-timeout=off", "pool.demo.health.busy-timeout=off"];
        let flags: Vec<_> = sets.iter().flat_map(|&set| ["--set", set]).collect();
        let setup = Setup::new(&[&["demo", "-i", "1", "--mode", mode], &flags[..]].concat());
        let master = setup.start_ready();
        let open = idle(&master, 60);
        wait_until("it to be said", || master.pool().limited_by.as_deref() == Some("worker_open_files"));
        master.wait_log("a worker has as many descriptors open as its limit allows; raise limit-nofile");
        // `status` may show a count that was read a moment ago.
        wait_until("status to name the worker", || {
            let status = run_command(&master, &["status"]);
            status.code == Some(7)
                && status.stdout.contains("out of descriptors: ")
                && status.stdout.contains(" of 40 open")
        });
        drop(open);
        wait_until("nothing to be said any more", || run_command(&master, &["status"]).code == Some(0));
        assert_eq!(get(master.address(), "/").unwrap().status, 200);
    });
}
