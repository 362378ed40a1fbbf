//! A release that does not start changes nothing, says why, and exits with 1.

use crate::kit::{
    BINARY, COOPERATIVE, Master, Setup, Traffic, carried_out, demo_after, environment, python, run_command, says,
    variable, wait_until,
};

/// The file of a pool of two; `more` are further lines of it.
fn release(command: &[&str], more: &str) -> String {
    format!("[pool.app]\ncommand = {command:?}\nlisten = \"127.0.0.1:0\"\nworkers = 2\n{more}")
}

fn good(more: &str) -> String {
    release(&[BINARY, "demo-worker"], more)
}

#[track_caller]
fn start(text: &str) -> Master {
    Setup::new(&["run", "-c", "app.toml"]).without("ROUNDELAY_LISTEN").file("app.toml", text).start_ready()
}

fn put(master: &Master, text: &str) {
    std::fs::write(master.dir().join("app.toml"), text).unwrap();
}

/// The reload fails under load as often as it is tried, and changes nothing.
#[track_caller]
fn fails_every_time(text: &str, words: &[&str]) {
    let master = start(&good(""));
    let (pids, traffic) = (master.pids(), Traffic::start(&master, COOPERATIVE));
    put(&master, text);
    for _ in 0..2 {
        let ended = run_command(&master, &["reload"]);
        says(&ended, 1, &["error: reload of app failed; generation 1 keeps serving"]);
        says(&ended, 1, words);
        assert!(
            ended.stdout.starts_with("app  failed after ") && ended.stdout.ends_with("rejected 0  cut 0\n"),
            "{ended:?}"
        );
        at_once_eq!((master.pids(), master.pool().generation), (pids.clone(), 1));
        traffic.flows();
    }
    let report = master.pool().last_report.unwrap();
    assert_eq!((report.verb.as_str(), report.result.as_str(), report.generation), ("reload", "failed", 1));
    put(&master, &good("env = { RELEASE = \"mended\" }\n"));
    carried_out(&master, &["reload"]);
    traffic.lost_nothing();
    at_once!(master.pids().iter().all(|&pid| variable(&environment(pid), "RELEASE") == "mended"));
}

#[test]
fn program_that_exits_at_once_does_not_become_the_release() {
    let command = ["sh", "-c", "echo looking for the database\necho 'no database' >&2\nexit 7"];
    let words = ["app/0: exit code 7", "last lines of app/0:", "looking for the database", "no database"];
    fails_every_time(&release(&command, ""), &words);
}

#[test]
fn program_that_is_never_ready_does_not_become_the_release() {
    let command = ["sh", "-c", "echo still warming up; exec sleep 600"];
    let words = ["app/0: ", "last lines of app/0:", "still warming up"];
    fails_every_time(&release(&command, "ready-timeout = \"1s\"\n"), &words);
}

#[test]
fn missing_program_does_not_become_the_release() {
    fails_every_time(&release(&["/no/such/program"], ""), &["app/0: ", "/no/such/program"]);
}

#[test]
fn program_with_a_wrong_environment_does_not_become_the_release() {
    let text = good("env = { DEMO_START_DELAY = \"soon\" }\n");
    fails_every_time(&text, &["app/0: exit code 1", "DEMO_START_DELAY must be a whole number", "`soon`"]);
}

#[test]
fn release_failing_at_the_second_worker_is_rolled_back() {
    let script = demo_after("test $RELEASE = good || test $ROUNDELAY_WORKER = 0 || exit 9");
    let text = |name| release(&["sh", "-c", &script], &format!("env = {{ RELEASE = \"{name}\" }}\n"));
    let master = start(&text("good"));
    let releases = || master.pids().into_iter().map(|pid| variable(&environment(pid), "RELEASE")).collect::<Vec<_>>();
    let (before, traffic) = (master.pids(), Traffic::start(&master, COOPERATIVE));
    put(&master, &text("bad"));
    for _ in 0..2 {
        let ended = run_command(&master, &["reload"]);
        says(&ended, 1, &["reload of app failed; generation 1 keeps serving", "app/1: exit code 9"]);
        at_once_eq!(releases(), ["good"; 2]);
        at_once!(master.workers().iter().all(|worker| worker.state == "ready" && worker.generation == 1));
    }
    let after = master.pids();
    assert!(before[0] != after[0] && before[1] == after[1], "{before:?} -> {after:?}");
    // A worker that dies now is started by the good configuration, too.
    master.kill_worker(0);
    wait_until("its successor", || master.worker(0).pid.is_some_and(|pid| pid != after[0]));
    master.wait_state(0, "ready");
    at_once_eq!(releases(), ["good"; 2]);
    let record = traffic.stop();
    assert!(record.failed_total() <= 8, "only what was in flight on who was killed: {:?}", record.failures());
}

#[test]
fn failed_release_keeps_the_worker_count_and_the_next_sets_it() {
    let script = demo_after("test $ROUNDELAY_WORKER -lt 2 || ! test -e broken || exit 8");
    let text = |workers| release(&["sh", "-c", &script], "").replace("workers = 2", &format!("workers = {workers}"));
    let master = start(&text(2));
    let traffic = Traffic::start(&master, COOPERATIVE);
    master.touch("broken");
    put(&master, &text(4));
    says(&run_command(&master, &["reload"]), 1, &["reload of app failed", "exit code 8"]);
    at_once_eq!(master.pool().workers_desired, 2);
    master.remove("broken");
    carried_out(&master, &["reload"]);
    at_once_eq!((master.pool().workers_desired, master.pool().workers_ready), (4, 4));
    put(&master, &text(1));
    carried_out(&master, &["reload"]);
    at_once_eq!((master.pool().workers_desired, master.pool().workers_ready), (1, 1));
    traffic.lost_nothing();
}

#[test]
fn good_release_repairs_a_pool_whose_workers_keep_dying() {
    let script = demo_after("test $RELEASE = good || ! test -e broken || exit 6");
    let text = |name| release(&["sh", "-c", &script], &format!("env = {{ RELEASE = \"{name}\" }}\n"));
    let master = start(&text("bad"));
    master.touch("broken");
    for slot in [0, 1] {
        master.kill_worker(slot);
    }
    let is_down = |state: &str| state == "backoff" || state == "failed";
    wait_until("both to fail again and again", || master.workers().iter().all(|one| is_down(&one.state)));
    put(&master, &text("good"));
    carried_out(&master, &["reload"]);
    at_once!(master.workers().iter().all(|worker| worker.state == "ready" && worker.generation == 2));
}

/// A later release of this program needs a while to start, and ends by itself half a second after it was ready.
const DIES_LATER: &str = r#"
import http.server, os, threading, time

new = os.environ["ROUNDELAY_GENERATION"] != "1"
time.sleep(0.5 if new else 0)
address = (os.environ["HOST"], int(os.environ["PORT"]))
server = http.server.ThreadingHTTPServer(address, http.server.SimpleHTTPRequestHandler)
if new:
    threading.Timer(0.5, os._exit, [3]).start()
server.serve_forever()
"#;

#[test]
fn release_that_dies_during_the_roll_stops_it() {
    let Some(python) = python() else { return };
    let setup = Setup::app(&["-i", "4"], &[python, "dies.py"]).file("dies.py", DIES_LATER);
    let master = setup.with("app", &["settle=0s"]).start_ready();
    let last = master.pids()[3];
    let words = ["it had taken its place, and then ended: exit code 3", "reload of app failed"];
    says(&run_command(&master, &["reload"]), 1, &words);
    at_once_eq!(master.pids()[3], last, "what had not been replaced serves on");
}
