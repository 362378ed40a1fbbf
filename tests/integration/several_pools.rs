//! Several applications in one file do not affect each other.

use std::net::SocketAddr;

use crate::kit::{BINARY, Master, Setup, burst, wait_for, wait_until};

/// `steady` always works; `shaky` works until the file `broken` appears.
fn start() -> Master {
    let text = r#"
[pool.steady]
command = ["BINARY", "demo-worker"]
listen = "127.0.0.1:0"
workers = 2

[pool.shaky]
command = ["sh", "-c", "test -e broken && { echo out of order; exit 9; }; exec 'BINARY' demo-worker"]
listen = "127.0.0.1:0"
workers = 2
hold-timeout = "200ms"
[pool.shaky.restart]
backoff = "20ms"
backoff-max = "100ms"
max-exits = 5
"#;
    let setup = Setup::new(&["run", "-c", "pools.toml"]).without("ROUNDELAY_LISTEN");
    setup.file("pools.toml", &text.replace("BINARY", BINARY)).start_ready()
}

fn pool(master: &Master, name: &str) -> roundelay::api::state::PoolEntry {
    master.state().pools.into_iter().find(|pool| pool.name == name).unwrap()
}

fn address(master: &Master, name: &str) -> SocketAddr {
    pool(master, name).listen[0].parse().unwrap()
}

#[test]
fn each_pool_has_its_own_port_program_and_counters() {
    let master = start();
    for (name, count) in [("steady", 20), ("shaky", 30)] {
        let burst = burst(address(&master, name), "/", count);
        assert_eq!((burst.starting(&format!("hello from {name}/")), burst.failed.len()), (count, 0), "{burst:?}");
    }
    for (name, count) in [("steady", 20.0), ("shaky", 30.0)] {
        let label = format!("pool=\"{name}\"");
        eventually_eq!(master.metric("roundelay_connections_accepted_total", &[&label]), count);
        eventually_eq!(master.metric("roundelay_worker_connections_total", &[&label]), count);
    }
    master.wait_log("steady: round-robin over 2 workers");
    master.wait_log("shaky: round-robin over 2");
}

#[test]
fn crash_loop_of_one_pool_does_not_disturb_the_other() {
    let mut master = start();
    let (steady, shaky) = (address(&master, "steady"), address(&master, "shaky"));
    let before = pool(&master, "steady");
    master.touch("broken");
    for worker in pool(&master, "shaky").workers {
        crate::kit::kill(i64::from(worker.pid.unwrap()), "KILL");
    }
    let load = std::thread::scope(|scope| {
        let load = scope.spawn(|| burst(steady, "/", 600));
        wait_for("the other pool to fail", || {
            let failed = pool(&master, "shaky");
            failed.workers.iter().all(|worker| worker.state == "failed").then_some(())
        });
        load.join().unwrap()
    });
    assert_eq!((load.bodies.len(), load.failed.len()), (600, 0), "{:?}", load.failed);
    wait_until("its clients to be refused", || crate::kit::get(shaky, "/").is_err());
    let after = pool(&master, "steady");
    let pids =
        |pool: &roundelay::api::state::PoolEntry| pool.workers.iter().map(|worker| worker.pid).collect::<Vec<_>>();
    assert_eq!(pids(&after), pids(&before));
    eventually_eq!(master.metric("roundelay_connections_rejected_total", &[r#"pool="steady""#]), 0.0);
    let ready = || master.ask("/readyz");
    // One of its workers may just be starting again.
    eventually!(ready().body.contains("pool shaky: down, 0 of 2 workers ready"), "{:?}", ready());
    assert!(ready().status == 503 && !ready().body.contains("steady"), "{:?}", ready());

    // It is still retried, and recovers by itself.
    master.remove("broken");
    wait_until("it to heal", || pool(&master, "shaky").workers_ready == 2);
    assert_eq!(burst(shaky, "/", 10).failed, [""; 0]);
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    master.wait_no_family();
}

#[test]
fn failed_worker_with_give_up_exit_ends_the_master_with_1() {
    let script = format!("test -e broken && exit 9; exec '{BINARY}' demo-worker");
    let flags = [
        ["--set", "pool.app.restart.give-up=exit"],
        ["--set", "pool.app.restart.backoff=10ms"],
        ["--set", "pool.app.restart.backoff-max=20ms"],
        ["--set", "pool.app.restart.max-exits=2"],
        ["-i", "1"],
    ];
    let mut master = Setup::app(&flags.concat(), &crate::kit::shell(&script)).start_ready();
    master.touch("broken");
    master.kill_worker(0);
    assert_eq!(master.wait_end().code(), Some(1));
    let log = master.log();
    assert!(log.contains("error: app/0 ended too often") && log.contains("cause: exit code 9"), "{log}");
}
