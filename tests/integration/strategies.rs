//! The promise of each strategy, with real workers. Another strategy can be chosen under load.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::kit::{
    BINARY, Ended, Master, Setup, burst, clients, get, get_from, run_to_end, send_get, wait_for, wait_until,
};

/// A command to the master.
#[track_caller]
fn run_command(master: &Master, args: &[&str]) -> Ended {
    run_to_end(Command::new(BINARY).args(args).env("ROUNDELAY_CONTROL", &master.control).current_dir(master.dir()))
}

#[track_caller]
fn done(master: &Master, args: &[&str]) -> Ended {
    let ended = run_command(master, args);
    assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
    ended
}

/// A file of a pool `app` of demo workers, with these lines added.
fn file(lines: &str) -> String {
    format!("[pool.app]\ncommand = [\"{BINARY}\", \"demo-worker\"]\nlisten = \"127.0.0.1:0\"\n{lines}")
}

fn with_file(lines: &str) -> Setup {
    Setup::new(&["run", "-c", "r.toml"]).without("ROUNDELAY_LISTEN").file("r.toml", &file(lines))
}

fn rewrite(master: &Master, lines: &str) {
    std::fs::write(master.dir().join("r.toml"), file(lines)).unwrap();
}

/// The number of answers that each slot of `app` gave.
#[track_caller]
fn shares<const SLOTS: usize>(address: SocketAddr, count: usize) -> [usize; SLOTS] {
    let burst = burst(address, "/", count);
    assert_eq!(burst.failed, [""; 0]);
    std::array::from_fn(|slot| burst.starting(&format!("hello from app/{slot} ")))
}

#[test]
fn weights_2_and_1_share_1200_connections_and_can_be_reloaded() {
    for threads in ["1", "2"] {
        let lines = "workers = 2\nweights = [2, 1]\n[master]\nthreads = THREADS\n".replace("THREADS", threads);
        let master = with_file(&lines).start_ready();
        assert_eq!(shares(master.address(), 1200), [800, 400], "{threads} threads");
        eventually_eq!(master.workers().iter().map(|worker| worker.weight).collect::<Vec<_>>(), [Some(2.0), Some(1.0)]);
        rewrite(&master, &lines.replace("[2, 1]", "[1, 3]"));
        done(&master, &["reload"]);
        assert_eq!(shares(master.address(), 1200), [300, 900], "{threads} threads");
    }
}

#[test]
fn new_worker_after_the_start_begins_with_a_tenth_of_its_weight() {
    let lines = "workers = 2\nslow-start = \"60s\"\nrestart = { backoff = \"10ms\" }\n";
    let master = with_file(lines).start_ready();
    assert_eq!(shares(master.address(), 100), [50, 50]);
    let dead = master.kill_worker(1);
    let replacement = wait_for("a replacement in rotation", || {
        let worker = master.worker(1);
        (worker.state == "ready" && worker.pid != Some(dead) && worker.weight > Some(0.0)).then_some(worker)
    });
    let weight = replacement.weight.unwrap();
    assert!((0.1..0.9).contains(&weight), "{weight}");
    eventually_eq!(master.worker(0).weight, Some(1.0));
    let [old, new] = shares(master.address(), 100);
    assert!(new < old, "{old} and {new}");
    wait_until("its weight to grow", || master.worker(1).weight > Some(weight));
    eventually!(master.metric("roundelay_worker_weight", &["worker=\"1\""]) < 1.0);

    // A reload that turns the slow start off ends it for all workers, including those that the reload started.
    rewrite(&master, &lines.replace("60s", "off"));
    done(&master, &["reload"]);
    eventually_eq!(master.workers().iter().map(|worker| worker.weight).collect::<Vec<_>>(), [Some(1.0); 2]);
    assert_eq!(shares(master.address(), 100), [50, 50]);
}

#[test]
fn least_waiting_sends_short_requests_past_a_blocked_worker() {
    for what in ["/block/60000", "/cpu/60000"] {
        let flags = ["demo", "-i", "3", "--strategy", "least-waiting", "--health", "none", "--ready", "notify"];
        // Only the strategy is to react to the busy worker.
        let patient = ["heartbeat", "hang-timeout", "busy-timeout"];
        let master = patient
            .iter()
            .fold(Setup::new(&flags), |setup, key| setup.arg("--set").arg(&format!("pool.demo.health.{key}=off")))
            .start_ready();
        let blocked = send_get(master.address(), what).unwrap();
        let busy = wait_for("a worker that somebody waits for", || {
            master.workers().into_iter().find(|worker| worker.waiting == Some(1)).map(|worker| worker.slot)
        });
        let waiting = |slot: u32| master.metric("roundelay_worker_waiting", &[&format!("worker=\"{slot}\"")]);
        eventually_eq!(waiting(busy), [0, 1, 2].map(waiting).iter().sum::<f64>());
        let mut answered = BTreeMap::new();
        for _ in 0..60 {
            let body = get(master.address(), "/").unwrap().body;
            let slot =
                body.strip_prefix("hello from demo/").and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
            *answered.entry(slot).or_insert(0) += 1;
        }
        assert!(!answered.contains_key(&busy.to_string()), "{what} {busy}: {answered:?}");
        assert_eq!(answered.values().copied().collect::<Vec<_>>(), [30, 30], "{what}: the others in turn");
        eventually_eq!(waiting(busy), 1.0, "all that was while it was blocked");
        drop(blocked);
    }
}

