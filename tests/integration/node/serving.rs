//! Every worker answers, and no client notices when workers come, go, are stopped or die.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};

use roundelay_checker::{Allowance, Class};

use super::{MODES, PID, all_answer, answering, app, plain, text, with_modes};
use crate::kit::{
    Kept, Setup, Traffic, a_node, carried_out, for_each, freeze, freeze_workers, kill, kill_under_load, nodes,
    read_answer, send_get, two_nodes, wait_until,
};

#[test]
fn unmodified_application_workers_answer_strictly_in_turn() {
    for node in nodes() {
        eprintln!("{node:?}");
        let Some(setup) = plain(node, &["--mode", "handoff", "-i", "3"]) else { return };
        let master = setup.start_ready();
        let pids = BTreeSet::from_iter(master.pids());
        // A worker that a busy machine does not run for a moment is passed over: then the test asks again.
        wait_until("thirty clients strictly in turn", || {
            let answered = answering(master.address(), 30);
            BTreeSet::from_iter(answered[..3].iter().copied()) == pids
                && answered.chunks(3).all(|turn| turn == &answered[..3])
        });
    }
}

#[test]
fn all_workers_that_accept_by_themselves_answer() {
    for node in nodes() {
        eprintln!("{node:?}");
        let Some(setup) = plain(node, &["--mode", "shared", "-i", "3"]) else { return };
        let master = setup.start_ready();
        all_answer(master.address(), &master);
    }
}

