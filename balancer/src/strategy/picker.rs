//! Takes a lease on a worker of the published snapshot.

use arc_swap::ArcSwap;

use super::{Entry, PickContext, Strategy};
use crate::rotation::{Lease, Rotation, SlotId, Snapshot};

/// Picks from the current snapshot until it holds a lease or no untried worker is left.
pub struct Picker {
    chosen: ArcSwap<Chosen>,
}

struct Chosen {
    entry: &'static Entry,
    strategy: Box<dyn Strategy>,
}

impl Chosen {
    fn new(entry: &'static Entry) -> Self {
        Self { entry, strategy: (entry.build)(fastrand::u64(..)) }
    }
}

impl Picker {
    /// Makes a picker that uses this strategy.
    pub fn new(entry: &'static Entry) -> Self {
        Self { chosen: ArcSwap::from_pointee(Chosen::new(entry)) }
    }

    /// Returns the present strategy.
    pub fn strategy(&self) -> &'static Entry {
        self.chosen.load().entry
    }

    /// Returns true if the client was given to `slot` and belongs to another slot.
    pub fn is_displaced(&self, rotation: &Rotation, context: &PickContext<'_>, slot: SlotId) -> bool {
        let home = self.chosen.load().strategy.home(&rotation.snapshot(), context);
        home.is_some_and(|home| home != slot)
    }

    /// Uses this strategy from now on. Open connections stay with their workers. The new strategy sees their counts at
    /// once, since the counts belong to the workers. A switch to the present strategy changes nothing. Only the
    /// supervisor calls it.
    pub fn switch(&self, entry: &'static Entry) {
        if entry.name != self.strategy().name {
            self.chosen.store(Chosen::new(entry).into());
        }
    }

    /// Returns a lease on the chosen worker, or `None` if every worker in rotation was tried or left the rotation.
    ///
    /// If the snapshot went stale meanwhile, the pick is repeated on the new one. So `None` is returned only when it is
    /// true now.
    pub fn pick(&self, rotation: &Rotation, context: &PickContext<'_>) -> Option<Lease> {
        let chosen = self.chosen.load();
        // The common case: no worker was tried yet, and the first choice is still in rotation. No allocation.
        let snapshot = rotation.snapshot();
        if context.tried.is_empty() {
            let i = chosen.strategy.pick(&snapshot, context)?;
            if let Some(lease) = snapshot.upstreams.get(i).and_then(Lease::take) {
                return Some(lease);
            }
        }
        drop(snapshot);
        pick_again(&*chosen.strategy, rotation, context)
    }
}

#[cold]
fn pick_again(strategy: &dyn Strategy, rotation: &Rotation, context: &PickContext<'_>) -> Option<Lease> {
    let mut gone: Vec<(SlotId, u64)> = Vec::new();
    loop {
        let snapshot = rotation.snapshot();
        let is_open = |slot: SlotId, n| !context.tried.contains(&slot) && !gone.contains(&(slot, n));
        let open = snapshot.upstreams.iter().filter(|u| is_open(u.slot, u.incarnation)).cloned().collect();
        let open = Snapshot::new(open);
        let chosen = open.upstreams.get(strategy.pick(&open, context)?)?;
        if let Some(lease) = Lease::take(chosen) {
            return Some(lease);
        }
        gone.push((chosen.slot, chosen.incarnation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::Standing;
    use crate::strategy::{ALL, find, laws::pool};

    #[test]
    fn tried_and_departed_workers_are_passed_over() {
        for entry in ALL {
            let rotation = Rotation::default();
            rotation.publish(pool(3));
            let workers = rotation.snapshot().upstreams.clone();
            let picker = Picker::new(entry);
            // Slot 1 is dead and still in the snapshot. Slot 0 was tried.
            workers[1].set_standing(Standing::Dead);
            for _ in 0..6 {
                let lease = picker.pick(&rotation, &PickContext { tried: &[SlotId(0)], ..Default::default() });
                assert_eq!(lease.map(|lease| lease.upstream().slot), Some(SlotId(2)), "{}", entry.name);
            }
            let all = [SlotId(0), SlotId(2)];
            assert!(picker.pick(&rotation, &PickContext { tried: &all, ..Default::default() }).is_none());
            assert!(workers.iter().all(|upstream| upstream.active() == 0));
        }
    }

    #[test]
    fn switch_applies_to_next_pick_and_same_strategy_keeps_cursor() {
        let rotation = Rotation::default();
        rotation.publish(pool(3));
        let picker = Picker::new(&ALL[0]);
        let any = PickContext::default();
        let slot = || picker.pick(&rotation, &any).unwrap().upstream().slot.0;
        assert_eq!([slot(), slot()], [0, 1]);
        picker.switch(find("round-robin").unwrap());
        assert_eq!(slot(), 2, "its cursor stands where it stood");
        let held: Vec<_> = (0..2).map(|_| picker.pick(&rotation, &any).unwrap()).collect();
        picker.switch(find("least-connections").unwrap());
        assert_eq!(picker.strategy().name, "least-connections");
        assert_eq!([slot(), slot()], [2, 2], "it knows of the two that are open");
        drop(held);
    }
}
