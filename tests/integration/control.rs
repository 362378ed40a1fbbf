//! Commands reach only the master they are meant for, only from trusted users, and a refused command changes nothing.

mod hostile;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::Command;

use roundelay::api::state::State;

use crate::kit::{BINARY, Master, Setup, is_alive, run_command, run_to_end, running_command, says, stat, wait_until};

/// The facts that must not change when a command is refused.
#[track_caller]
fn facts(master: &Master) -> Vec<(String, u64, u32, Vec<Option<u32>>)> {
    let State { pools, .. } = master.state();
    let pids = |pool: &roundelay::api::state::PoolEntry| pool.workers.iter().map(|worker| worker.pid).collect();
    pools.iter().map(|pool| (pool.name.clone(), pool.generation, pool.workers_desired, pids(pool))).collect()
}

/// A file of two pools of sleepers, which need no endpoint.
const TWO: &str = "\
[pool.api]
command = [\"sleep\", \"600\"]
listen = \"127.0.0.1:0\"
workers = 2
ready = \"none\"
health = { probe = \"none\" }

[pool.jobs]
command = [\"sleep\", \"600\"]
listen = \"127.0.0.1:0\"
workers = 1
ready = \"none\"
health = { probe = \"none\" }
";

fn two_pools() -> Setup {
    Setup::new(&["run", "-c", "two.toml"]).without("ROUNDELAY_LISTEN").file("two.toml", TWO)
}

#[test]
fn every_command_without_a_master_exits_with_3() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["reload"][..],
        &["reload", "api"],
        &["scale", "api", "-1"],
        &["strategy", "api"],
        &["strategy", "api", "p2c"],
        &["restart", "api/0"],
        &["stop", "--all"],
        &["start", "api"],
        &["status"],
        &["shutdown", "--now"],
    ] {
        let mut command = Command::new(BINARY);
        let ended = run_to_end(command.args(args).env("ROUNDELAY_CONTROL", dir.path().join("c")));
        says(&ended, 3, &["no master is running", "no such file", "roundelay run"]);
    }
}

#[test]
fn unknown_name_exits_with_4_and_a_suggestion() {
    let master = two_pools().start_ready();
    let before = facts(&master);
    for args in [
        &["reload", "apj"][..],
        &["scale", "apj", "+1"],
        &["strategy", "apj"],
        &["strategy", "apj", "p2c"],
        &["restart", "apj/0"],
        &["stop", "apj"],
        &["status", "apj"],
    ] {
        says(&run_command(&master, args), 4, &["error: no pool named `apj`", "did you mean `api`? pools: api, jobs"]);
    }
    says(
        &run_command(&master, &["restart", "api/2"]),
        4,
        &["pool api has no worker 2", "its workers are api/0 to api/1"],
    );
    says(&run_command(&master, &["stop", "api/0-7"]), 4, &["pool api has no worker 7"]);
    says(&run_command(&master, &["reload", "../v1/reload"]), 4, &["no pool named"]);
    assert_eq!(facts(&master), before);
}

#[test]
fn stop_without_a_name_stops_nothing() {
    let master = two_pools().start_ready();
    let before = facts(&master);
    for verb in ["stop", "restart", "start"] {
        says(&run_command(&master, &[verb]), 2, &["missing POOL or POOL/WORKER (or --all)"]);
        says(&run_command(&master, &[verb, "api/"]), 2, &["is not a target", "api/2-4"]);
    }
    says(&run_command(&master, &["scale", "api", "0"]), 2, &["`0` is not a number of workers"]);
    says(&run_command(&master, &["restrat", "api"]), 2, &["restart"]);
    assert_eq!(facts(&master), before);
}

#[test]
fn pool_cannot_be_scaled_below_one_worker() {
    let master = two_pools().start_ready();
    let before = facts(&master);
    says(
        &run_command(&master, &["scale", "jobs", "-1"]),
        6,
        &["a pool has 1 to 1024 workers; it has 1, you asked for 0"],
    );
    assert_eq!(facts(&master), before);
    eventually_eq!(
        master.metric("roundelay_operations_total", &[r#"pool="jobs""#, r#"verb="scale""#, r#"result="refused""#]),
        1.0
    );
}

#[test]
fn reload_of_a_bad_file_reports_every_mistake_changes_nothing() {
    let master = two_pools().start_ready();
    let before = facts(&master);
    let mistakes = TWO.replacen("workers = 2", "workrs = 2\nidle-timeout = 10", 1);
    for (text, words) in [
        (
            mistakes.as_str(),
            &["unknown key `workrs`", "did you mean `workers`?", "two.toml:4:1", "a duration needs a unit"][..],
        ),
        // Only the beginning of the file is there.
        (&TWO[..TWO.len() - 5], &["two.toml:"]),
        ("", &["the file is empty"]),
        ("\u{0}\u{0}\u{0}", &["two.toml:1:4"]),
    ] {
        std::fs::write(master.dir().join("two.toml"), text).unwrap();
        for args in [&["reload"][..], &["reload", "jobs"]] {
            let ended = run_command(&master, args);
            says(&ended, 1, &["the configuration was not reloaded, and nothing was changed"]);
            says(&ended, 1, words);
        }
    }
    master.remove("two.toml");
    says(&run_command(&master, &["reload"]), 1, &["two.toml: there is no such file"]);
    assert_eq!(facts(&master), before);
    master.wait_log("did you mean `workers`?");
}

#[test]
fn reload_names_settings_that_need_a_new_master() {
    let master = two_pools().start_ready();
    let before = facts(&master);
    let text = TWO.replacen("workers = 1", "workers = 1\nbacklog = 7", 1) + "[master]\nspawn-rate = 7\n";
    std::fs::write(master.dir().join("two.toml"), text).unwrap();
    let ended = run_command(&master, &["reload"]);
    says(&ended, 6, &["master.spawn-rate: 20 -> 7 needs a restart of the master"]);
    says(&ended, 6, &["pool.jobs.backlog: 4096 -> 7 needs a restart of the master"]);
    let third = "[pool.third]\ncommand = [\"sleep\", \"600\"]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(master.dir().join("two.toml"), TWO.to_owned() + third).unwrap();
    says(&run_command(&master, &["reload"]), 6, &["pool.third: no pool -> a pool needs a restart of the master"]);
    assert_eq!(facts(&master), before);
}

#[test]
fn config_from_standard_input_cannot_be_reloaded() {
    // The kit's masters have no standard input, so a shell gives this one something to read.
    let script = format!("cat two.toml | exec {BINARY} run -c -");
    let setup = Setup::new(&[]).without("ROUNDELAY_LISTEN").file("two.toml", TWO);
    let master = setup.through(&["sh", "-c", &script]).start_ready();
    says(&run_command(&master, &["reload"]), 1, &["came from standard input, which cannot be read again"]);
    run_command(&master, &["shutdown", "--now"]);
    master.wait_no_family();
}

#[test]
fn status_exit_code_tells_if_all_is_well() {
    let script = crate::kit::demo_after("while test $ROUNDELAY_WORKER = 1 && ! test -e boot; do sleep 0.02; done");
    let mut master = Setup::app(&["-i", "2"], &crate::kit::shell(&script)).start();
    master.wait_state(0, "ready");
    let ended = run_command(&master, &["status"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(7), ""), "{ended:?}");
    assert!(ended.stdout.starts_with("◐ app  degraded  1/2 workers  generation 1"), "{}", ended.stdout);
    assert!(ended.stdout.contains("app/1  starting"), "{}", ended.stdout);
    master.touch("boot");
    master.wait_all_ready();
    let ended = run_command(&master, &["status", "app"]);
    assert_eq!(ended.code, Some(0));
    assert!(ended.stdout.starts_with("● app  ready     2/2 workers"), "{}", ended.stdout);
}

#[test]
fn shutdown_drains_and_returns_when_the_master_is_gone() {
    let mut master = Setup::new(&["demo", "-i", "2"]).start_ready();
    let client = crate::kit::send_get(master.address(), "/slow/700").unwrap();
    wait_until("the request to be under way", || master.pool().active == Some(1));
    let (pid, lock) = (master.pid(), master.control.with_extension("lock"));
    let ended = run_command(&master, &["shutdown"]);
    assert!(!is_alive(pid), "it was gone before the command ended");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.starts_with("stopped in ") && ended.stdout.ends_with("cut 0\n"), "{}", ended.stdout);
    assert_eq!(crate::kit::read_answer(client).unwrap().body, "waited 700 ms\n");
    assert_eq!(master.wait_end().code(), Some(0));
    assert!(!master.control.exists() && !lock.exists());
    master.wait_log("verb=\"shutdown\"");
}

#[test]
fn shutdown_now_cuts_open_connections_and_is_no_failure() {
    let mut master = Setup::new(&["demo", "-i", "2"]).start_ready();
    // The pool must have answered once: without any answer it may speak a one-way protocol, in which no client waits.
    assert_eq!(master.get("/").unwrap().status, 200);
    let client = crate::kit::send_get(master.address(), "/slow/60000").unwrap();
    wait_until("the request to be under way", || master.pool().active == Some(1));
    let ended = run_command(&master, &["shutdown", "--now"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.ends_with("cut 1\n"), "{ended:?}");
    assert!(crate::kit::read_answer(client).is_err());
    assert_eq!(master.wait_end().code(), Some(0));
    master.wait_no_family();
}

#[test]
fn slow_shutdown_exits_with_5_and_a_second_one_forces_it() {
    let mut master = Setup::new(&["demo", "-i", "1"]).start_ready();
    // The pool must have answered once: without any answer it may speak a one-way protocol, in which no client waits.
    assert_eq!(master.get("/").unwrap().status, 200);
    let _client = crate::kit::send_get(master.address(), "/slow/60000").unwrap();
    wait_until("the request to be under way", || master.pool().active == Some(1));
    says(&run_command(&master, &["shutdown", "--timeout", "200ms"]), 5, &["--timeout", "goes on"]);
    at_once!(master.state().is_stopping);
    says(&run_command(&master, &["reload"]), 6, &["the master is stopping"]);
    let patient = running_command(&master, &["shutdown"]);
    wait_until("the patient one to be heard", || master.log().matches("verb=\"shutdown\"").count() > 1);
    assert_eq!(run_command(&master, &["shutdown", "--now"]).code, Some(0));
    says(&patient.join().unwrap(), 1, &["the master stopped, but 1 client was cut"]);
    assert_eq!(master.wait_end().code(), Some(0));
}

#[test]
fn command_whose_client_gave_up_does_not_run_later() {
    let master = two_pools().start_ready();
    let before = facts(&master);
    for (path, body) in
        [("reload", ""), ("pools/api/reload", ""), ("pools/api/scale", r#"{"workers":1}"#), ("shutdown", "")]
    {
        // The master is stopped while the command is given, as if it waited for a disk or its container were paused.
        master.signal("STOP");
        wait_until("the master to stand still", || stat(master.pid()).is_some_and(|fields| fields[0] == "T"));
        let mut client = UnixStream::connect(&master.control).unwrap();
        let head = "HTTP/1.1\r\nHost: x\r\nContent-Type: application/json";
        write!(client, "POST /api/v1/{path} {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        drop(client);
        master.signal("CONT");
    }
    wait_until("all to be dropped", || {
        master.log().matches("control command dropped, its client went away before it began").count() == 4
    });
    assert_eq!(facts(&master), before);
    // A client that shuts down only its own side waits for the answer.
    let mut client = UnixStream::connect(&master.control).unwrap();
    client.write_all(b"POST /api/v1/pools/jobs/reload HTTP/1.0\r\n\r\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200") && answer.contains("\"done\""), "{answer}");
}