#[test]
fn other_workers_answer_while_one_computes() {
    for node in two_nodes() {
        let Some(setup) = plain(node, &["--mode", "handoff", "-i", "3"]) else { return };
        let master = setup.start_ready();
        let mut computing = send_get(master.address(), "/api/5000000000").unwrap();
        let answered = BTreeSet::from_iter(answering(master.address(), 30));
        assert!(answered.len() >= 2, "{answered:?}");
        // The computing request has not ended yet: all others were faster.
        computing.set_nonblocking(true).unwrap();
        assert_eq!(computing.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn twenty_reloads_lose_no_client() {
    for_each(&with_modes(two_nodes()), |&(node, mode)| {
        let Some(setup) = plain(node, &["--mode", mode, "-i", "2"]) else { return };
        // The default is a second for each worker, and nothing of what is held here depends on it.
        let master = setup.with("app", &["settle=200ms"]).start_ready();
        let traffic = Traffic::at(50.0, &master, "one-shot");
        for _ in 0..20 {
            let before = master.pids();
            carried_out(&master, &["reload"]);
            let after = master.pids();
            assert!(after.len() == 2 && after.iter().all(|pid| !before.contains(pid)), "{before:?} {after:?}");
        }
        if mode == "shared" && node.major >= 26 {
            // With its server a worker also closes the connections that it has accepted and not yet read.
            let few = Allowance::none().allow(Class::ResetBeforeFirstByte, 5).allow(Class::ClosedBeforeFirstByte, 5);
            let record = traffic.stop();
            assert!(record.analyse(&few).is_ok(), "{:?}", record.analyse(&few));
        } else {
            traffic.lost_nothing();
        }
    });
}

#[test]
fn connections_of_a_stopped_worker_go_to_others_after_a_kill() {
    for node in nodes() {
        eprintln!("{node:?}");
        let master = app(node, &["--mode", "handoff", "-i", "2"], PID).start_ready();
        let frozen = freeze_workers(&master, &[0])[0];
        let clients: Vec<_> = (0..10).map(|_| send_get(master.address(), "/").unwrap()).collect();
        let other = master.pids()[1];
        kill(i64::from(frozen), "KILL");
        for client in clients {
            let pid: u32 = read_answer(client).unwrap().body.parse().unwrap();
            assert_ne!(pid, frozen, "the other, {other}, or the next one");
        }
    }
}

#[test]
fn clients_of_a_killed_only_worker_go_to_its_replacement() {
    for node in two_nodes() {
        let master = app(node, &["--mode", "handoff", "-i", "1"], PID).start_ready();
        let frozen = freeze_workers(&master, &[0])[0];
        let clients: Vec<_> = (0..10).map(|_| send_get(master.address(), "/").unwrap()).collect();
        wait_until("them to be handed over", || master.metric("roundelay_connections_accepted_total", &[]) >= 10.0);
        kill(i64::from(frozen), "KILL");
        for client in clients {
            assert_ne!(read_answer(client).unwrap().body, frozen.to_string());
        }
    }
}

#[test]
fn clients_over_the_limit_of_a_busy_worker_wait_for_it() {
    let Some(node) = a_node() else { return };
    let flags = ["--mode", "handoff", "-i", "1", "--set", "pool.app.dispatch-timeout=300ms"];
    let patient = ["--set", "pool.app.health.hang-timeout=off"];
    let master = app(node, &[&flags[..], &patient].concat(), PID).start_ready();
    let frozen = freeze_workers(&master, &[0])[0];
    let clients: Vec<_> = (0..150).map(|_| send_get(master.address(), "/").unwrap()).collect();
    wait_until("as many as it may be given", || master.metric("roundelay_connections_accepted_total", &[]) >= 64.0);
    master.wait_state(0, "suspect");
    kill(i64::from(frozen), "CONT");
    for client in clients {
        assert_eq!(read_answer(client).unwrap().body, frozen.to_string());
    }
}

#[test]
fn clients_wait_for_replacements_when_all_workers_are_dead() {
    let Some(node) = a_node() else { return };
    for mode in MODES {
        let master = app(node, &["--mode", mode, "-i", "2"], PID).start_ready();
        let dead = master.pids();
        dead.iter().for_each(|&pid| kill(i64::from(pid), "KILL"));
        let answer: u32 = text(master.address(), "/").parse().unwrap();
        assert!(!dead.contains(&answer));
    }
}

#[test]
fn worker_killed_under_load_loses_only_requests_in_flight() {
    const APP: &str = "require('http').createServer((q, r) => {
        const slow = /^\\/slow\\/(\\d+)/.exec(q.url);
        if (slow) return setTimeout(() => r.end(`waited ${slow[1]} ms\\n`), Number(slow[1]));
        r.setHeader('Content-Length', q.headers['content-length']);
        q.pipe(r);
    }).listen(3000);";
    for node in two_nodes() {
        let master = app(node, &["--mode", "handoff", "-i", "3"], APP).start_ready();
        kill_under_load(&master, 1).failed_only_in_flight(crate::kit::CLIENTS);
    }
}

#[test]
fn kept_connection_stays_with_its_worker() {
    let Some(node) = a_node() else { return };
    let master = app(node, &["--mode", "handoff", "-i", "3"], PID).start_ready();
    let mut kept = Kept::connect(master.address());
    let first = kept.get("/").body;
    for _ in 0..5 {
        assert_eq!(kept.get("/").body, first);
    }
}

#[test]
fn unread_connections_of_a_hung_worker_are_reclaimed() {
    for node in two_nodes() {
        let master = app(node, &["--mode", "handoff", "-i", "2"], PID).start_ready();
        let frozen = master.pids()[0];
        freeze(frozen);
        let (answered, other) = (answering(master.address(), 10), master.pids()[1]);
        assert!(answered.iter().all(|&pid| pid == other), "{answered:?}, and {frozen} stands still");
        kill(i64::from(frozen), "CONT");
        all_answer(master.address(), &master);
    }
}

#[test]
fn several_versions_of_node_serve_side_by_side() {
    let [first, second, ..] = nodes() else { return };
    let script = format!(
        "if test $ROUNDELAY_WORKER = 0; then exec '{}' app.js; else exec '{}' app.js; fi",
        first.program, second.program
    );
    let flags = ["--mode", "handoff", "-i", "2", "--set", "pool.app.socket-passing=node"];
    let text = "require('http').createServer((q, r) => r.end(process.versions.node.split('.')[0])).listen(3000);";
    let master = Setup::app(&flags, &["sh", "-c", &script]).file("app.js", text).start_ready();
    let answered = || BTreeSet::from_iter(answering(master.address(), 4));
    eventually_eq!(answered(), BTreeSet::from([first.major, second.major]));
}
