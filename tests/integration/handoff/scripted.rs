//! Workers in another language that know only the packets, and workers that break the protocol.

use std::time::Duration;

use super::{PATIENT, all_is_accounted_for, of_slot, scripted, shares, turns};
use crate::kit::{Master, burst, clients, cpu_time, get, is_alive, read_answer, send_get, wait_for, wait_until};

/// The number of connections that the slot gave back, by reason.
#[track_caller]
fn refused(master: &Master, slot: usize, reason: &str) -> f64 {
    of_slot(master, "roundelay_worker_connect_errors_total", slot, &format!("reason=\"{reason}\""))
}

#[test]
fn worker_without_our_library_is_served_in_turn() {
    let Some(setup) = scripted("3", &[], &[], &[]) else { return };
    let master = setup.start_ready();
    assert_eq!(turns(&master, master.address(), "python/", 60), [20; 3]);
    all_is_accounted_for(&master);
    let finished = || master.metric("roundelay_connection_closes_total", &[r#"reason="finished""#]);
    eventually_eq!(finished(), master.pool().accepted.unwrap() as f64);
    wait_until("good checks", || (0..3).all(|slot| of_slot(&master, "roundelay_worker_up", slot, "") == 1.0));
    assert!(!master.log().contains("invalid message on the worker's channel"), "{}", master.log());
}

#[test]
fn clients_that_all_workers_refuse_are_reset_in_time() {
    let Some(setup) = scripted("2", &[], &[0, 1], &["refuse", "3"]) else { return };
    let options = [&PATIENT[..], &["dispatch-timeout=1s"]].concat();
    let master = setup.with("app", &options).start_ready();
    let (address, before) = (master.address(), cpu_time(master.pid()));
    let checks = || (0..2).map(|slot| of_slot(&master, "roundelay_health_checks_total", slot, "")).sum::<f64>();
    let checks_before = checks();
    let lost: Vec<_> = clients(5, 5, |_| get(address, "/")).into_iter().filter_map(Result::err).collect();
    assert!(
        lost.len() == 5 && lost.iter().all(|error| error.kind() == std::io::ErrorKind::ConnectionReset),
        "{lost:?}"
    );
    let refusals: f64 = (0..2).map(|slot| refused(&master, slot, "refused")).sum();
    // Each connection is offered to both workers, then rests for 50 ms.
    assert!((10.0..=5.0 * 2.0 * 21.0).contains(&refusals), "{refusals}");
    let used = cpu_time(master.pid()) - before;
    assert!(used < Duration::from_millis(500), "{used:?}");
    // Each client makes the master ask each worker once, besides the checks that come by themselves.
    let asked = checks() - checks_before;
    assert!(asked <= 10.0 + 8.0, "{asked}");
    eventually_eq!(master.metric("roundelay_connections_unassigned_total", &[r#"reason="unreachable""#]), 5.0);
    eventually!(master.workers().iter().all(|worker| worker.restarts == 0));
    all_is_accounted_for(&master);
}

#[test]
fn connection_refused_by_one_worker_goes_to_another() {
    for (reason, counted) in [("1", "refused"), ("2", "busy"), ("3", "refused"), ("77", "refused")] {
        let Some(setup) = scripted("2", &[], &[0], &["refuse", reason]) else { return };
        let master = setup.with("app", &PATIENT).start_ready();
        assert_eq!(shares(master.address(), "python/", 20), [0, 20], "reason {reason}");
        let moved = || of_slot(&master, "roundelay_worker_retries_total", 0, "");
        eventually!(
            refused(&master, 0, counted) == moved(),
            "{} refused, {} moved",
            refused(&master, 0, counted),
            moved()
        );
        eventually!(refused(&master, 0, counted) >= 10.0);
        all_is_accounted_for(&master);
    }
}

#[test]
fn invalid_packet_is_logged_once_and_harms_no_client() {
    for (how, told) in [("unknown", 1), ("garbage", 3)] {
        let Some(setup) = scripted("2", &[], &[0], &[how]) else { return };
        let master = setup.start_ready();
        assert_eq!(turns(&master, master.address(), "python/", 40), [20, 20], "{how}");
        let complaints = || master.log().matches("invalid message on the worker's channel").count();
        wait_until("it to be told", || complaints() >= told);
        let before = complaints();
        assert_eq!(turns(&master, master.address(), "python/", 40), [20, 20], "{how}");
        eventually_eq!(complaints(), before, "each kind once");
        eventually!(master.workers().iter().all(|worker| worker.restarts == 0 && worker.state == "ready"), "{how}");
        all_is_accounted_for(&master);
    }
}

/// A few messages are big, 1 MiB and more; the small ones are as many as one process can send.
#[test]
fn endless_messages_of_a_worker_delay_no_client() {
    for bytes in ["60000", "3"] {
        let Some(setup) = scripted("2", &["--threads", "1"], &[0], &["messages", bytes]) else { return };
        let master = setup.start_ready();
        let resident = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", master.pid())).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
            line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap()
        };
        let before = resident();
        for _ in 0..5 {
            assert_eq!(burst(master.address(), "/", 60).failed, [""; 0], "messages of {bytes} bytes");
        }
        wait_until("some to be told", || master.log().contains("worker message"));
        wait_until("it to be told that there are too many", || master.log().contains("worker messages left out"));
        let told = master.log().matches("worker message").count();
        assert!(told < 2_000, "{told} of {bytes} bytes");
        assert!(resident() < before + 16 * 1024, "{} kB, {before} kB before", resident());
        eventually_eq!(master.worker(1).state, "ready");
        all_is_accounted_for(&master);
    }
}

#[test]
fn worker_that_closes_its_channel_is_replaced() {
    let Some(setup) = scripted("2", &[], &[0], &["parting"]) else { return };
    let options = [&PATIENT[..], &["kill-timeout=300ms"]].concat();
    let master = setup.with("app", &options).start_ready();
    assert_eq!(turns(&master, master.address(), "python/", 20), [10, 10]);
    let old = master.worker(0).pid.unwrap();
    master.touch("part");
    wait_until("it to be out of the rotation", || master.worker(0).state != "ready");
    assert_eq!(burst(master.address(), "/", 20).failed, [""; 0]);
    wait_until("its replacement", || master.worker(0).pid.is_some_and(|pid| pid != old));
    master.wait_state(0, "ready");
    wait_until("the end of the old one", || !is_alive(old));
    master.wait_log("closed its channel");
    assert_eq!(turns(&master, master.address(), "python/", 20), [10, 10]);
    all_is_accounted_for(&master);
}

#[test]
fn clients_wait_when_the_only_worker_closes_its_channel() {
    let Some(setup) = scripted("1", &[], &[0], &["parting"]) else { return };
    let options = [&PATIENT[..], &["kill-timeout=700ms", "dispatch-timeout=300ms"]].concat();
    let master = setup.with("app", &options).start_ready();
    master.touch("part");
    wait_until("it to be out of the rotation", || master.worker(0).state != "ready");
    assert_eq!(burst(master.address(), "/", 20).failed, [""; 0]);
    eventually_eq!(master.metric("roundelay_connections_unassigned_total", &[]), 0.0);
}

#[test]
fn worker_that_takes_nothing_has_at_most_64_and_others_serve() {
    let Some(setup) = scripted("2", &[], &[0], &["mute"]) else { return };
    let master = setup.with("app", &PATIENT).start_ready();
    let all: Vec<_> = (0..200).map(|_| send_get(master.address(), "/").unwrap()).collect();
    wait_until("all to have been accepted", || master.pool().accepted == Some(200));
    wait_until("the other to have answered", || master.worker(1).active == Some(0));
    let kept = master.worker(0).active.unwrap();
    assert!((1..=64).contains(&kept), "{kept}");
    eventually_eq!(of_slot(&master, "roundelay_connection_closes_total", 1, ""), (200 - kept) as f64);
    master.remove("bad.0");
    master.kill_worker(0);
    for client in all {
        assert!(read_answer(client).unwrap().body.starts_with("python/"));
    }
    all_is_accounted_for(&master);
}

/// A client always waits for the worker, and the worker makes progress all the time.
#[test]
fn worker_that_takes_one_at_a_time_is_not_suspect() {
    let Some(setup) = scripted("1", &[], &[0], &["slow"]) else { return };
    let master = setup.with("app", &["health.timeout=1s"]).start_ready();
    let address = master.address();
    let answers = clients(6, 40, |_| get(address, "/"));
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    eventually_eq!(of_slot(&master, "roundelay_health_transitions_total", 0, ""), 0.0);
    wait_for("nothing to wait", || (master.worker(0).active == Some(0)).then_some(()));
}
