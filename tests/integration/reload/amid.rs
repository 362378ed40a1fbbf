//! Other events during a reload: another command, a signal, a death.

use crate::kit::{
    COOPERATIVE, Ended, Master, Setup, Traffic, carried_out, demo_after, is_alive, kill, run_command, running_command,
    says, shell, wait_for, wait_until,
};

/// Two demo workers, whose replacements start only while the file `go` exists.
fn slow_replacements() -> Setup {
    let script = demo_after("test $ROUNDELAY_GENERATION = 1 || until test -e go; do sleep 0.02; done");
    Setup::app(&["-i", "2"], &shell(&script))
}

/// Begins a reload and waits for the replacement of the first slot, which cannot become ready without `go`.
#[track_caller]
fn begin(master: &Master) -> (std::thread::JoinHandle<Ended>, u32) {
    let reload = running_command(master, &["reload", "--json"]);
    let replacement =
        wait_for("a replacement", || master.worker(0).replacement.as_ref().and_then(|replacement| replacement.pid));
    (reload, replacement)
}

#[test]
fn second_command_is_refused_and_names_the_first() {
    let master = slow_replacements().start_ready();
    let (reload, _) = begin(&master);
    at_once_eq!(master.pool().operation.as_deref(), Some("reload"));
    for second in [
        &["reload"][..],
        &["reload", "app"],
        &["scale", "app", "3"],
        &["restart", "app/1"],
        &["stop", "app"],
        &["start", "app"],
    ] {
        says(&run_command(&master, second), 6, &["app", "reload is under way"]);
    }
    at_once_eq!(master.pool().workers_desired, 2);
    master.touch("go");
    assert_eq!(reload.join().unwrap().code, Some(0));
    at_once_eq!(master.pool().operation, None);
    carried_out(&master, &["scale", "app", "3"]);
}

#[test]
fn caller_that_does_not_wait_leaves_the_reload_running() {
    let master = slow_replacements().start_ready();
    says(&run_command(&master, &["reload", "--timeout", "200ms"]), 5, &["--timeout", "goes on"]);
    says(&run_command(&master, &["reload"]), 6, &["reload is under way"]);
    master.touch("go");
    wait_until("the reload to be over", || master.pool().operation.is_none());
    at_once_eq!(
        master.pool().last_report.map(|report| (report.result, report.generation)),
        Some(("done".to_owned(), 2))
    );
}

#[test]
fn stop_amid_a_reload_ends_everything_and_loses_no_client() {
    let mut master = slow_replacements().start_ready();
    let traffic = Traffic::start(&master, "one-shot");
    let slow = crate::kit::send_get(master.address(), "/slow/500").unwrap();
    let (reload, replacement) = begin(&master);
    // Clients that come after the listeners are closed are refused, which is right: the load ends first.
    traffic.lost_nothing();
    master.signal("TERM");
    assert_eq!(crate::kit::read_answer(slow).unwrap().body, "waited 500 ms\n");
    assert_eq!(master.wait_end().code(), Some(0));
    let ended = reload.join().unwrap();
    assert_eq!(ended.code, Some(1), "it was not carried out: {ended:?}");
    assert!(!is_alive(replacement));
    master.wait_no_family();
}

#[test]
fn sighup_reloads_and_is_logged() {
    let master = Setup::new(&["demo", "-i", "2"]).start_ready();
    let traffic = Traffic::start(&master, COOPERATIVE);
    let pids = master.pids();
    for generation in 2..=3 {
        master.signal("HUP");
        wait_until("the reload to be over", || {
            master.pool().last_report.is_some_and(|report| report.generation == generation)
        });
    }
    traffic.lost_nothing();
    at_once!(master.pids().iter().all(|pid| !pids.contains(pid)));
    master.wait_log("SIGHUP");
    master.wait_log("reload");
}

/// Kills during a reload, before the replacement of the first slot has started. The reload then succeeds.
#[track_caller]
fn is_survived(kill_one: impl Fn(&Master)) {
    let mut master = slow_replacements().start_ready();
    let traffic = Traffic::start(&master, "one-shot");
    let (reload, _) = begin(&master);
    kill_one(&master);
    master.touch("go");
    let ended = reload.join().unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    master.wait_all_ready();
    at_once!(master.workers().iter().all(|worker| worker.generation == 2), "{:?}", master.workers());
    traffic.flows();
    let record = traffic.stop();
    assert!(record.failed_total() <= 8, "only what was in flight on who was killed: {:?}", record.failures());
}

#[test]
fn worker_killed_while_its_replacement_starts_spoils_no_reload() {
    is_survived(|master| {
        let dead = master.kill_worker(0);
        wait_until("its death to be seen", || master.worker(0).pid != Some(dead));
    });
}

#[test]
fn worker_killed_before_its_turn_does_not_spoil_the_reload() {
    is_survived(|master| {
        let dead = master.kill_worker(1);
        wait_until("its successor", || master.worker(1).pid.is_some_and(|pid| pid != dead));
        master.wait_state(1, "ready");
    });
}

#[test]
fn killed_replacement_fails_the_reload_without_lost_clients() {
    let master = slow_replacements().start_ready();
    let (pids, traffic) = (master.pids(), Traffic::start(&master, COOPERATIVE));
    let (reload, replacement) = begin(&master);
    kill(i64::from(replacement), "KILL");
    let ended = reload.join().unwrap();
    says(&ended, 1, &["generation 1 keeps serving", "KILL"]);
    traffic.lost_nothing();
    at_once_eq!(master.pids(), pids);
}

#[test]
fn leftovers_of_a_failed_reload_do_not_fail_the_next_one() {
    // The release is never ready and ignores SIGTERM: its worker is still there when the reload has failed.
    let deaf = "if test -e bad; then trap '' TERM; until test -e leave; do sleep 0.02; done; exit 3; fi";
    let script =
        demo_after(&format!("{deaf}\ntest $ROUNDELAY_GENERATION = 1 || until test -e go; do sleep 0.02; done"));
    let rules = ["ready-timeout=3s", "max-surge=2"].map(|rule| format!("pool.app.{rule}"));
    let rules: Vec<_> = rules.iter().flat_map(|rule| ["--set", rule.as_str()]).collect();
    let master = Setup::app(&[&["-i", "2"], &rules[..]].concat(), &shell(&script)).start_ready();
    master.touch("bad");
    says(&run_command(&master, &["reload"]), 1, &["not ready within 3s"]);
    // Two processes are still ending: the late one, and the other, which was given up.
    let left =
        || -> Vec<_> { master.workers().iter().flat_map(|worker| worker.others().filter_map(|one| one.pid)).collect() };
    eventually_eq!(left().len(), 2);
    let left = left();
    master.remove("bad");
    let reload = running_command(&master, &["reload", "--json"]);
    wait_until("it to begin", || master.pool().operation.is_some());
    master.touch("leave");
    wait_until("their end", || left.iter().all(|&pid| !is_alive(pid)));
    master.touch("go");
    let ended = reload.join().unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
