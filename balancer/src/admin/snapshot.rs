//! Reads the pools into the shapes that are shown: the API's state, and the readiness of the master.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::commands;
use super::context::Source;
use super::usage::Sample;
use crate::api::state;
use crate::os::inspect::OpenFiles;
use crate::pool::{CheckStatus, ExitStatus, OtherStatus, Pool, PoolState, PoolStatus, SlotState, WorkerStatus};
use crate::rotation::{AcceptState, SlotId, UNIT_WEIGHT};
use crate::stats::AcceptLimit;

/// Returns the state of the whole master at one moment.
pub(super) fn state(source: &Source) -> state::State {
    let sample = source.sampler.look(&source.pools);
    let master = &source.master;
    state::State {
        schema: state::State::SCHEMA.to_owned(),
        version: master.version.clone(),
        pid: std::process::id(),
        started: unix_seconds(master.started),
        is_ready: unready(source).is_none(),
        is_stopping: source.is_stopping(),
        admin: master.admin.map(|address| address.to_string()),
        pools: source.pools.iter().map(|pool| pool_view(source, pool, &sample)).collect(),
    }
}

/// Returns the reason why the master is not ready, for `/readyz`; `None` if it is ready.
pub(super) fn unready(source: &Source) -> Option<String> {
    if source.is_stopping() {
        return Some("the master is stopping\n".to_owned());
    }
    let short = source.pools.iter().filter_map(|pool| shortage(source, pool, &pool.status.load()));
    let lines: String = short.map(|line| line + "\n").collect();
    (!lines.is_empty()).then_some(lines)
}

/// Returns true if enough workers of a pool are in rotation.
pub(super) fn is_ready(pool: &Pool, status: &PoolStatus) -> bool {
    status.ready() >= pool.config().min_ready as usize
}

fn shortage(source: &Source, pool: &Pool, status: &PoolStatus) -> Option<String> {
    if is_ready(pool, status) {
        return None;
    }
    let (name, needed) = (&pool.name, pool.config().min_ready);
    let others: Vec<String> = SlotState::ALL
        .into_iter()
        .filter(|&state| !state.is_serving())
        .map(|state| (state, count(status, state)))
        .filter(|&(_, count)| count > 0)
        .map(|(state, count)| format!("{count} {}", state.name()))
        .collect();
    let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
    // A limit that is reached makes no difference to a pool with too few ready workers.
    let state = PoolState::of(status, needed, false, source.is_stopping()).name();
    let (ready, all) = (status.ready(), status.workers.len());
    Some(format!("pool {name}: {state}, {ready} of {all} workers ready, {needed} needed{others}"))
}

/// Returns the state of a pool, in the word that every output uses.
pub(super) fn pool_state(source: &Source, pool: &Pool, status: &PoolStatus, sample: &Sample) -> PoolState {
    let limit = pool.stats.accept_limits.present(Instant::now());
    let is_used_up =
        matches!(limit, Some(AcceptLimit::Exhausted | AcceptLimit::OpenFiles | AcceptLimit::WorkerOpenFiles));
    let fullest = |worker: &WorkerStatus| sample.group(worker.pid).and_then(|usage| usage.fullest);
    let is_short = is_used_up || status.workers.iter().filter_map(fullest).any(OpenFiles::are_used_up);
    PoolState::of(status, pool.config().min_ready, is_short, source.is_stopping())
}

/// Returns the number of workers in that state.
pub(super) fn count(status: &PoolStatus, state: SlotState) -> usize {
    status.workers.iter().filter(|worker| worker.state == state).count()
}

/// Returns the connections that a slot has now. For a worker in rotation these are its leases; for one that is out of
/// it, the connections that it was given and that have not ended.
pub(super) fn active(pool: &Pool, slot: SlotId) -> u64 {
    let snapshot = pool.rotation.snapshot();
    let in_rotation: Vec<_> = snapshot.upstreams.iter().filter(|upstream| upstream.slot == slot).collect();
    if !in_rotation.is_empty() {
        return in_rotation.iter().map(|upstream| upstream.active() as u64).sum();
    }
    pool.slots().get(slot.0 as usize).map_or(0, |stats| {
        let ended: u64 = stats.closes.iter().map(|counter| counter.get()).sum();
        stats.connections.get().saturating_sub(ended)
    })
}

/// Returns how many of these connections have a client that waits for an answer; only a worker in rotation has any.
pub(super) fn waiting(pool: &Pool, slot: SlotId) -> u64 {
    let snapshot = pool.rotation.snapshot();
    snapshot.upstreams.iter().filter(|upstream| upstream.slot == slot).map(|upstream| upstream.waiting() as u64).sum()
}

/// Returns the present weight of a slot; 0 out of rotation.
pub(super) fn weight(pool: &Pool, slot: SlotId) -> f64 {
    let snapshot = pool.rotation.snapshot();
    let found = snapshot.upstreams.iter().find(|upstream| upstream.slot == slot);
    found.map_or(0.0, |upstream| f64::from(upstream.weight()) / f64::from(UNIT_WEIGHT))
}

