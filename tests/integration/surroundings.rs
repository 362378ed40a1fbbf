//! Files that are removed around a running master come back, and no worker is told anything false meanwhile.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::kit::{
    Setup, burst, carried_out, environment, for_each, get_unix, says, stays, variable, wait_for, wait_until,
};

#[test]
fn removed_control_socket_or_folder_comes_back() {
    let master = Setup::new(&["demo", "-i", "1"]).control("run/c").start_ready();
    let answers = || get_unix(&master.control, "/livez").is_ok();
    let folder = master.dir().join("run");
    for round in 0..2 {
        match round {
            0 => fs::remove_file(&master.control).unwrap(),
            _ => fs::remove_dir_all(&folder).unwrap(),
        }
        wait_until("the control socket to come back", answers);
        carried_out(&master, &["reload"]);
        let second = Setup::beside(&master, &["demo", "-i", "1"]).control("run/c").run_to_end();
        says(&second, 1, &["another master holds the control socket", &format!("process {}", master.pid())]);
    }
    eventually_eq!(master.log().matches("control socket had been removed and was made again").count(), 2);
}

#[test]
fn control_socket_returns_after_a_second_master() {
    let first = Setup::new(&["demo", "-i", "1"]).control("run/c").start_ready();
    let state = || wait_for("an answer", || get_unix(&first.control, "/api/v1/state").ok()).body;
    let before = state();
    fs::remove_dir_all(first.dir().join("run")).unwrap();
    // Either master may be quicker.
    let second = Setup::beside(&first, &["demo", "-i", "2"]).control("run/c");
    let mut second = second.start();
    first.wait_log("cannot be made again yet");
    first.wait_log(&format!("process {}", second.pid()));
    second.signal("TERM");
    second.wait_end();
    wait_until("the first one to answer again", || get_unix(&first.control, "/api/v1/state").is_ok());
    let pid = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["pid"].clone();
    assert_eq!(pid(&state()), pid(&before));
}

/// Short times: a heartbeat that does not come would be seen in every one of these rounds.
const FAST: [&str; 4] = ["health.probe=none", "health.heartbeat=250ms", "health.hang-timeout=250ms", "settle=0s"];

#[test]
fn heartbeats_lost_with_the_run_folder_replace_nobody() {
    for_each(&["proxy", "shared", "handoff"], |mode| {
        let setup = Setup::new(&["demo", "-i", "2", "--mode", mode]).with("demo", &FAST);
        let runtime = setup.dir().join("x");
        fs::create_dir(&runtime).unwrap();
        let master = setup.env("XDG_RUNTIME_DIR", &runtime.display().to_string()).start_ready();
        let pids = master.pids();
        let paths: Vec<_> = pids.iter().map(|&pid| variable(&environment(pid), "NOTIFY_SOCKET")).collect();
        for _ in 0..4 {
            fs::remove_dir_all(Path::new(&paths[0]).parent().unwrap()).unwrap();
            wait_until("the notify sockets to come back", || paths.iter().all(|path| Path::new(path).exists()));
        }
        // While the folder cannot come back, a missing heartbeat is no sign of a hang.
        fs::remove_dir_all(&runtime).unwrap();
        master.wait_log("folder of this run's sockets was removed");
        // This is long enough for many heartbeats.
        stays("nobody is replaced", Duration::from_secs(2), || master.pids() == pids);
        assert!(!master.log().contains("suspect"), "{mode}: {}", master.log());
        carried_out(&master, &["reload"]);
    });
}

#[test]
fn workers_behind_removed_unix_endpoints_are_replaced() {
    for endpoint in ["unix", "inherited"] {
        let setup = Setup::new(&["demo", "-i", "2"]).with("demo", &[&format!("endpoint={endpoint}"), "settle=0s"]);
        let runtime = setup.dir().join("x");
        fs::create_dir(&runtime).unwrap();
        let master = setup.env("XDG_RUNTIME_DIR", &runtime.display().to_string()).start_ready();
        let pids = master.pids();
        for folder in fs::read_dir(&runtime).unwrap() {
            fs::remove_dir_all(folder.unwrap().path()).unwrap();
        }
        wait_until("new workers", || {
            let workers = master.workers();
            workers.iter().all(|worker| worker.state == "ready" && worker.pid.is_some_and(|pid| !pids.contains(&pid)))
        });
        assert_eq!(burst(master.address(), "/", 10).failed, [""; 0], "{endpoint}");
        eventually_eq!(master.metric("roundelay_worker_restarts_total", &[r#"reason="endpoint_removed""#]), 2.0);
    }
}
