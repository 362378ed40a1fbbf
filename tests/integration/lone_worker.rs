//! A pool of one worker that dies again and again: clients wait for its successor.

use roundelay_checker::{Allowance, Class};

use crate::kit::{Setup, checked, for_each, one_shots, wait_for, wait_good};

const KILLS: u64 = 10;
/// At one moment, at a rate that a worker serves at once: more than a machine with much else to do lets pile up.
const IN_FLIGHT: u64 = 10;

#[test]
fn only_worker_killed_ten_times_loses_only_open_requests() {
    for_each(&["endpoint=port", "endpoint=unix", "endpoint=inherited"], |endpoint| {
        let options = [endpoint, "ready=notify", "restart.reset-after=0s"];
        let master = Setup::new(&["demo", "-i", "1"]).with("demo", &options).start_ready();
        let load = checked(one_shots(master.address(), 60.0));
        for _ in 0..KILLS {
            let dead = master.kill_worker(0);
            wait_for("its successor", || {
                let worker = master.worker(0);
                worker.pid.filter(|&pid| pid != dead && worker.state == "ready")
            });
            wait_good(&load, 15);
        }
        let record = load.stop();
        let most = KILLS * IN_FLIGHT;
        let allowed = Allowance::none().allow(Class::ResetBeforeFirstByte, most).allow(Class::ResetMidway, most);
        record.analyse(&allowed).unwrap();
        let saved = master.metric("roundelay_connections_recovered_total", &[]);
        println!(
            "{endpoint}: {} of {} requests lost in {KILLS} kills, {saved} recovered, slowest {:.2?}",
            record.failed_total(),
            record.started(),
            record.latency().max()
        );
        let reset = || master.metric("roundelay_connection_closes_total", &[r#"reason="upstream_reset""#]);
        // An answer may be whole before the end of its connection is lost.
        eventually!(record.failed_total() as f64 <= reset(), "only what it had: {}", reset());
        eventually_eq!(master.metric("roundelay_connections_rejected_total", &[]), 0.0);
        eventually_eq!(master.metric("roundelay_connections_unassigned_total", &[]), 0.0);
        eventually_eq!(master.metric("roundelay_worker_restarts_total", &[r#"reason="crash""#]), KILLS as f64);
    });
}
