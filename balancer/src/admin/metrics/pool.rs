//! The metrics of a pool and its workers.

use tokio::time::Instant;

use super::Scrape;
use crate::admin::context::Source;
use crate::admin::snapshot::{self, unix_seconds};
use crate::admin::usage::Sample;
use crate::mode::Inherits;
use crate::pool::operation::OperationKind;
use crate::pool::{Pool, PoolState, PoolStatus, SlotState, WorkerStatus};
use crate::rotation::SlotId;
use crate::stats::catalog::{self, Metric};
use crate::stats::{
    AcceptError, AcceptLimit, Check, ConnectError, Counter, Fate, OperationResult, Outcome, Rejection, Restart,
    SlotStats, Stream,
};

pub(super) fn collect(source: &Source, index: usize, pool: &Pool, sample: &Sample, scrape: &mut Scrape) {
    let name = pool.name.as_str();
    let status = pool.status.load();
    let is_ready = snapshot::is_ready(pool, &status) && !source.is_stopping();

    scrape.count(&catalog::POOL_INFO, &[name, pool.chosen_by(), pool.mode.name()], 1);
    scrape.count(&catalog::POOL_WORKERS_DESIRED, &[name], u64::from(pool.status.load().desired_workers));
    scrape.count(&catalog::POOL_GENERATION, &[name], status.generation);
    scrape.count(&catalog::POOL_READY, &[name], u64::from(is_ready));
    let state = snapshot::pool_state(source, pool, &status, sample);
    for known in PoolState::ALL {
        scrape.count(&catalog::POOL_STATE, &[name, known.name()], u64::from(known == state));
    }
    for state in SlotState::ALL {
        scrape.count(&catalog::POOL_WORKERS, &[name, state.name()], snapshot::count(&status, state) as u64);
    }

    scrape.count(&catalog::LISTENER_REVIVED, &[name], pool.stats.revived.get());
    accept_limits(name, pool, scrape);
    // A figure that was not observed is left out, rather than shown as 0.
    if pool.is_observed() {
        connections(source, name, pool, scrape);
    }
    // The master sees the connections that it takes out of a worker's accept queue itself.
    if pool.is_observed() || pool.mode.inherits() == Inherits::SlotListener {
        scrape.count(&catalog::CONNECTIONS_RECOVERED, &[name], pool.stats.recovered.get());
    }
    supervision(name, pool, scrape);
    operations(name, pool, scrape);
    for (slot, stats) in pool.slots().iter().enumerate() {
        let slot_name = slot.to_string();
        let labels = [name, &slot_name];
        let number = u32::try_from(slot).unwrap_or(u32::MAX);
        slot_counters(labels, stats, scrape);
        if pool.is_observed() {
            slot_connections(labels, stats, pool.is_relayed(), scrape);
            if pool.sees_ends() {
                scrape.count(&catalog::WORKER_CONNECTIONS_ACTIVE, &labels, snapshot::active(pool, SlotId(number)));
            }
            scrape.count(&catalog::WORKER_WAITING, &labels, snapshot::waiting(pool, SlotId(number)));
            scrape.set(&catalog::WORKER_WEIGHT, &labels, snapshot::weight(pool, SlotId(number)));
        }
        scrape.set(&catalog::WORKER_CPU, &labels, sample.cpu_total(index, number));
        worker(labels, worker_of(&status, number), sample, scrape);
    }
}

fn worker_of(status: &PoolStatus, slot: u32) -> Option<&WorkerStatus> {
    status.workers.iter().find(|worker| worker.slot.0 == slot)
}

fn connections(source: &Source, name: &str, pool: &Pool, scrape: &mut Scrape) {
    let stats = &pool.stats;
    let limit = [pool.config().max_connections, source.master.max_connections].into_iter().flatten().min();
    scrape.count(&catalog::CONNECTIONS_ACCEPTED, &[name], stats.accepted.get());
    scrape.count(&catalog::CONNECTIONS_DISPLACED, &[name], stats.displaced.get());
    if pool.sees_ends() {
        scrape.set(&catalog::CONNECTIONS_ACTIVE, &[name], stats.active.get() as f64);
        scrape.histogram(&catalog::CONNECTION_DURATION, &[name], &stats.duration.snapshot());
    }
    if pool.is_relayed() {
        scrape.histogram(&catalog::CONNECTION_FIRST_BYTE, &[name], &stats.first_byte.snapshot());
    }
    scrape.histogram(&catalog::CONNECT_DURATION, &[name], &stats.connect.snapshot());
    scrape.count(&catalog::CONNECTIONS_LIMIT, &[name], limit.unwrap_or(0) as u64);
    by_word(scrape, &catalog::CONNECTIONS_REJECTED, &[name], Rejection::ALL, |r| r.name(), &stats.rejected);
    by_word(scrape, &catalog::CONNECTIONS_UNASSIGNED, &[name], Outcome::ALL, |o| o.name(), &stats.unassigned);
    by_word(scrape, &catalog::ACCEPT_ERRORS, &[name], AcceptError::ALL, |e| e.name(), &stats.accept_errors);
}