#[test]
fn source_hash_moves_clients_of_a_leaving_worker_and_back() {
    let master = Setup::new(&["demo", "-i", "5", "--strategy", "source-hash"]).start_ready();
    let address = master.address();
    let homes = || {
        let home = |n: u8| {
            let answer = get_from(Ipv4Addr::new(127, 0, 0, n), address, "/").unwrap();
            answer.body.split(' ').nth(2).unwrap().to_owned()
        };
        (2..=61).map(home).collect::<Vec<String>>()
    };
    let before = homes();
    assert_eq!(homes(), before, "a client stays where it is");
    for slot in 0..5 {
        assert!(before.contains(&format!("demo/{slot}")), "{before:?}");
    }
    done(&master, &["stop", "demo/2"]);
    let while_gone = homes();
    for (home, now) in before.iter().zip(&while_gone) {
        assert!(if home == "demo/2" { now != "demo/2" } else { now == home }, "{before:?}\n{while_gone:?}");
    }
    done(&master, &["start", "demo/2"]);
    assert_eq!(homes(), before, "another process in the same place");
}

#[test]
fn strategy_changed_under_load_disturbs_no_client_or_worker() {
    let names = roundelay::strategy::ALL.iter().map(|entry| entry.name);
    let master = Setup::new(&["demo", "-i", "3", "--threads", "2"]).start_ready();
    let (address, pids) = (master.address(), master.pids());
    let (is_over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let bad = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            clients(4, 200_000, |n| {
                if is_over.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                let path = if n % 7 == 0 { "/slow/5" } else { "/" };
                let answer = get(address, path)?;
                answered.fetch_add(1, Ordering::Relaxed);
                Ok((answer.status != 200).then_some(answer))
            })
        });
        for name in names.clone().skip(1).chain(names.clone()) {
            let ended = done(&master, &["strategy", "demo", name]);
            assert!(ended.stderr.ends_with(&format!(" -> {name}\n")), "{ended:?}");
            assert!(ended.stdout.starts_with("done in ") && ended.stdout.contains("rejected 0  cut 0"), "{ended:?}");
            at_once_eq!(master.pool().strategy, name);
            let label = format!("strategy=\"{name}\"");
            eventually_eq!(master.metric("roundelay_pool_info", &[&label]), 1.0);
            let seen = answered.load(Ordering::Relaxed);
            wait_until("requests by it", || answered.load(Ordering::Relaxed) > seen + 50);
        }
        is_over.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });
    let bad: Vec<_> = bad.into_iter().filter(|result| !matches!(result, Ok(None))).collect();
    assert!(bad.is_empty(), "{bad:?}");
    at_once_eq!(master.pids(), pids, "no process was touched");
    at_once_eq!(master.pool().generation, 1);
    wait_until("nobody to wait", || master.workers().iter().all(|worker| worker.waiting == Some(0)));
}

#[test]
fn strategy_by_command_lasts_until_the_file_changes_it() {
    let master = with_file("workers = 2\n").start_ready();
    let strategy = || master.pool().strategy;
    done(&master, &["strategy", "app", "p2c"]);
    let list = done(&master, &["strategy", "app"]).stdout;
    assert_eq!(list.lines().count(), roundelay::strategy::ALL.len());
    assert!(list.lines().any(|line| line.starts_with("* p2c ")), "{list}");
    assert_eq!(done(&master, &["strategy", "app", "--json"]).stdout, "{\"pool\":\"app\",\"strategy\":\"p2c\"}\n");
    done(&master, &["reload"]);
    eventually_eq!(strategy(), "p2c", "the file says what it said");
    rewrite(&master, "workers = 2\nstrategy = \"random\"\n");
    done(&master, &["reload"]);
    at_once_eq!(strategy(), "random");
    // A reload that fails does not switch the strategy.
    rewrite(&master, "workers = 2\nstrategy = \"source-hash\"\nenv = { DEMO_FAIL_START = \"1\" }\n");
    assert_eq!(run_command(&master, &["reload"]).code, Some(1));
    at_once_eq!(strategy(), "random");
}

#[test]
fn impossible_strategy_is_refused_and_changes_nothing() {
    let master = Setup::new(&["demo", "-i", "1"]).start_ready();
    for (args, code, words) in [
        (&["strategy", "demo", "least-wating"][..], 2, "did you mean `least-waiting`?"),
        (&["strategy", "demo", "magic"], 2, "there is round-robin, least-waiting, "),
        (&["strategy"], 2, "<POOL>"),
    ] {
        let ended = run_command(&master, args);
        assert!(ended.code == Some(code) && ended.stderr.contains(words), "{args:?}: {ended:?}");
    }
    at_once_eq!(master.pool().strategy, "round-robin");
}

#[test]
fn strategy_cannot_be_changed_where_the_kernel_chooses() {
    let lines = "workers = 1\nmode = \"shared\"\nready = \"none\"\n";
    let master = with_file(lines).start_ready();
    let ended = run_command(&master, &["strategy", "app", "p2c"]);
    assert!(ended.code == Some(6) && ended.stderr.contains("the kernel chooses"), "{ended:?}");
    assert_eq!(done(&master, &["strategy", "app"]).stdout, "kernel: in mode shared the workers accept by themselves\n");
}