/// Returns the Unix time in seconds.
pub(super) fn unix_seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn pool_view(source: &Source, pool: &Arc<Pool>, sample: &Sample) -> state::PoolEntry {
    let status = pool.status.load();
    let observed = pool.is_observed();
    state::PoolEntry {
        name: pool.name.clone(),
        state: pool_state(source, pool, &status, sample).name().to_owned(),
        listen: pool.listening().iter().map(ToString::to_string).collect(),
        mode: pool.mode.name().to_owned(),
        strategy: pool.chosen_by().to_owned(),
        generation: status.generation,
        workers_desired: status.desired_workers,
        workers_ready: u32::try_from(status.ready()).unwrap_or(u32::MAX),
        accept_state: accept_state(status.accept_state).to_owned(),
        limited_by: pool.stats.accept_limits.present(Instant::now()).map(|limit| limit.name().to_owned()),
        accepted: observed.then(|| pool.stats.accepted.get()),
        active: pool.sees_ends().then(|| pool.stats.active.get()),
        rejected: observed.then(|| pool.stats.rejected.iter().map(|counter| counter.get()).sum()),
        operation: status.operation.map(|verb| verb.name().to_owned()),
        last_report: status.last_report.as_deref().map(commands::report),
        workers: status.workers.iter().map(|worker| worker_view(pool, worker, sample)).collect(),
    }
}

fn worker_view(pool: &Pool, worker: &WorkerStatus, sample: &Sample) -> state::WorkerEntry {
    let usage = sample.group(worker.pid);
    let slots = pool.slots();
    let stats = slots.get(worker.slot.index());
    let (observed, sees_ends) = (pool.is_observed(), pool.sees_ends());
    state::WorkerEntry {
        slot: worker.slot.0,
        state: worker.state.name().to_owned(),
        state_seconds: seconds_since(worker.since),
        generation: worker.generation,
        pid: worker.pid,
        up_seconds: worker.started.filter(|_| worker.pid.is_some()).map(seconds_since),
        endpoint: worker.endpoint.as_ref().map(ToString::to_string),
        reason: worker.reason.clone(),
        status_text: worker.status_text.clone(),
        backoff_seconds: worker.backoff.as_ref().map(Duration::as_secs_f64),
        restarts: worker.restarts,
        connections: stats.filter(|_| observed).map(|stats| stats.connections.get()),
        active: sees_ends.then(|| active(pool, worker.slot)),
        waiting: observed.then(|| waiting(pool, worker.slot)),
        weight: observed.then(|| weight(pool, worker.slot)),
        cpu_seconds: usage.map(|usage| usage.cpu_seconds),
        memory_bytes: usage.map(|usage| usage.resident_bytes),
        open_files: usage.and_then(|usage| usage.fullest).map(|fullest| fullest.open),
        max_open_files: usage.and_then(|usage| usage.fullest).map(|fullest| fullest.limit),
        last_exit: worker.last_exit.as_ref().map(exit_view),
        last_check: worker.last_check.as_ref().map(check_view),
        replacement: worker.others.iter().find(|other| is_new(other)).map(|other| other_view(other, sees_ends)),
        retiring: worker
            .others
            .iter()
            .filter(|other| !is_new(other))
            .map(|other| other_view(other, sees_ends))
            .collect(),
    }
}

/// Returns true for a process that will take the place of the present one.
fn is_new(other: &OtherStatus) -> bool {
    other.state == SlotState::Starting
}

fn other_view(other: &OtherStatus, observed: bool) -> state::OtherProcess {
    state::OtherProcess {
        state: other.state.name().to_owned(),
        generation: other.generation,
        pid: other.pid,
        up_seconds: seconds_since(other.started),
        active: observed.then_some(other.active as u64),
        last_check: other.last_check.as_ref().map(check_view),
    }
}

fn exit_view(exit: &ExitStatus) -> state::Exit {
    state::Exit {
        what: exit.what.clone(),
        why: exit.why.clone(),
        code: exit.code,
        ago_seconds: seconds_since(exit.at),
        last_lines: exit.last_lines.to_vec(),
    }
}

fn check_view(check: &CheckStatus) -> state::Check {
    state::Check {
        what: check.what.clone(),
        is_ok: check.is_ok,
        took_seconds: check.took.as_secs_f64(),
        ago_seconds: seconds_since(check.at),
    }
}

fn accept_state(state: AcceptState) -> &'static str {
    match state {
        AcceptState::Open => "open",
        AcceptState::Hold => "hold",
        AcceptState::Reject => "reject",
        AcceptState::Closing => "closing",
    }
}

/// Returns the seconds since `at`; 0 if the clock was set back meanwhile.
fn seconds_since(at: SystemTime) -> f64 {
    at.elapsed().unwrap_or_default().as_secs_f64()
}