fn accept_limits(name: &str, pool: &Pool, scrape: &mut Scrape) {
    let (limits, now) = (&pool.stats.accept_limits, Instant::now());
    let is_theirs = |limit: AcceptLimit| limit == AcceptLimit::WorkerOpenFiles;
    // Where the workers share one listener, the master accepts no connections.
    let accepts = pool.is_observed() || pool.mode.inherits() == Inherits::SlotListener;
    for limit in AcceptLimit::ALL.iter().copied().filter(|&limit| accepts || is_theirs(limit)) {
        let labels = [name, limit.name()];
        scrape.count(&catalog::ACCEPT_LIMITED, &labels, u64::from(limits.is_present(limit, now)));
        scrape.count(&catalog::ACCEPT_LIMITED_EPISODES, &labels, limits.episodes[limit as usize].get());
    }
}

fn supervision(name: &str, pool: &Pool, scrape: &mut Scrape) {
    for (metric, histogram) in
        [(&catalog::WORKER_SPAWN_DURATION, &pool.stats.spawn), (&catalog::HEALTH_CHECK_DURATION, &pool.stats.check)]
    {
        scrape.histogram(metric, &[name], &histogram.snapshot());
    }
}

/// Adds the operations of a pool, and their cost for the clients.
fn operations(name: &str, pool: &Pool, scrape: &mut Scrape) {
    for (verb, stats) in OperationKind::ALL.into_iter().zip(&pool.stats.operations) {
        let labels = [name, verb.name()];
        by_word(scrape, &catalog::OPERATIONS, &labels, OperationResult::ALL, |v| v.name(), &stats.ended);
        if !pool.is_observed() {
            continue;
        }
        for &fate in Fate::ALL.iter().filter(|fate| pool.sees_ends() || !fate.is_end()) {
            let labels = [name, verb.name(), fate.name()];
            scrape.count(&catalog::OPERATION_CONNECTIONS, &labels, stats.connections[fate as usize].get());
        }
    }
}

/// Adds the figures of a slot that only a master that accepts can know.
fn slot_connections(labels: [&str; 2], stats: &SlotStats, is_relayed: bool, scrape: &mut Scrape) {
    let [pool, slot] = labels;
    scrape.count(&catalog::WORKER_CONNECTIONS, &labels, stats.connections.get());
    scrape.count(&catalog::WORKER_RETRIES, &labels, stats.retries.get());
    if is_relayed {
        scrape.count(&catalog::BYTES, &[pool, slot, "rx"], stats.rx_bytes.get());
        scrape.count(&catalog::BYTES, &[pool, slot, "tx"], stats.tx_bytes.get());
    }
    by_word(scrape, &catalog::WORKER_CONNECT_ERRORS, &labels, ConnectError::ALL, |e| e.name(), &stats.connect_errors);
    by_word(scrape, &catalog::CONNECTION_CLOSES, &labels, Outcome::ALL, |o| o.name(), &stats.closes);
}

fn slot_counters(labels: [&str; 2], stats: &SlotStats, scrape: &mut Scrape) {
    scrape.count(&catalog::HEALTH_TRANSITIONS, &labels, stats.health_transitions.get());
    scrape.set(&catalog::WORKER_LAST_EXIT_CODE, &labels, stats.last_exit.get() as f64);
    by_word(scrape, &catalog::WORKER_RESTARTS, &labels, Restart::ALL, |r| r.name(), &stats.restarts);
    by_word(scrape, &catalog::HEALTH_CHECKS, &labels, Check::ALL, |c| c.name(), &stats.checks);
    let [pool, slot] = labels;
    scrape.count(&catalog::WORKER_MESSAGES, &[pool, slot, "from"], stats.messages_from.get());
    scrape.count(&catalog::WORKER_MESSAGES, &[pool, slot, "to"], stats.messages_to.get());
    by_word(scrape, &catalog::LOG_LINES, &labels, Stream::ALL, |s| s.name(), &stats.log_lines);
    by_word(scrape, &catalog::LOG_DROPPED, &labels, Stream::ALL, |s| s.name(), &stats.log_dropped);
}

fn worker(labels: [&str; 2], worker: Option<&WorkerStatus>, sample: &Sample, scrape: &mut Scrape) {
    let state = worker.map_or(SlotState::Stopped, |worker| worker.state);
    let pid = worker.and_then(|worker| worker.pid);
    let started = worker.and_then(|worker| worker.started).filter(|_| pid.is_some());
    let backoff = worker.and_then(|worker| worker.backoff).unwrap_or_default();
    let usage = sample.group(pid).copied().unwrap_or_default();
    for known in SlotState::ALL {
        scrape.count(&catalog::WORKER_STATE, &[labels[0], labels[1], known.name()], u64::from(known == state));
    }
    scrape.count(&catalog::WORKER_UP, &labels, u64::from(state.is_serving()));
    scrape.set(&catalog::WORKER_START_TIME, &labels, started.map_or(0.0, unix_seconds));
    scrape.set(&catalog::WORKER_BACKOFF, &labels, backoff.as_secs_f64());
    scrape.count(&catalog::WORKER_MEMORY, &labels, usage.resident_bytes);
    scrape.count(&catalog::WORKER_OPEN_FDS, &labels, usage.open_fds);
    scrape.count(&catalog::WORKER_THREADS, &labels, usage.threads);
}

/// Adds one series for each word of a closed list; the words' variants index `counters`.
fn by_word<T: Copy>(
    scrape: &mut Scrape,
    metric: &Metric,
    labels: &[&str],
    words: &[T],
    name: fn(T) -> &'static str,
    counters: &[Counter],
) {
    for (&word, counter) in words.iter().zip(counters) {
        let labels: Vec<&str> = labels.iter().copied().chain([name(word)]).collect();
        scrape.count(metric, &labels, counter.get());
    }
}
