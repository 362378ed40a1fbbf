//! What the pool's task makes known after every change: rotation, gate, status.

use std::sync::Arc;

use tokio::time::Instant;

use super::warden::Warden;
use crate::mode::Acceptor;
use crate::pool::{PoolStatus, SlotState};
use crate::rotation::{Snapshot, Standing, Upstream};

impl Warden {
    /// Publishes what changed: first who is in rotation, then what the listeners do, then what is told of it.
    pub(super) fn publish(&mut self) {
        let upstreams = self.in_rotation();
        let identity = |upstream: &Arc<Upstream>| (upstream.slot, upstream.incarnation);
        let chosen: Vec<_> = upstreams.iter().map(identity).collect();
        let has_workers = !upstreams.is_empty();
        if chosen != self.published {
            self.republish(upstreams);
            self.published = chosen;
        }
        // Where the workers accept, clients wait for them in the kernel's queue whatever we say.
        let is_open = has_workers || self.pool.mode.acceptor() == Acceptor::Workers;
        let gate = self.keeper.gate(is_open, Instant::now());
        self.pool.rotation.set_gate(gate);
        self.pool.status.store(Arc::new(PoolStatus {
            generation: 1,
            gate,
            desired: u32::try_from(self.members.len()).unwrap_or(u32::MAX),
            operation: None,
            last_report: None,
            is_stopping: self.is_stopping || gate == crate::rotation::Gate::Closing,
            workers: self.members.iter().map(|member| member.status()).collect(),
        }));
    }

    /// The ready ones; with none of them the suspects, since a suspicion is better than nobody.
    fn in_rotation(&self) -> Vec<Arc<Upstream>> {
        let of = |state| -> Vec<_> {
            let members = self.members.iter().filter(|member| member.slot.state() == state);
            members.filter_map(|member| member.upstream().cloned()).collect()
        };
        let ready = of(SlotState::Ready);
        if ready.is_empty() { of(SlotState::Suspect) } else { ready }
    }

    fn republish(&self, upstreams: Vec<Arc<Upstream>>) {
        // Who comes is up before it can be picked; who goes is down before the snapshot without it is out, and a data
        // thread that still holds the old one passes it over.
        for upstream in &upstreams {
            upstream.set_standing(Standing::Up);
        }
        for upstream in self.members.iter().filter_map(|member| member.upstream()) {
            if !upstreams.iter().any(|chosen| Arc::ptr_eq(chosen, upstream)) {
                upstream.set_standing(Standing::Down);
            }
        }
        self.pool.rotation.publish(Snapshot { upstreams });
    }
}
