//! No client waits for a slot without a worker that could accept.

use super::{all_say, answers, demo, plain, pool};
use crate::kit::{
    Kept, Master, carried_out, demo_after, freeze, freeze_workers, kill, read_answer, send_get, shell, wait_until,
};

/// Enough connections that each of three queues gets some; that one gets none happens once in a million tries.
const ENOUGH: usize = 36;
/// Worker 1 does not start while a file `hindered` exists.
const HINDERED: &str = "if test $ROUNDELAY_WORKER = 1; then while test -e hindered; do sleep 0.01; done; fi";

/// The number of clients that the master took from the queues of the first pool.
#[track_caller]
fn moved(master: &Master) -> usize {
    master.metric("roundelay_connections_recovered_total", &[]) as usize
}

/// Checks that workers 0 and 2, and no others, answer all requests.
#[track_caller]
fn others_answer(master: &Master, of: &str) {
    let answered = answers(master.address(), of, 3, 200);
    assert!(answered[1] == 0 && answered[0] > 0 && answered[2] > 0, "{answered:?}");
}

#[test]
fn slow_restarting_worker_gets_no_client_until_it_is_ready() {
    let master = pool("3", &[], &shell(&demo_after(HINDERED))).start_ready();
    all_say(master.address(), "hello from app/", 3);
    master.touch("hindered");
    let dead = master.kill_worker(1);
    wait_until("its replacement to start", || {
        let worker = master.worker(1);
        worker.state == "starting" && worker.pid.is_some_and(|pid| pid != dead)
    });
    others_answer(&master, "hello from app/");
    eventually_eq!(moved(&master), 0, "nobody was sent there");
    master.remove("hindered");
    master.wait_state(1, "ready");
    all_say(master.address(), "hello from app/", 3);
}

#[test]
fn worker_that_fails_at_every_start_keeps_no_client_waiting() {
    let script = demo_after("test $ROUNDELAY_WORKER != 1 || test -e mended || exit 3");
    let flags = ["--set", "pool.app.restart.backoff=20ms", "--set", "pool.app.restart.max-exits=3"];
    let master = pool("3", &flags, &shell(&script)).start();
    // Some of them come before any worker is ready, and into the queue of the one that never is.
    let early: Vec<_> = (0..ENOUGH).map(|_| send_get(master.address(), "/").unwrap()).collect();
    for client in early {
        let answer = read_answer(client).unwrap().body;
        assert!(answer.starts_with("hello from app/") && !answer.starts_with("hello from app/1"), "{answer}");
    }
    others_answer(&master, "hello from app/");
    master.wait_state(1, "failed");
    others_answer(&master, "hello from app/");
    master.touch("mended");
    carried_out(&master, &["restart", "app/1"]);
    all_say(master.address(), "hello from app/", 3);
}

#[test]
fn queue_of_a_dead_worker_is_served_by_others_with_all_bytes() {
    let script = demo_after(HINDERED);
    let flags = ["-l", "127.0.0.1:0", "-l", "127.0.0.1:0"];
    let master = pool("3", &flags, &shell(&script)).start_ready();
    all_say(master.address(), "hello from app/", 3);
    master.touch("hindered");
    let frozen = freeze_workers(&master, &[1])[0];
    let address = master.pool().listen[1].parse().unwrap();
    let waiting: Vec<_> = (0..ENOUGH).map(|_| send_get(address, "/").unwrap()).collect();
    kill(i64::from(frozen), "KILL");
    for client in waiting {
        let answer = read_answer(client).unwrap().body;
        assert!(answer.starts_with("hello from app/") && !answer.starts_with("hello from app/1"), "{answer}");
    }
    eventually!(moved(&master) > 0);
    master.wait_log("rescued clients from the queue of an absent worker");
    others_answer(&master, "hello from app/");
    // The slot's listener is the same as before.
    master.remove("hindered");
    master.wait_state(1, "ready");
    all_say(address, "hello from app/", 3);
}

#[test]
fn rescued_client_has_an_ordinary_connection() {
    let master =
        pool("2", &[], &shell(&demo_after("test $ROUNDELAY_WORKER != 1 || ! test -e broken || exit 3"))).start_ready();
    master.touch("broken");
    let frozen = freeze_workers(&master, &[1])[0];
    let mut kept: Vec<_> = (0..ENOUGH).map(|_| Kept::connect(master.address())).collect();
    // Half of the request is sent before the connection is given away, the rest after it.
    kept.iter_mut().for_each(|kept| kept.send("GET /slow/20 HTTP/1.1\r\n"));
    kill(i64::from(frozen), "KILL");
    wait_until("all of them to be with worker 0", || moved(&master) > 0 && master.worker(1).state != "ready");
    for kept in &mut kept {
        kept.send("Host: localhost\r\n\r\n");
        assert_eq!(kept.answer().body, "waited 20 ms\n");
        assert!(kept.get("/").body.starts_with("hello from app/0 "));
    }
}

/// The heartbeat of workers made with `worker-runtime` shows a worker that does nothing.
#[test]
fn queue_of_a_stopped_worker_is_served_by_others() {
    let master = demo("3", &["--set", "pool.demo.health.hang-timeout=off"]).start_ready();
    let frozen = master.worker(1).pid.unwrap();
    freeze(frozen);
    let waiting: Vec<_> = (0..ENOUGH).map(|_| send_get(master.address(), "/").unwrap()).collect();
    for client in waiting {
        assert!(read_answer(client).unwrap().body.starts_with("hello from demo/"));
    }
    at_once_eq!(master.worker(1).pid, Some(frozen), "it stands still all the same");
    kill(i64::from(frozen), "CONT");
    master.wait_state(1, "ready");
    all_say(master.address(), "hello from demo/", 3);
}

#[test]
fn worker_stopped_by_command_gets_no_client_until_started() {
    let Some(setup) = plain("3", &[], &[]) else { return };
    let master = setup.start_ready();
    all_say(master.address(), "python/", 3);
    carried_out(&master, &["stop", "app/1"]);
    others_answer(&master, "python/");
    carried_out(&master, &["start", "app/1"]);
    all_say(master.address(), "python/", 3);
}
