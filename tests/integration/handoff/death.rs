//! A worker dies: at most the connections that it had taken are lost, and the others go to another worker.

use roundelay_checker::{Allowance, Class};

use super::{all_is_accounted_for, demo, of_slot, scripted, shares};
use crate::kit::{
    CLIENTS, Setup, burst, checked, clients, demo_after, freeze_workers, get, kill_under_load, one_shots, read_answer,
    send_get, shell, wait_good, wait_until,
};

#[test]
fn kill_under_load_fails_at_most_taken_connections() {
    for threads in ["1", "2"] {
        let master = demo("3", &["--threads", threads]).start_ready();
        let killed = kill_under_load(&master, 1);
        killed.failed_only_in_flight(CLIENTS);
        let replacement = master.wait_state(1, "ready");
        assert_ne!(replacement.pid, Some(killed.pid));
        assert_eq!(
            (replacement.restarts, replacement.last_exit.unwrap().what.as_str()),
            (1, "killed by signal 9 (KILL)")
        );
        let served: [usize; 3] = shares(master.address(), "hello from demo/", 60);
        assert!(served[1] > 0 && served.iter().sum::<usize>() == 60, "{served:?}");
        all_is_accounted_for(&master);
        eventually_eq!(master.metric("roundelay_connections_unassigned_total", &[]), 0.0);
        eventually_eq!(master.metric("roundelay_connections_rejected_total", &[]), 0.0);
    }
}

/// A worker that takes one connection after the other can have lost no more than one.
#[test]
fn kill_of_a_one_at_a_time_worker_loses_at_most_one() {
    let Some(setup) = scripted("3", &[], &[], &[]) else { return };
    let master = setup.start_ready();
    let answers = std::thread::scope(|scope| {
        let asking = scope.spawn(|| clients(4, 1200, |_| get(master.address(), "/")));
        let dead = master.kill_worker(1);
        wait_until("its replacement", || master.worker(1).pid.is_some_and(|pid| pid != dead));
        asking.join().unwrap()
    });
    let lost: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert!(lost.len() <= 1, "{lost:?}");
    all_is_accounted_for(&master);
}

#[test]
fn repeated_kills_lose_only_taken_connections() {
    let master = demo("3", &[]).with("demo", &["restart.backoff=10ms"]).start_ready();
    let load = checked(one_shots(master.address(), 150.0));
    for slot in [0, 1, 2, 0] {
        let dead = master.kill_worker(slot);
        wait_until("its replacement", || master.worker(slot).pid.is_some_and(|pid| pid != dead));
        master.wait_state(slot, "ready");
        wait_good(&load, 20);
    }
    let record = load.stop();
    // A connection in the hands of a process that is killed is ended by the kernel: in order, or by a reset if it had not
    // read everything.
    let of_the_dead = [Class::ResetBeforeFirstByte, Class::ClosedBeforeFirstByte, Class::ResetMidway, Class::Truncated];
    let allowed = of_the_dead.into_iter().fold(Allowance::none(), |allowed, class| allowed.allow(class, 4));
    record.analyse(&allowed).unwrap();
    let broken = || master.metric("roundelay_connection_closes_total", &[r#"reason="upstream_reset""#]);
    eventually!(record.failed_total() as f64 <= broken(), "{} of {}", record.failed_total(), broken());
    all_is_accounted_for(&master);
}

#[test]
fn clients_wait_for_the_replacement_of_the_only_worker() {
    let script = demo_after("while ! test -e boot; do sleep 0.02; done");
    let setup = Setup::app(&["--mode", "handoff", "-i", "1"], &shell(&script)).file("boot", "");
    let master = setup.start_ready();
    assert_eq!(burst(master.address(), "/", 5).failed, [""; 0]);
    let frozen = freeze_workers(&master, &[0])[0];
    // These were handed to the worker, which had not read them.
    let mut waiting: Vec<_> = (0..4).map(|_| send_get(master.address(), "/").unwrap()).collect();
    wait_until("them to be handed over", || master.worker(0).active == Some(4));
    master.remove("boot");
    assert_eq!(master.kill_worker(0), frozen);
    master.wait_accept_state("hold");
    waiting.extend((0..20).map(|_| send_get(master.address(), "/").unwrap()));
    eventually_eq!(master.worker(0).state, "starting");
    eventually_eq!(master.pool().active, Some(4), "those that come now wait in the kernel");
    master.touch("boot");
    for client in waiting {
        assert!(read_answer(client).unwrap().body.starts_with("hello from app/0 "));
    }
    eventually_eq!(of_slot(&master, "roundelay_worker_retries_total", 0, ""), 4.0);
    eventually_eq!(master.metric("roundelay_connections_rejected_total", &[]), 0.0);
    all_is_accounted_for(&master);
}
