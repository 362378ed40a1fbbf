//! Defaults that follow from what was written of a pool. Pure.

use std::time::Duration;

use super::super::{PassedAs, PoolConfig, Probe, Program, Ready, StopSignal};
use crate::mode::Mode;

/// Sets what was not written to what the rest makes of it: what is asked of a worker depends on how it can be reached.
pub(super) fn follow(pool: &mut PoolConfig, is_written: impl Fn(&str) -> bool) {
    let passed_as = pool.passed_as();
    let (mut ready, mut probe) = (pool.ready, pool.health.probe.clone());
    if pool.program == Program::Demo {
        // It has a page for it, and only an answer shows a hang: the kernel accepts for a stuck process.
        probe = Probe::Http { path: "/health".to_owned() };
    }
    if is_written("health.probe") {
        probe = pool.health.probe.clone();
    }
    if pool.mode != Mode::Proxy {
        // There is no private endpoint to ask.
        ready = Ready::Notify;
        probe = Probe::None;
    }
    if passed_as.has_channel() {
        probe = Probe::Channel;
    }
    if passed_as == PassedAs::Node {
        ready = Ready::Listening;
        if !is_written("stop-signal") {
            // Node's own convention, and PM2's; it comes when the end of its channel has not ended it.
            pool.stop_signal = StopSignal::Int;
        }
    }
    if !is_written("ready") {
        pool.ready = ready;
    }
    if !is_written("health.probe") {
        pool.health.probe = probe;
    }
    // A page that answered well says more than a moment without a fault.
    if !is_written("settle") && matches!(pool.health.probe, Probe::Http { .. }) {
        pool.settle = Duration::ZERO;
    }
}
