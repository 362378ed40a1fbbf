//! Clients that wait in the queue of a worker that dies are answered by another one, with every byte they had sent.

use std::io::{self, ErrorKind};

use crate::kit::{Master, Response, Setup, freeze_workers, kill, post, python, wait_for};

/// Clients for each worker.
const CLIENTS: usize = 20;
/// This is long enough that no hang is found before the test kills.
const PATIENT: &str = "health.hang-timeout=1m";

/// A pool `app` of `count` workers that call `accept` in the plainest way, if there is a Python.
fn plain(count: &str, options: &[&str]) -> Option<Setup> {
    let command = [python()?, "-c", include_str!("plain.py")];
    let setup = Setup::app(&["-i", count, "--ready", "notify"], &command);
    Some(setup.with("app", &[&[PATIENT], options].concat()))
}

/// A pool `demo` of `count` demo workers.
fn demo(count: &str, options: &[&str]) -> Setup {
    Setup::new(&["demo", "-i", count]).with("demo", &[&[PATIENT], options].concat())
}

/// The body that client `n` sends: a text of its own; that of the last client is more than sockets hold.
fn body(n: usize, clients: usize) -> String {
    let is_long = clients == CLIENTS && n == CLIENTS - 1;
    format!("{n:07};").repeat(if is_long { 500_000 } else { 12 })
}

/// The results of the clients of a pool whose first worker died with a queue.
struct Saved {
    dead: u32,
    /// The number of clients that waited in its queue.
    queued: usize,
    answers: Vec<io::Result<Response>>,
}

/// Stops the first of so many workers, lets clients come, and kills it when clients wait only in its queue and have
/// sent all they can.
#[track_caller]
fn kill_a_queue(master: &Master, workers: usize) -> Saved {
    let (address, count) = (master.address(), CLIENTS * workers);
    let dead = freeze_workers(master, &[0])[0];
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..count).map(|n| scope.spawn(move || post(address, "/echo", &body(n, count)))).collect();
        let sent = || master.metric("roundelay_bytes_total", &[r#"worker="0""#, r#"direction="rx""#]);
        // Each client has sent its head of more than 70 bytes and its body. Of the long body at least this much fits.
        let least = |queued| (queued * (70 + body(0, 0).len()) + if workers == 1 { 50_000 } else { 0 }) as f64;
        let queued = wait_for("a queue", || {
            let left = clients.iter().filter(|client| !client.is_finished()).count();
            let is_queue = left > CLIENTS / 4 && master.worker(0).active == Some(left as u64) && sent() >= least(left);
            is_queue.then_some(left)
        });
        kill(i64::from(dead), "KILL");
        Saved { dead, queued, answers: clients.into_iter().map(|client| client.join().unwrap()).collect() }
    })
}

/// Checks that all clients were answered with their own body, those of the queue by other workers, and that those
/// were counted.
#[track_caller]
fn assert_saved(master: &Master, saved: &Saved) {
    for (n, answer) in saved.answers.iter().enumerate() {
        let answer = answer.as_ref().unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.body.ends_with(&body(n, saved.answers.len())), "bytes of client {n} are missing");
        assert!(!answer.body.contains(&format!(" {} ", saved.dead)), "answered by the dead");
    }
    eventually_eq!(master.metric("roundelay_connections_recovered_total", &[]), saved.queued as f64);
    eventually_eq!(master.metric("roundelay_connections_rejected_total", &[]), 0.0);
    eventually_eq!(master.metric("roundelay_connections_unassigned_total", &[]), 0.0);
}

#[test]
fn queue_of_a_killed_demo_worker_is_answered_by_others() {
    for options in [&["endpoint=port"][..], &["endpoint=unix"], &["endpoint=inherited", "ready=notify"]] {
        let master = demo("2", options).start_ready();
        let saved = kill_a_queue(&master, 2);
        assert_saved(&master, &saved);
    }
}

#[test]
fn queue_of_a_killed_plain_program_is_answered_by_others() {
    for endpoint in ["endpoint=port", "endpoint=unix", "endpoint=inherited"] {
        let Some(setup) = plain("2", &[endpoint]) else { return };
        let master = setup.start_ready();
        let saved = kill_a_queue(&master, 2);
        assert_saved(&master, &saved);
        master.wait_state(0, "ready");
    }
}

#[test]
fn queue_of_the_only_worker_waits_for_its_successor() {
    for endpoint in ["endpoint=port", "endpoint=unix", "endpoint=inherited"] {
        let Some(setup) = plain("1", &[endpoint]) else { return };
        let master = setup.start_ready();
        let saved = kill_a_queue(&master, 1);
        assert_saved(&master, &saved);
        let replacement = master.worker(0).pid.unwrap();
        for answer in saved.answers {
            assert!(answer.unwrap().body.starts_with(&format!("python/0 {replacement} ")));
        }
    }
}

#[test]
fn recovered_client_gets_one_proxy_header_at_its_next_worker() {
    for endpoint in ["endpoint=port", "endpoint=unix", "endpoint=inherited"] {
        let Some(setup) = plain("2", &[endpoint, "proxy-protocol=v1"]) else { return };
        let master = setup.start_ready();
        let saved = kill_a_queue(&master, 2);
        assert_saved(&master, &saved);
        let port = format!(" {}", master.address().port());
        for answer in saved.answers {
            let body = answer.unwrap().body;
            let (first, _) = body.split_once('\n').unwrap();
            assert!(first.contains(" PROXY TCP4 127.0.0.1 127.0.0.1 ") && first.ends_with(&port), "{first}");
            assert_eq!(body.matches("PROXY").count(), 1);
        }
    }
}

#[test]
fn queue_of_a_killed_worker_without_recovery_is_reset() {
    for endpoint in ["endpoint=port", "endpoint=unix"] {
        let Some(setup) = plain("2", &[endpoint, "recover-queue=false"]) else { return };
        let master = setup.start_ready();
        let saved = kill_a_queue(&master, 2);
        let failed: Vec<_> = saved.answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        assert_eq!(failed.len(), saved.queued);
        let is_reset = |error: &&&io::Error| matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
        assert_eq!(failed.iter().filter(is_reset).count(), saved.queued, "{failed:?}");
        eventually_eq!(master.metric("roundelay_connections_recovered_total", &[]), 0.0);
    }
}
