//! Workers that keep ending, for whatever cause, cost the other workers nothing and the machine little.

use std::time::Duration;

use roundelay_checker::{Allowance, Length, Load, Plan};
use tokio::time::Instant;

use crate::kit::{Master, Setup, burst, checked, cpu_time, demo_after, freeze_workers, one_shots, shell, wait_until};

/// All workers but the first exit at once.
const ONE_OF_ALL: &str = "if test $ROUNDELAY_WORKER != 0; then exit 1; fi";

fn restarts(master: &Master, slot: usize, reason: &str) -> f64 {
    master.metric("roundelay_worker_restarts_total", &[&format!("worker=\"{slot}\""), reason])
}

#[test]
fn crash_loop_of_all_but_one_worker_loses_no_client() {
    let script = demo_after(ONE_OF_ALL);
    let master = Setup::app(&["-i", "4"], &shell(&script)).start();
    master.wait_state(0, "ready");
    let plan = Plan { length: Length::For(Duration::from_secs(10)), ..one_shots(master.address(), 50.0) };
    let load = Load::start(plan).unwrap();
    wait_until("all to back off", || (1..4).all(|slot| master.worker(slot).state == "backoff"));
    let record = load.wait();
    record.analyse(&Allowance::none()).unwrap();
    let forks: Vec<_> = (1..4).map(|slot| restarts(&master, slot, r#"reason="crash""#)).collect();
    let cpu = cpu_time(master.pid());
    println!("crash loop: {forks:?} restarts, {cpu:?} of the master's CPU for {} requests", record.started());
    // The first start was no restart.
    assert!(forks.iter().all(|&forks| (4.0..=9.0).contains(&forks)), "{forks:?} in 10 s");
    eventually_eq!(restarts(&master, 0, ""), 0.0);
    eventually_eq!(master.metric("roundelay_connections_rejected_total", &[]), 0.0);
    eventually_eq!(master.metric("roundelay_connections_unassigned_total", &[]), 0.0);
}

#[test]
fn workers_over_the_restart_budget_fail_while_others_serve() {
    let script = demo_after(ONE_OF_ALL);
    let options = ["restart.max-exits=2", "restart.backoff=300ms"];
    let master = Setup::app(&["-i", "4"], &shell(&script)).with("app", &options).start();
    master.wait_state(0, "ready");
    let load = checked(one_shots(master.address(), 50.0));
    (1..4).for_each(|slot| drop(master.wait_state(slot, "failed")));
    load.stop().analyse(&Allowance::none()).unwrap();
    eventually_eq!(master.metric("roundelay_pool_workers", &[r#"state="failed""#]), 3.0);
    assert_eq!(master.ask("/readyz").status, 200);
    master.wait_log("ended too often");
}

/// Start 1 stops once it is ready, start 2 exits, start 3 is never ready.
#[test]
fn restart_budget_counts_every_unexpected_exit() {
    let script = demo_after(
        "if test $ROUNDELAY_WORKER = 1; then printf x >> starts; case $(cat starts) in xx) exit 7;; xxx) sleep 600;; esac; fi",
    );
    let options = ["restart.max-exits=2", "ready-timeout=3s", "health.heartbeat=500ms", "health.hang-timeout=500ms"];
    let mut master = Setup::app(&["-i", "2"], &shell(&script)).with("app", &options).start_ready();
    master.wait_all_ready();
    freeze_workers(&master, &[1]);
    master.wait_state(1, "failed");
    let causes = [r#"reason="hung""#, r#"reason="crash""#, r#"reason="never_ready""#];
    eventually_eq!(causes.map(|cause| restarts(&master, 1, cause)), [1.0; 3]);
    assert_eq!(std::fs::read_to_string(master.dir().join("starts")).unwrap(), "xxx");
    assert_eq!(burst(master.address(), "/", 20).failed, [""; 0]);
}

#[test]
fn spawn_rate_bounds_the_starts_of_all_slots_together() {
    const RATE: f64 = 5.0;
    let script = demo_after(&format!("printf x >> starts; {ONE_OF_ALL}"));
    let options = ["restart.backoff=1ms", "restart.backoff-max=1ms", "restart.max-exits=100000"];
    let setup = Setup::app(&["-i", "8", "--set", &format!("master.spawn-rate={RATE}")], &shell(&script));
    let begun = Instant::now();
    let master = setup.with("app", &options).start();
    master.wait_state(0, "ready");
    let starts = || std::fs::metadata(master.dir().join("starts")).unwrap().len() as f64;
    // The burst is at least one start for each worker. After more starts than that it is spent.
    wait_until("starts at the rate", || starts() >= 40.0);
    let (starts, time) = (starts(), begun.elapsed().as_secs_f64());
    println!("spawn-rate {RATE}: {starts} starts in {time:.1} s");
    assert!(starts <= 20.0 + RATE * time + 1.0, "{starts} starts in {time} s");
    assert_eq!(burst(master.address(), "/", 20).failed, [""; 0]);
}
