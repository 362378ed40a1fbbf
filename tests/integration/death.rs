//! A worker's death costs the requests it had in flight, and nothing else.

use crate::kit::{
    CLIENTS, Killed, REQUESTS, Setup, burst, demo_after, is_alive, kill, kill_under_load, shell, stat, wait_for,
    wait_until,
};

#[test]
fn kill_under_load_fails_only_requests_in_flight() {
    let master = Setup::new(&["demo", "-i", "3"]).start_ready();
    let address = master.address();
    let killed = kill_under_load(&master, 1);
    killed.failed_only_in_flight(CLIENTS);
    let Killed { pid: dead, failed, .. } = killed;

    let closed = |labels: &[&str]| master.metric("roundelay_connection_closes_total", labels);
    let (reset, finished) = (r#"reason="upstream_reset""#, r#"reason="finished""#);
    eventually_eq!(closed(&[reset]), closed(&[reset, r#"worker="1""#]), "only the dead worker's: {failed:?}");
    eventually!(closed(&[reset]) <= failed.len() as f64, "{failed:?}");
    eventually_eq!(closed(&[reset]) + closed(&[finished]), REQUESTS as f64);
    eventually_eq!(master.metric("roundelay_connections_unassigned_total", &[]), 0.0);
    eventually_eq!(master.metric("roundelay_connections_rejected_total", &[]), 0.0);

    let replacement = master.wait_state(1, "ready");
    assert_ne!(replacement.pid, Some(dead));
    assert_eq!(replacement.restarts, 1);
    assert_eq!(replacement.last_exit.unwrap().what, "killed by signal 9 (KILL)");
    let restarts = |labels: &[&str]| master.metric("roundelay_worker_restarts_total", labels);
    eventually_eq!((restarts(&[r#"worker="1""#, r#"reason="crash""#]), restarts(&[])), (1.0, 1.0));
    eventually_eq!(master.metric("roundelay_worker_last_exit_code", &[r#"worker="1""#]), 137.0);
    let after = burst(address, "/", 30);
    assert_eq!((after.starting("hello from demo/1 "), after.failed.len()), (10, 0), "{after:?}");
    assert_eq!(after.bodies.iter().filter(|body| body.contains(&format!("(pid {dead})"))).count(), 0);
}

#[test]
fn crashed_worker_fails_only_its_own_request() {
    let master = Setup::new(&["demo", "-i", "3"]).start_ready();
    let slow = std::thread::scope(|scope| {
        // One request waits on each worker, in turn. The fourth request makes the first worker crash.
        let waiting: Vec<_> = (0..3)
            .map(|slot| {
                let waiting = scope.spawn(|| master.get("/slow/800"));
                wait_until("it to be assigned", || master.worker(slot).active == Some(1));
                waiting
            })
            .collect();
        assert!(master.get("/crash").is_err());
        waiting.into_iter().map(|waiting| waiting.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(slow.iter().filter(|answer| answer.is_err()).count(), 1, "{slow:?}");
    let replacement = master.wait_state(0, "ready");
    assert_eq!((replacement.restarts, replacement.last_exit.unwrap().what.as_str()), (1, "exit code 1"));
    master.wait_log("demo/0 | demo/0 crashes, as asked");
}

#[test]
fn answer_truncated_by_a_kill_never_looks_complete() {
    use std::io::Read;
    // There is no backoff between the kills.
    let set = "pool.demo.restart.reset-after=0s;pool.demo.restart.max-exits=100";
    let master = Setup::new(&["demo", "-i", "1"]).env("ROUNDELAY_SET", set).start_ready();
    for _ in 0..10 {
        let mut client = crate::kit::send_get(master.address(), "/blob/1000000000").unwrap();
        client.read_exact(&mut [0; 100_000]).unwrap();
        master.kill_worker(0);
        let error = std::io::copy(&mut client, &mut std::io::sink()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        master.wait_state(0, "ready");
    }
}

#[test]
fn process_group_of_a_worker_dies_with_it() {
    let script = demo_after("sleep 600 & (sleep 601 & sleep 602) & trap '' TERM");
    let master = Setup::app(&["-i", "1"], &shell(&script)).start_ready();
    let sleepers = |leader: u32| {
        let is_in_group = move |&pid: &u32| stat(pid).is_some_and(|stat| stat[2] == leader.to_string());
        let sleepers = master.sleepers().into_iter().filter(is_in_group).collect::<Vec<_>>();
        Some(sleepers).filter(|sleepers| sleepers.len() == 3)
    };
    let leader = master.pids()[0];
    let members = wait_for("the whole group", || sleepers(leader));
    kill(i64::from(leader), "KILL");
    wait_until("the group's end", || !members.iter().any(|&pid| is_alive(pid)));
    let replacement = wait_for("a successor", || master.pids().first().copied().filter(|&pid| pid != leader));
    wait_for("a new group", || sleepers(replacement));
    eventually_eq!(master.sleepers().len(), 3);
}

#[test]
fn crash_loop_in_one_slot_backs_off_and_disturbs_no_other() {
    // The script appends one byte to a file at each start.
    let script = demo_after(
        "if test $ROUNDELAY_WORKER = 1; then printf x >> starts; echo to stdout; echo the reason >&2; exit 3; fi",
    );
    let flags = ["-i", "3", "--set", "pool.app.restart.backoff=400ms", "--set", "pool.app.restart.max-exits=4"];
    let master = Setup::app(&flags, &shell(&script)).start();
    let address = master.address();
    master.wait_state(0, "ready");
    master.wait_state(2, "ready");
    let backoff = |least: f64| {
        wait_for("a longer backoff", || {
            let worker = master.worker(1);
            worker.backoff_seconds.filter(|&wait| wait >= least && worker.state == "backoff")
        })
    };
    // The backoffs are 0.4, 0.8 and 1.6 s, each 20 % more or less: long enough to be seen on a busy machine.
    for least in [0.28, 0.6, 1.2] {
        let wait = backoff(least);
        assert!(wait <= 1.96, "{wait}");
        let burst = burst(address, "/", 20);
        assert_eq!((burst.bodies.len(), burst.starting("hello from app/1 ")), (20, 0), "{burst:?}");
    }
    let failed = master.wait_state(1, "failed");
    let starts = std::fs::metadata(master.dir().join("starts")).unwrap().len();
    assert_eq!(starts, 5, "at once, after three backoffs, and no more");
    assert!(failed.backoff_seconds.is_some_and(|wait| wait > 20.0), "{failed:?}");
    let exit = wait_for("its last words", || {
        let exit = master.worker(1).last_exit?;
        (exit.last_lines.len() == 2).then_some(exit)
    });
    assert_eq!((exit.code, exit.what.as_str()), (3, "exit code 3"));
    assert!(exit.last_lines.contains(&"the reason".to_owned()), "{exit:?}");
    eventually_eq!(master.metric("roundelay_worker_state", &[r#"worker="1""#, r#"state="failed""#]), 1.0);
    eventually_eq!(master.metric("roundelay_worker_restarts_total", &[r#"worker="1""#]), 5.0);
    eventually_eq!(master.metric("roundelay_worker_restarts_total", &[r#"worker="0""#]), 0.0);
    let burst = burst(address, "/", 40);
    let answered = [0, 2].map(|slot| burst.starting(&format!("hello from app/{slot} ")));
    assert_eq!((answered, burst.failed.len()), ([20, 20], 0), "{burst:?}");
}
