//! Publishes which workers are in rotation, and with which weights, after every change.

use std::sync::Arc;

use tokio::time::Instant;

use super::slot::process::ProcessState;
use super::slot::weights::Weights;
use super::worker::WorkerSlot;
use super::workers::Workers;
use crate::pool::SlotState;
use crate::rotation::{SlotId, Snapshot, Standing, UNIT_WEIGHT, Upstream};

/// The rotation of a pool as last published.
pub(super) struct Publisher {
    /// The workers in rotation and their weights.
    published: Vec<(SlotId, u64, u32)>,
    weights: Weights,
}

impl Publisher {
    /// Creates a publisher for a pool of that many slots, none of which is in rotation yet.
    pub(super) fn new(slots: usize) -> Self {
        Self { published: Vec::new(), weights: Weights::new(slots) }
    }

    /// The time at which a weight changes by itself.
    pub(super) fn next_deadline(&self, workers: &Workers, now: Instant) -> Option<Instant> {
        self.weights.next_deadline(&workers.pool.config(), now)
    }

    /// Returns true if a worker is in rotation.
    pub(super) fn has_workers(&self) -> bool {
        !self.published.is_empty()
    }

    /// Returns the slots that are in rotation.
    pub(super) fn slots(&self) -> Vec<usize> {
        let mut slots: Vec<_> = self.published.iter().map(|(slot, ..)| slot.index()).collect();
        slots.dedup();
        slots
    }

    /// Publishes the workers in rotation. Returns true if they, or their weights, have changed.
    pub(super) fn publish(&mut self, workers: &Workers, now: Instant) -> bool {
        let upstreams = in_rotation(workers);
        let config = workers.pool.config();
        let mut weighed = |upstream: &Arc<Upstream>| {
            let (slot, incarnation) = (upstream.slot, upstream.incarnation);
            (slot, incarnation, self.weights.of(slot, incarnation, &config, now))
        };
        let chosen: Vec<_> = upstreams.iter().map(&mut weighed).collect();
        if chosen == self.published {
            return false;
        }
        for (upstream, (_, _, weight)) in upstreams.iter().zip(&chosen) {
            upstream.set_weight(*weight);
        }
        publish_snapshot(workers, upstreams);
        self.published = chosen;
        true
    }
}

/// Returns the workers in rotation: the ready ones; the busy ones if none is ready; and those suspects that are too
/// many to leave out. A suspicion removes at most half of a pool, and at least one, the oldest suspicion first: if
/// more than half look unhealthy, the cause is rarely the workers. If that would leave no worker, all are in: a
/// suspect worker is better than none.
fn in_rotation(workers: &Workers) -> Vec<Arc<Upstream>> {
    // A busy worker is not taken away from the clients that are bound to it.
    let is_sticky = workers.pool.is_sticky();
    let in_state = |state| workers.iter().filter(move |worker| worker.slot.state() == state).count();
    let serving = if in_state(SlotState::Ready) > 0 { SlotState::Ready } else { SlotState::Busy };
    let suspect_since = |worker: &WorkerSlot| worker.slot.current().and_then(ProcessState::suspect_since);
    let mut doubts: Vec<_> = workers.iter().filter_map(suspect_since).collect();
    doubts.sort_unstable();
    let most = (workers.desired() as usize / 2).max(1);
    let most = if in_state(serving) == 0 && doubts.len() <= most { 0 } else { most };
    let kept_from = doubts.get(most).copied();
    let is_in = |worker: &&WorkerSlot| match suspect_since(worker) {
        None if is_sticky && worker.slot.state() == SlotState::Busy => true,
        None => worker.slot.state() == serving,
        Some(since) => kept_from.is_some_and(|from| since >= from),
    };
    workers.iter().filter(is_in).filter_map(|worker| worker.upstream().cloned()).collect()
}

fn publish_snapshot(workers: &Workers, upstreams: Vec<Arc<Upstream>>) {
    // A worker that enters is set up before it can be picked. A worker that leaves is set down before the snapshot
    // without it is published, and a data thread that still holds the old snapshot skips it.
    for upstream in &upstreams {
        upstream.set_standing(Standing::Up);
    }
    for upstream in workers.iter().flat_map(WorkerSlot::upstreams) {
        if !upstreams.iter().any(|chosen| Arc::ptr_eq(chosen, upstream)) {
            upstream.set_standing(Standing::Down);
        }
    }
    let is_there = |slot| upstreams.iter().any(|upstream| upstream.slot == slot);
    let absent = (0..workers.desired()).map(SlotId).filter(|slot| !is_there(*slot));
    let absent = absent.filter(|slot| workers.get(slot.index()).is_some_and(|worker| worker.slot.shall_run()));
    let config = workers.pool.config();
    let absent = absent.map(|slot| (slot, config.weight(slot.index()).saturating_mul(UNIT_WEIGHT))).collect();
    workers.pool.rotation.publish(Snapshot::with_absent(upstreams, absent));
}
