//! The master's reports about itself are true, everywhere the same, and change nothing.

use std::process::Command;

use crate::kit::{BINARY, Ended, Master, Setup, burst, demo_after, get, run_to_end, send_get, shell, wait_until};
use roundelay::api::state::State;

/// A command that asks the master on its control socket.
#[track_caller]
fn ask(master: &Master, args: &[&str]) -> Ended {
    run_to_end(Command::new(BINARY).args(args).env("ROUNDELAY_CONTROL", &master.control).current_dir(master.dir()))
}

#[test]
fn list_shows_every_worker_with_its_pid_state_and_counters() {
    let master = Setup::new(&["demo", "-i", "3"]).start_ready();
    assert_eq!(burst(master.address(), "/", 30).failed, [""; 0]);
    master.kill_worker(2);
    wait_until("a successor", || master.worker(2).restarts == 1 && master.worker(2).state == "ready");
    for name in ["list", "ls", "ps"] {
        let ended = ask(&master, &[name]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.stderr, "");
        for worker in master.workers() {
            let slot = format!("demo/{}", worker.slot);
            let line = ended.stdout.lines().find(|line| line.trim_start().starts_with(&slot)).unwrap();
            let words: Vec<_> = line.split_whitespace().collect();
            assert!(words.contains(&"ready") && words.contains(&worker.pid.unwrap().to_string().as_str()), "{line}");
        }
        assert!(ended.stdout.contains("last exit: killed by signal 9 (KILL)"), "{}", ended.stdout);
        assert!(!ended.stdout.contains('\u{1b}'), "no colours where nobody sees them");
    }
}

