//! What the pool's task makes known after every change: rotation, gate, status.

use std::sync::Arc;

use tokio::time::Instant;

use super::life::Life;
use super::member::Member;
use super::warden::Warden;
use crate::mode::Acceptor;
use crate::pool::{PoolStatus, SlotState};
use crate::rotation::{SlotId, Snapshot, Standing, UNIT_WEIGHT, Upstream};

impl Warden {
    /// Publishes what changed: first who is in rotation, then what the listeners do, then what is told of it.
    pub(super) fn publish(&mut self) {
        let upstreams = self.in_rotation();
        let (rules, now) = (self.pool.config(), Instant::now());
        let mut weighed = |upstream: &Arc<Upstream>| {
            let (slot, incarnation) = (upstream.slot, upstream.incarnation);
            (slot, incarnation, self.weights.of(slot, incarnation, &rules, now))
        };
        let chosen: Vec<_> = upstreams.iter().map(&mut weighed).collect();
        drop(rules);
        let has_workers = !upstreams.is_empty();
        let is_stopped = self.is_stopped();
        self.pool.rotation.set_stopped(is_stopped);
        if chosen != self.published {
            for (upstream, (_, _, weight)) in upstreams.iter().zip(&chosen) {
                upstream.set_weight(*weight);
            }
            self.republish(upstreams);
            self.published = chosen;
            self.steer(now);
        }
        // Where the workers accept, clients wait for them in the kernel's queue whatever we say.
        let is_open = has_workers || (self.pool.mode.acceptor() == Acceptor::Workers && !is_stopped);
        let gate = self.keeper.gate(is_open, is_stopped, now);
        self.pool.rotation.set_gate(gate);
        self.pool.status.store(Arc::new(PoolStatus {
            generation: self.generation,
            gate,
            desired: self.desired,
            operation: self.operation.as_ref().map(|operation| operation.verb),
            last_report: self.last_report.clone(),
            is_stopping: self.is_stopping || gate == crate::rotation::Gate::Closing,
            workers: self.shown().map(Member::status).collect(),
        }));
    }

    /// True if every worker was stopped by command.
    pub(super) fn is_stopped(&self) -> bool {
        !self.is_stopping && self.members.iter().all(|member| !member.slot.shall_run())
    }

    /// Every slot that there shall be, and those beyond that are not over yet.
    fn shown(&self) -> impl Iterator<Item = &Member> {
        let desired = self.desired as usize;
        self.members
            .iter()
            .enumerate()
            .filter(move |(index, one)| *index < desired || !one.is_over())
            .map(|(_, one)| one)
    }

    /// The ready ones; the busy ones where none is ready; and those suspects that are too many to leave out: at most half of a
    /// pool, and at least one, is put out on suspicion, those first that were suspect first, since what makes more than half
    /// look sick is seldom the workers. Where that would leave nobody all are in: a suspicion is better than nobody.
    fn in_rotation(&self) -> Vec<Arc<Upstream>> {
        // A client's own worker is not taken from it because it is busy.
        let is_sticky = self.pool.is_sticky();
        let in_state = |state| self.members.iter().filter(move |member| member.slot.state() == state).count();
        let serving = if in_state(SlotState::Ready) > 0 { SlotState::Ready } else { SlotState::Busy };
        let doubted = |member: &Member| member.slot.current().and_then(Life::doubted_since);
        let mut doubts: Vec<_> = self.members.iter().filter_map(doubted).collect();
        doubts.sort_unstable();
        let most = (self.desired as usize / 2).max(1);
        let most = if in_state(serving) == 0 && doubts.len() <= most { 0 } else { most };
        let spared_from = doubts.get(most).copied();
        let is_in = |member: &&Member| match doubted(member) {
            None if is_sticky && member.slot.state() == SlotState::Busy => true,
            None => member.slot.state() == serving,
            Some(since) => spared_from.is_some_and(|from| since >= from),
        };
        self.members.iter().filter(is_in).filter_map(|member| member.upstream().cloned()).collect()
    }

    fn republish(&self, upstreams: Vec<Arc<Upstream>>) {
        // Who comes is up before it can be picked; who goes is down before the snapshot without it is out, and a data
        // thread that still holds the old one passes it over.
        for upstream in &upstreams {
            upstream.set_standing(Standing::Up);
        }
        for upstream in self.members.iter().flat_map(Member::upstreams) {
            if !upstreams.iter().any(|chosen| Arc::ptr_eq(chosen, upstream)) {
                upstream.set_standing(Standing::Down);
            }
        }
        let is_there = |slot| upstreams.iter().any(|upstream| upstream.slot == slot);
        let absent = (0..self.desired).map(SlotId).filter(|slot| !is_there(*slot));
        let absent = absent.filter(|slot| self.members.get(slot.index()).is_some_and(|member| member.slot.shall_run()));
        let rules = self.pool.config();
        let absent = absent.map(|slot| (slot, rules.weight(slot.index()).saturating_mul(UNIT_WEIGHT))).collect();
        self.pool.rotation.publish(Snapshot::with_absent(upstreams, absent));
    }
}
