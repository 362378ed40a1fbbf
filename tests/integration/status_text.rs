//! The text about a worker is true, and stands on the row of the process that it describes.

use crate::kit::{Master, Setup, carried_out, demo_after, kill, run_command, shell, wait_for, wait_until};

fn list(master: &Master) -> String {
    run_command(master, &["list"]).stdout
}

#[test]
fn orderly_exits_are_not_reported_as_kills() {
    let master = Setup::new(&["demo", "-i", "2", "--set", "pool.demo.settle=0s"]).start_ready();
    carried_out(&master, &["reload"]);
    wait_until("the old ones to be told of", || list(&master).matches("last exit: replaced by reload, ").count() == 2);
    carried_out(&master, &["restart", "demo/0"]);
    wait_until("the restart to be told", || list(&master).contains("last exit: restarted by command, "));
    carried_out(&master, &["stop", "demo/1"]);
    wait_until("the stop to be told", || list(&master).contains("last exit: stopped by command, "));
    assert!(!list(&master).contains("killed by signal"), "{}", list(&master));
    master.wait_log("why=\"stopped by command\"");
}

#[test]
fn start_of_running_and_stop_of_stopped_pools_report_no_change() {
    let master = Setup::new(&["demo", "-i", "2"]).start_ready();
    let started = run_command(&master, &["start", "demo"]);
    assert_eq!(started.code, Some(0));
    assert!(started.stderr.contains("nothing to start: the workers run already"), "{started:?}");
    carried_out(&master, &["stop", "demo/1"]);
    let stopped = run_command(&master, &["stop", "demo/1"]);
    assert_eq!(stopped.code, Some(0));
    assert!(stopped.stderr.contains("nothing to stop: the workers are stopped already"), "{stopped:?}");
}

#[test]
fn failed_replacement_is_no_restart_of_the_slot() {
    let script = demo_after("if test -e broken; then exit 4; fi");
    let master = Setup::app(&["-i", "1"], &shell(&script)).start_ready();
    master.touch("broken");
    assert_eq!(run_command(&master, &["reload"]).code, Some(1));
    at_once_eq!(master.worker(0).restarts, 0, "{}", list(&master));
    master.remove("broken");
    carried_out(&master, &["reload"]);
    at_once_eq!(master.worker(0).restarts, 1);
    master.kill_worker(0);
    wait_until("it to run again", || master.worker(0).restarts == 2);
}

#[test]
fn suspect_worker_has_its_reason_on_its_own_row() {
    let set = ["-i", "2", "--set", "pool.demo.health.hang-timeout=1m"];
    let master = Setup::new(&[&["demo"], &set[..]].concat()).start_ready();
    let pid = master.worker(1).pid.unwrap();
    kill(i64::from(pid), "STOP");
    let row = wait_for("worker 1 to be suspect", || {
        list(&master).lines().find(|line| line.contains("demo/1") && line.contains("suspect")).map(str::to_owned)
    });
    assert!(row.contains("its processes are stopped"), "{row}");
    assert_eq!(list(&master).matches("its processes are stopped").count(), 1);
    assert!(!master.log().contains("why=\"\""), "{}", master.log());
    kill(i64::from(pid), "CONT");
}

#[test]
fn failed_check_of_a_replacement_is_on_its_own_row() {
    let script = demo_after("while test -e away; do sleep 0.02; done");
    let master = Setup::app(&["-i", "1"], &shell(&script)).start_ready();
    master.touch("away");
    let reload = crate::kit::running_command(&master, &["reload"]);
    let rows = wait_for("the replacement's check to fail", || {
        let rows: Vec<String> = list(&master).lines().map(str::to_owned).collect();
        rows.iter().any(|row| row.contains("check: ")).then_some(rows)
    });
    let of = |text: &str| rows.iter().find(|row| row.contains(text)).unwrap_or_else(|| panic!("{rows:?}"));
    assert!(of("check: ").contains("starting") && of("check: ").contains("replacement; check: "), "{rows:?}");
    assert!(!rows.iter().any(|row| row.contains(" ready ") && row.contains("check: ")), "{rows:?}");
    master.remove("away");
    assert_eq!(reload.join().unwrap().code, Some(0));
}
