//! Defaults that depend on other options of a pool. Pure.

use std::time::Duration;

use super::super::{PassedAs, PoolConfig, Probe, Program, Ready, StopSignal};
use crate::mode::Mode;

/// Sets the options that were not written to defaults that depend on the others. For example, the way that the master
/// reaches a worker decides which probe it can use.
pub(super) fn follow(pool: &mut PoolConfig, is_written: impl Fn(&str) -> bool) {
    let passed_as = pool.passed_as();
    let (mut ready, mut probe) = (pool.ready, pool.health.probe.clone());
    if pool.program == Program::Demo {
        // The demo worker has a page for health checks. Only an answer shows a hang: the kernel accepts connections
        // even for a stuck process.
        probe = Probe::Http { path: "/health".to_owned() };
    }
    if is_written("health.probe") {
        probe = pool.health.probe.clone();
    }
    if pool.mode != Mode::Proxy {
        // There is no private endpoint to probe.
        ready = Ready::Notify;
        probe = Probe::None;
    }
    if passed_as.has_channel() {
        probe = Probe::Channel;
    }
    if passed_as == PassedAs::Node {
        ready = Ready::Listening;
        if !is_written("stop-signal") {
            // SIGINT is Node's own convention, and PM2's. It is sent if the worker did not end when its channel closed.
            pool.stop_signal = StopSignal::Int;
        }
    }
    if !is_written("ready") {
        pool.ready = ready;
    }
    if !is_written("health.probe") {
        pool.health.probe = probe;
    }
    // A good answer of a page shows more than a moment without a fault does.
    if !is_written("settle") && matches!(pool.health.probe, Probe::Http { .. }) {
        pool.settle = Duration::ZERO;
    }
}
