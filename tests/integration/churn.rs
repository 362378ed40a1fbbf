//! Many connections, one after the other, leave nothing behind in the master.

use roundelay_checker::{Length, Load, Plan};

use crate::kit::{Master, Setup, descriptors, one_shots, wait_until};

const MIB: f64 = 1_048_576.0;
const WARM_UP: u64 = 3_000;
const CONNECTIONS: u64 = 20_000;

/// So many one-shot connections, all of them good. A machine that has too much else to do carries out fewer.
#[track_caller]
fn churn(master: &Master, count: u64) {
    let plan = Plan { length: Length::Count(count), max_open: 500, ..one_shots(master.address(), 1_500.0) };
    let record = Load::start(plan).unwrap().wait();
    assert_eq!(record.failed_total(), 0, "{:?}", record.failures());
    assert!(record.good() > count / 4, "{} of {count}", record.good());
}

/// Its descriptors when no connection is open, without those of the question itself.
#[track_caller]
fn at_rest(master: &Master) -> usize {
    wait_until("all connections to have ended", || master.metric("roundelay_connections_active", &[]) == 0.0);
    let mut least = descriptors(master.pid()).len();
    // The control socket's own connection ends a moment after its answer.
    for _ in 0..20 {
        least = least.min(descriptors(master.pid()).len());
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    least
}

fn resident(master: &Master) -> f64 {
    master.metric("process_resident_memory_bytes", &[])
}

#[test]
fn twenty_thousand_connections_leave_no_descriptor_and_no_memory_behind() {
    let master = Setup::new(&["demo", "-i", "2"]).start_ready();
    churn(&master, WARM_UP);
    let (open, memory) = (at_rest(&master), resident(&master));
    churn(&master, CONNECTIONS);
    let (open_after, memory_after) = (at_rest(&master), resident(&master));
    println!(
        "churn: {CONNECTIONS} connections, descriptors {open} -> {open_after}, resident {:.1} -> {:.1} MiB",
        memory / MIB,
        memory_after / MIB
    );
    assert_eq!(open_after, open);
    assert!(memory_after <= memory * 1.03 + 2.0 * MIB, "{memory} -> {memory_after}");
}
