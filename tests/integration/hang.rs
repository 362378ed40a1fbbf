//! A worker that hangs gets nothing new, is killed and replaced, and other workers answer the clients that waited for
//! it. A worker that only computes is left alone.

mod busy;
mod heartbeat;
mod spared;
mod stopped;

use std::time::Duration;

use roundelay_checker::{Allowance, Class};
use socket2::SockRef;
use tokio::time::Instant;

use crate::kit::{
    Master, Setup, burst, checked, clients, freeze_workers, get, kill, one_shots, read_answer, send_get, wait_for,
    wait_until,
};

/// Checks and timeouts that are short enough for a test.
const FAST: [&str; 4] =
    ["health.interval=250ms", "health.timeout=250ms", "health.fast-interval=50ms", "health.hang-timeout=1s"];

/// The most requests in flight on a worker at one moment, at the rates of these tests: generous, and far below the
/// length of a queue.
const IN_FLIGHT: u64 = 10;

/// The failures that a request may have if the worker accepted it before the worker was stopped.
fn in_flight(most: u64) -> Allowance {
    Allowance::none().allow(Class::ResetBeforeFirstByte, most).allow(Class::ResetMidway, most)
}

fn of_slot(master: &Master, metric: &str, slot: usize, label: &str) -> f64 {
    master.metric(metric, &[&format!("worker=\"{slot}\""), label])
}

