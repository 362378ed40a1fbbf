//! From the published snapshot to a lease.

use super::{PickContext, Strategy};
use crate::rotation::{Lease, Rotation, SlotId};

/// Picks from the current snapshot until a lease is held or nobody untried is left.
pub struct Picker {
    strategy: Box<dyn Strategy>,
}

impl Picker {
    /// Picks by `strategy`.
    pub fn new(strategy: Box<dyn Strategy>) -> Self {
        Self { strategy }
    }

    /// A lease on the chosen worker, or `None` if every worker in rotation was tried or left the rotation.
    ///
    /// A pick from a snapshot that went stale meanwhile is repeated on the new one, so that "no upstream" is only said
    /// when it is true now.
    pub fn pick(&self, rotation: &Rotation, context: &PickContext<'_>) -> Option<Lease> {
        // The common case: nothing tried yet, the first choice still stands. No allocation.
        let snapshot = rotation.snapshot();
        if context.tried.is_empty() {
            let i = self.strategy.pick(&snapshot.upstreams, context)?;
            if let Some(lease) = snapshot.upstreams.get(i).and_then(Lease::take) {
                return Some(lease);
            }
        }
        drop(snapshot);
        self.pick_again(rotation, context)
    }

    #[cold]
    fn pick_again(&self, rotation: &Rotation, context: &PickContext<'_>) -> Option<Lease> {
        let mut gone: Vec<(SlotId, u64)> = Vec::new();
        loop {
            let snapshot = rotation.snapshot();
            let is_open = |slot: SlotId, n| !context.tried.contains(&slot) && !gone.contains(&(slot, n));
            let open: Vec<_> = snapshot.upstreams.iter().filter(|u| is_open(u.slot, u.incarnation)).cloned().collect();
            let chosen = open.get(self.strategy.pick(&open, context)?)?;
            if let Some(lease) = Lease::take(chosen) {
                return Some(lease);
            }
            gone.push((chosen.slot, chosen.incarnation));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::{Snapshot, Standing};
    use crate::strategy::{ALL, tests::upstreams};

    #[test]
    fn tried_and_departed_workers_are_passed_over() {
        let pool = upstreams(3);
        for upstream in &pool {
            upstream.set_standing(Standing::Up);
        }
        let rotation = Rotation::default();
        rotation.publish(Snapshot { upstreams: pool.clone() });
        let picker = Picker::new((ALL[0].build)());
        // Slot 1 died and the snapshot does not say so yet; slot 0 was tried.
        pool[1].set_standing(Standing::Dead);
        for _ in 0..6 {
            let lease = picker.pick(&rotation, &PickContext { tried: &[SlotId(0)], ..Default::default() });
            assert_eq!(lease.map(|lease| lease.upstream().slot), Some(SlotId(2)));
        }
        let all = [SlotId(0), SlotId(2)];
        assert!(picker.pick(&rotation, &PickContext { tried: &all, ..Default::default() }).is_none());
        assert!(pool.iter().all(|upstream| upstream.active() == 0));
    }
}