#[test]
fn list_json_is_the_state_of_the_api() {
    let master = Setup::new(&["demo", "-i", "2"]).start_ready();
    assert_eq!(burst(master.address(), "/", 10).failed, [""; 0]);
    wait_until("them to be over", || master.pool().active == Some(0));
    let ended = ask(&master, &["list", "--json"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let told: State = serde_json::from_str(&ended.stdout).unwrap();
    let asked = master.state();
    let facts = |state: &State| {
        let pool = &state.pools[0];
        let workers: Vec<_> = pool.workers.iter().map(|worker| (worker.slot, worker.pid, worker.connections)).collect();
        (state.pid, state.is_ready, state.admin.clone(), pool.listen.clone(), pool.accepted, workers)
    };
    assert_eq!(facts(&told), facts(&asked));
    assert_eq!((told.schema.as_str(), told.pid), (State::SCHEMA, master.pid()));
    // The admin port says the same.
    let by_port: State = serde_json::from_str(&get(master.admin(), "/api/v1/state").unwrap().body).unwrap();
    assert_eq!(facts(&by_port), facts(&asked));
}

#[test]
fn healthcheck_exits_with_0_ready_1_not_ready_3_no_master() {
    let script = demo_after("while ! test -e boot; do sleep 0.02; done");
    let mut master = Setup::app(&["-i", "1"], &shell(&script)).start();
    let ended = ask(&master, &["healthcheck"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("pool app: starting, 0 of 1 workers ready, 1 needed (1 starting)"),
        "{}",
        ended.stderr
    );
    master.touch("boot");
    master.wait_all_ready();
    let ended = ask(&master, &["healthcheck"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let by_port = format!("http://{}", master.admin());
    assert_eq!(ask(&master, &["healthcheck", "--control", &by_port]).code, Some(0));
    master.signal("TERM");
    master.wait_end();
    for command in ["healthcheck", "list"] {
        let ended = ask(&master, &[command]);
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(ended.stderr.contains("no master is running"), "{}", ended.stderr);
    }
}

#[test]
fn killed_master_is_reported_as_not_running() {
    let mut master = Setup::new(&["demo", "-i", "1"]).start_ready();
    master.signal("KILL");
    master.wait_end();
    assert!(master.control.exists(), "its socket is left");
    assert_eq!(ask(&master, &["healthcheck"]).code, Some(3));
}

#[test]
fn stopped_master_fails_its_healthcheck_without_hanging_it() {
    let master = Setup::new(&["demo", "-i", "1"]).start_ready();
    master.signal("STOP");
    let ended = ask(&master, &["healthcheck"]);
    master.signal("CONT");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("no answer from the master"), "{}", ended.stderr);
}

#[test]
fn readyz_is_503_below_min_ready_or_draining_and_livez_never() {
    let script = demo_after("while test $ROUNDELAY_WORKER = 1 && ! test -e boot; do sleep 0.02; done");
    let mut master = Setup::app(&["-i", "2", "--set", "pool.app.min-ready=2"], &shell(&script)).start();
    master.wait_state(0, "ready");
    let ask = |path: &str| get(master.admin(), path).unwrap();
    let answer = ask("/readyz");
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (503, "pool app: degraded, 1 of 2 workers ready, 2 needed (1 starting)\n")
    );
    eventually_eq!(master.metric("roundelay_pool_ready", &[]), 0.0);
    assert_eq!(ask("/livez").status, 200);
    assert_eq!(burst(master.address(), "/", 4).failed, [""; 0], "it serves all the same");
    master.touch("boot");
    wait_until("readiness", || ask("/readyz").status == 200);
    eventually_eq!(master.metric("roundelay_pool_ready", &[]), 1.0);

    let client = send_get(master.address(), "/slow/500").unwrap();
    wait_until("it to be under way", || master.pool().active == Some(1));
    let admin = master.admin();
    master.signal("TERM");
    wait_until("503", || get(admin, "/readyz").is_ok_and(|answer| answer.status == 503));
    assert_eq!(get(admin, "/livez").unwrap().status, 200);
    assert_eq!(crate::kit::read_answer(client).unwrap().status, 200);
    assert_eq!(master.wait_end().code(), Some(0));
}

#[test]
fn metrics_and_state_agree_with_the_clients() {
    let master = Setup::new(&["demo", "-i", "3", "--threads", "2"]).start_ready();
    let burst = burst(master.address(), "/blob/10000", 300);
    assert_eq!((burst.bodies.len(), burst.failed.len()), (300, 0), "{:?}", burst.failed);
    wait_until("them to be over", || master.pool().active == Some(0));
    eventually_eq!((master.pool().accepted, master.pool().rejected), (Some(300), Some(0)));
    let metric = |name: &str, labels: &[&str]| master.metric(&format!("roundelay_{name}"), labels);
    eventually_eq!(metric("connections_accepted_total", &[]), 300.0);
    for number in 0..3 {
        let slot = format!("worker=\"{number}\"");
        eventually_eq!((master.worker(number).connections, master.worker(number).active), (Some(100), Some(0)));
        eventually_eq!(metric("worker_connections_total", &[&slot]), 100.0);
        eventually_eq!(metric("connection_closes_total", &[&slot, r#"reason="finished""#]), 100.0);
        eventually!(metric("bytes_total", &[&slot, r#"direction="tx""#]) > 1_000_000.0);
        eventually_eq!(metric("worker_up", &[&slot]), 1.0);
        eventually_eq!(metric("worker_state", &[&slot]), 1.0, "one state at a time");
        eventually_eq!(metric("worker_state", &[&slot, r#"state="ready""#]), 1.0);
    }
    for histogram in
        ["connection_duration_seconds_count", "connection_first_byte_seconds_count", "connect_duration_seconds_count"]
    {
        eventually_eq!(metric(histogram, &[]), 300.0, "{histogram}");
    }
    eventually_eq!(metric("worker_spawn_duration_seconds_count", &[]), 3.0);
    // The admin port says the same as the control socket.
    let by_port = get(master.admin(), "/metrics").unwrap().body;
    assert!(by_port.contains("roundelay_connections_accepted_total{pool=\"demo\"} 300"), "{by_port}");
}

#[test]
fn config_check_binds_nothing_and_starts_nothing() {
    let master = Setup::new(&["demo", "-i", "1"]).start_ready();
    let (address, admin) = (master.address(), master.admin());
    let text = format!(
        "[admin]\nlisten = \"{admin}\"\n[master]\ncontrol = \"{}\"\n[pool.a]\ncommand = [\"sh\", \"-c\", \"touch started\"]\n\
         listen = \"{address}\"\n",
        master.control.display()
    );
    std::fs::write(master.dir().join("roundelay.toml"), text).unwrap();
    for args in
        [&["config", "check"][..], &["config", "check", "-c", "roundelay.toml", "--strict"], &["config", "show"]]
    {
        let ended = run_to_end(Command::new(BINARY).args(args).current_dir(master.dir()));
        assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
    }
    assert!(!master.dir().join("started").exists());
    assert_eq!(burst(address, "/", 10).failed, [""; 0]);
}

#[test]
fn slow_reader_of_the_admin_port_delays_nobody_else() {
    let master = Setup::new(&["demo", "-i", "2", "--threads", "1"]).start_ready();
    // These clients connect and send nothing.
    let silent: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(master.admin()).unwrap()).collect();
    assert_eq!(get(master.admin(), "/livez").unwrap().status, 200);
    assert_eq!(burst(master.address(), "/", 50).failed, [""; 0]);
    assert_eq!(master.ask("/readyz").status, 200);
    drop(silent);
}