fn hung(master: &Master, slot: usize) -> f64 {
    of_slot(master, "roundelay_worker_restarts_total", slot, r#"reason="hung""#)
}

/// Waits until another process is ready in that slot; returns its pid.
#[track_caller]
fn wait_replaced(master: &Master, slot: usize, old: u32) -> u32 {
    wait_for("its replacement", || {
        let worker = master.worker(slot);
        worker.pid.filter(|&pid| pid != old && worker.state == "ready")
    })
}

/// Freezes the first worker under load and sees it taken out, killed and replaced; `way` is how that is found out.
#[track_caller]
fn freeze_under_load(way: &str, master: &Master) {
    let load = checked(one_shots(master.address(), 60.0));
    let frozen = freeze_workers(master, &[0])[0];
    let begun = Instant::now();
    wait_until("it to be suspect", || master.worker(0).state == "suspect");
    let suspect = begun.elapsed();
    // Requests that were given to it at that very moment are counted now.
    assert_eq!(burst(master.address(), "/", 10).failed, [""; 0]);
    let given = of_slot(master, "roundelay_worker_connections_total", 0, "");
    let last = wait_for("its death", || match of_slot(master, "roundelay_worker_connections_total", 0, "") {
        count if master.worker(0).pid == Some(frozen) => {
            assert_eq!(count, given, "it gets nothing new while others are healthy");
            None
        }
        _ => Some(begun.elapsed()),
    });
    wait_replaced(master, 0, frozen);
    let record = load.stop();
    record.analyse(&in_flight(IN_FLIGHT)).unwrap();
    let saved = master.metric("roundelay_connections_recovered_total", &[]);
    println!(
        "{way}: suspect after {suspect:.2?}, gone after {last:.2?}, {saved} of its queue answered by others, {} of {} \
         requests lost, slowest {:.2?}",
        record.failed_total(),
        record.started(),
        record.latency().max(),
    );
    assert!(suspect < Duration::from_secs(10), "{suspect:?}");
    eventually_eq!(hung(master, 0), 1.0);
    eventually_eq!(master.metric("roundelay_worker_restarts_total", &[]), 1.0, "nobody else was replaced");
    master.wait_log("hung: killing its process group");
    eventually_eq!(master.worker(0).last_exit.unwrap().what, "hung: killed by the master");
}

#[test]
fn stopped_worker_is_found_by_its_http_probe() {
    let master = Setup::new(&["demo", "-i", "3", "--health", "/health"]).start_ready();
    freeze_under_load("http probe", &master);
    eventually!(master.metric("roundelay_connections_recovered_total", &[]) > 0.0);
}

#[test]
fn stopped_worker_with_a_tcp_probe_is_found_by_its_queue() {
    let master = Setup::new(&["demo", "-i", "3"]).with("demo", &["health.heartbeat=off"]).start_ready();
    freeze_under_load("queue", &master);
    eventually!(master.metric("roundelay_connections_recovered_total", &[]) > 0.0);
}

/// The connections of the check itself stay in the queue; they are enough to see that no process accepts them.
#[test]
fn idle_stopped_worker_is_found_by_its_queue() {
    for endpoint in ["endpoint=port", "endpoint=unix"] {
        let options = [&FAST[..], &["health.heartbeat=off", endpoint]].concat();
        let master = Setup::new(&["demo", "-i", "2"]).with("demo", &options).start_ready();
        let frozen = freeze_workers(&master, &[0])[0];
        wait_replaced(&master, 0, frozen);
        eventually_eq!((hung(&master, 0), hung(&master, 1)), (1.0, 0.0));
    }
}

/// Asks for something that takes long, and leaves with a reset once the worker has read the request.
fn ask_and_leave(master: &Master, path: &str) {
    let client = send_get(master.address(), path).unwrap();
    wait_until("it to be given to the worker", || master.workers().iter().any(|worker| worker.active == Some(1)));
    wait_until("it to be taken", || master.workers().iter().any(|worker| worker.state == "busy"));
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn blocked_worker_without_clients_is_replaced_soon() {
    let master = Setup::new(&["demo", "-i", "1", "--health", "/health"]).with("demo", &FAST).start_ready();
    let pid = master.pids()[0];
    ask_and_leave(&master, "/block/60000");
    wait_replaced(&master, 0, pid);
    eventually_eq!(hung(&master, 0), 1.0);
}

#[test]
fn computing_worker_without_clients_is_replaced_later() {
    let options = [&FAST[..], &["health.busy-timeout=2s"]].concat();
    let master = Setup::new(&["demo", "-i", "1", "--health", "/health"]).with("demo", &options).start_ready();
    let pid = master.pids()[0];
    ask_and_leave(&master, "/cpu/60000");
    wait_replaced(&master, 0, pid);
    eventually_eq!(hung(&master, 0), 1.0);
}

#[test]
fn half_of_all_suspect_workers_stay_in_rotation() {
    let options = [&FAST[..3], &["health.hang-timeout=off"]].concat();
    let master = Setup::new(&["demo", "-i", "4", "--health", "/health"]).with("demo", &options).start_ready();
    let frozen = freeze_workers(&master, &[0, 1, 2, 3]);
    for slot in 0..4 {
        master.wait_state(slot, "suspect");
    }
    let waiting: Vec<_> = (0..20).map(|_| send_get(master.address(), "/").unwrap()).collect();
    let active = || master.workers().iter().map(|worker| worker.active.unwrap_or(0)).collect::<Vec<_>>();
    wait_until("all to be assigned", || active().iter().sum::<u64>() == 20);
    let mut active = active();
    active.sort_unstable();
    assert_eq!(active, [0, 0, 10, 10], "at most half is out on suspicion");
    frozen.iter().for_each(|&pid| kill(i64::from(pid), "CONT"));
    for client in waiting {
        assert_eq!(read_answer(client).unwrap().status, 200);
    }
}

#[test]
fn all_stopped_workers_are_replaced_and_every_client_answered() {
    let master = Setup::new(&["demo", "-i", "4", "--health", "/health"]).with("demo", &FAST).start_ready();
    let (address, frozen) = (master.address(), freeze_workers(&master, &[0, 1, 2, 3]));
    let begun = Instant::now();
    let answers = clients(40, 40, |_| get(address, "/"));
    for (slot, &old) in frozen.iter().enumerate() {
        wait_replaced(&master, slot, old);
    }
    println!("all frozen: recovered after {:.2?}", begun.elapsed());
    let failed: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    eventually_eq!((0..4).map(|slot| hung(&master, slot)).sum::<f64>(), 4.0);
    assert_eq!(burst(address, "/", 20).failed, [""; 0]);
}
