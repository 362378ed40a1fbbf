//! Load by the checker, which gives every failure a class.

use std::net::SocketAddr;

use roundelay_checker::{Length, Load, Plan};

use super::{DEADLINE, wait_until};

/// One-shot echoes at that rate, until they are stopped.
pub(crate) fn one_shots(address: SocketAddr, rate: f64) -> Plan {
    Plan { rate, length: Length::UntilStopped, timeout: DEADLINE, ..Plan::new(address) }
}

/// Starts a load and waits until it flows.
#[track_caller]
pub(crate) fn checked(plan: Plan) -> Load {
    let load = Load::start(plan).unwrap();
    wait_good(&load, 20);
    load
}

/// Waits until so many more operations have ended well.
#[track_caller]
pub(crate) fn wait_good(load: &Load, more: u64) {
    let wanted = load.so_far().good() + more;
    wait_until("more good answers", || load.so_far().good() >= wanted);
}
