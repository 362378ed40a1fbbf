//! Publishes the state of a pool after every change: rotation, accept state, status.

use std::sync::Arc;

use tokio::time::Instant;

use super::actor::Supervisor;
use super::slot::process::ProcessState;
use super::worker::WorkerSlot;
use crate::mode::Acceptor;
use crate::pool::{PoolStatus, SlotState};
use crate::rotation::{SlotId, Snapshot, Standing, UNIT_WEIGHT, Upstream};

impl Supervisor {
    /// Publishes changes in this order: the workers in rotation, the accept state of the listeners, the status.
    pub(super) fn publish(&mut self) {
        let upstreams = self.in_rotation();
        let (config, now) = (self.pool.config(), Instant::now());
        let mut weighed = |upstream: &Arc<Upstream>| {
            let (slot, incarnation) = (upstream.slot, upstream.incarnation);
            (slot, incarnation, self.weights.of(slot, incarnation, &config, now))
        };
        let chosen: Vec<_> = upstreams.iter().map(&mut weighed).collect();
        drop(config);
        let has_workers = !upstreams.is_empty();
        let is_stopped = self.is_stopped();
        self.pool.rotation.set_stopped(is_stopped);
        if chosen != self.published {
            for (upstream, (_, _, weight)) in upstreams.iter().zip(&chosen) {
                upstream.set_weight(*weight);
            }
            self.republish(upstreams);
            self.published = chosen;
            self.publish_eligible(now);
        }
        // If the workers accept, clients wait for them in the kernel's queue in any accept state.
        let is_open = has_workers || (self.pool.mode.acceptor() == Acceptor::Workers && !is_stopped);
        let accept_state = self.hold_timer.accept_state(is_open, is_stopped, now);
        self.pool.rotation.set_accept_state(accept_state);
        self.pool.status.store(Arc::new(PoolStatus {
            generation: self.generation,
            accept_state,
            desired_workers: self.desired_workers,
            operation: self.operation.as_ref().map(|operation| operation.verb),
            last_report: self.last_report.clone(),
            is_stopping: self.is_stopping || accept_state == crate::rotation::AcceptState::Closing,
            workers: self.shown().map(WorkerSlot::status).collect(),
        }));
    }

    /// Returns true if every worker was stopped by command.
    pub(super) fn is_stopped(&self) -> bool {
        !self.is_stopping && self.workers.iter().all(|worker| !worker.slot.shall_run())
    }

    /// Returns every wanted slot, and those beyond that are not over yet.
    fn shown(&self) -> impl Iterator<Item = &WorkerSlot> {
        let desired_workers = self.desired_workers as usize;
        self.workers
            .iter()
            .enumerate()
            .filter(move |(index, one)| *index < desired_workers || !one.is_over())
            .map(|(_, one)| one)
    }

    /// Returns the workers in rotation: the ready ones; the busy ones if none is ready; and those suspects that are too
    /// many to leave out. A suspicion removes at most half of a pool, and at least one, the oldest suspicion first: if
    /// more than half look unhealthy, the cause is rarely the workers. If that would leave no worker, all are in: a
    /// suspect worker is better than none.
    fn in_rotation(&self) -> Vec<Arc<Upstream>> {
        // A busy worker is not taken away from the clients that are bound to it.
        let is_sticky = self.pool.is_sticky();
        let in_state = |state| self.workers.iter().filter(move |worker| worker.slot.state() == state).count();
        let serving = if in_state(SlotState::Ready) > 0 { SlotState::Ready } else { SlotState::Busy };
        let suspect_since = |worker: &WorkerSlot| worker.slot.current().and_then(ProcessState::suspect_since);
        let mut doubts: Vec<_> = self.workers.iter().filter_map(suspect_since).collect();
        doubts.sort_unstable();
        let most = (self.desired_workers as usize / 2).max(1);
        let most = if in_state(serving) == 0 && doubts.len() <= most { 0 } else { most };
        let kept_from = doubts.get(most).copied();
        let is_in = |worker: &&WorkerSlot| match suspect_since(worker) {
            None if is_sticky && worker.slot.state() == SlotState::Busy => true,
            None => worker.slot.state() == serving,
            Some(since) => kept_from.is_some_and(|from| since >= from),
        };
        self.workers.iter().filter(is_in).filter_map(|worker| worker.upstream().cloned()).collect()
    }

    fn republish(&self, upstreams: Vec<Arc<Upstream>>) {
        // A worker that enters is set up before it can be picked. A worker that leaves is set down before the snapshot
        // without it is published, and a data thread that still holds the old snapshot skips it.
        for upstream in &upstreams {
            upstream.set_standing(Standing::Up);
        }
        for upstream in self.workers.iter().flat_map(WorkerSlot::upstreams) {
            if !upstreams.iter().any(|chosen| Arc::ptr_eq(chosen, upstream)) {
                upstream.set_standing(Standing::Down);
            }
        }
        let is_there = |slot| upstreams.iter().any(|upstream| upstream.slot == slot);
        let absent = (0..self.desired_workers).map(SlotId).filter(|slot| !is_there(*slot));
        let absent = absent.filter(|slot| self.workers.get(slot.index()).is_some_and(|worker| worker.slot.shall_run()));
        let config = self.pool.config();
        let absent = absent.map(|slot| (slot, config.weight(slot.index()).saturating_mul(UNIT_WEIGHT))).collect();
        self.pool.rotation.publish(Snapshot::with_absent(upstreams, absent));
    }
}
