//! Decides which slots a rolling replacement does next, and when it stops. Pure.
//!
//! New before old, a few at a time; the first replacement that does not come up stops the roll. A slot is done when its
//! old process has ended, so that there are never more processes than workers plus `max-surge`.

use std::collections::{BTreeMap, VecDeque};

/// The progress of a slot that is being replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RollPhase {
    /// The replacement is not ready yet.
    Starting,
    /// The replacement serves; the old process still finishes its connections.
    Retiring,
}

/// A roll over some slots.
#[derive(Debug)]
pub(in crate::supervisor) struct Roll {
    surge: usize,
    pending: VecDeque<usize>,
    working: BTreeMap<usize, RollPhase>,
    /// The replacements under way, by slot.
    replacements: BTreeMap<usize, u64>,
    replaced: Vec<usize>,
    failed: Option<String>,
}

impl Roll {
    /// Creates a roll over these slots in this order, at most `surge` at a time.
    pub(in crate::supervisor) fn new(slots: impl IntoIterator<Item = usize>, surge: u32) -> Self {
        let surge = usize::try_from(surge).unwrap_or(usize::MAX).max(1);
        let pending = slots.into_iter().collect();
        Self {
            surge,
            pending,
            working: BTreeMap::new(),
            replacements: BTreeMap::new(),
            replaced: Vec::new(),
            failed: None,
        }
    }

    /// Returns the slots whose replacement begins now.
    pub(in crate::supervisor) fn next(&mut self) -> Vec<usize> {
        let room = self.surge.saturating_sub(self.working.len()).min(self.pending.len());
        let next: Vec<_> = self.pending.drain(..room).collect();
        self.working.extend(next.iter().map(|&slot| (slot, RollPhase::Starting)));
        next
    }

    /// Records the process that is a slot's replacement.
    pub(in crate::supervisor) fn begun(&mut self, slot: usize, replacement: u64) {
        self.replacements.insert(slot, replacement);
    }

    /// Records that a process serves a slot now; does nothing if it is not the replacement.
    pub(in crate::supervisor) fn switched(&mut self, slot: usize, incarnation: u64) {
        if !self.awaits(slot, incarnation) {
            return;
        }
        if let Some(phase) = self.working.get_mut(&slot) {
            *phase = RollPhase::Retiring;
            self.replaced.push(slot);
        }
    }

    /// Records that no process of a slot is retiring any more.
    pub(in crate::supervisor) fn clear(&mut self, slot: usize) {
        if self.working.get(&slot) == Some(&RollPhase::Retiring) {
            self.working.remove(&slot);
        }
    }

    /// Records that a slot's replacement did not come up: nothing more begins. Returns the slots whose replacements are
    /// to be abandoned.
    pub(in crate::supervisor) fn fail(&mut self, slot: usize, why: String) -> Vec<usize> {
        self.working.remove(&slot);
        self.failed.get_or_insert(why);
        self.pending.clear();
        let starting: Vec<_> =
            self.working.iter().filter(|(_, phase)| **phase == RollPhase::Starting).map(|(&slot, _)| slot).collect();
        self.working.retain(|_, phase| *phase == RollPhase::Retiring);
        starting
    }

    /// Returns true if the roll waits for that process as the slot's replacement.
    pub(in crate::supervisor) fn awaits(&self, slot: usize, incarnation: u64) -> bool {
        self.working.get(&slot) == Some(&RollPhase::Starting) && self.replacements.get(&slot) == Some(&incarnation)
    }

    /// Returns true if nothing is under way and nothing will begin.
    pub(in crate::supervisor) fn is_over(&self) -> bool {
        self.working.is_empty() && self.pending.is_empty()
    }

    /// The reason why the roll stopped, if it did.
    pub(in crate::supervisor) fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// The slots that have been replaced.
    pub(in crate::supervisor) fn replaced(&self) -> &[usize] {
        &self.replaced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Begins the replacements that are due; each slot's replacement is process 10 + slot.
    fn begin(roll: &mut Roll) -> Vec<usize> {
        let slots = roll.next();
        slots.iter().for_each(|&slot| roll.begun(slot, 10 + slot as u64));
        slots
    }

    fn switched(roll: &mut Roll, slot: usize) {
        roll.switched(slot, 10 + slot as u64);
    }

    #[test]
    fn roll_begins_next_slot_only_when_old_process_is_gone() {
        let mut roll = Roll::new(0..3, 1);
        assert_eq!(begin(&mut roll), [0]);
        assert_eq!(begin(&mut roll), [] as [usize; 0]);
        roll.clear(0);
        assert!(roll.awaits(0, 10), "an earlier one has left, the replacement is not there yet");
        roll.switched(0, 7);
        assert!(roll.awaits(0, 10), "another process of the slot came up, not the replacement");
        switched(&mut roll, 0);
        assert_eq!(begin(&mut roll), [] as [usize; 0], "the old one still drains");
        roll.clear(0);
        assert_eq!(begin(&mut roll), [1]);
        for slot in [1, 2] {
            switched(&mut roll, slot);
            roll.clear(slot);
            begin(&mut roll);
        }
        assert!(roll.is_over() && roll.failure().is_none());
        assert_eq!(roll.replaced(), [0, 1, 2]);
    }

    #[test]
    fn roll_with_surge_three_replaces_three_at_a_time() {
        let mut roll = Roll::new(0..5, 3);
        assert_eq!(begin(&mut roll), [0, 1, 2]);
        switched(&mut roll, 1);
        roll.clear(1);
        assert_eq!(begin(&mut roll), [3]);
    }

    #[test]
    fn failed_replacement_stops_roll_but_not_drains_under_way() {
        let mut roll = Roll::new(0..5, 3);
        begin(&mut roll);
        switched(&mut roll, 0);
        assert_eq!(roll.fail(1, "exit code 3".into()), [2], "the other replacement is given up");
        assert!(!roll.is_over(), "the old process of slot 0 drains");
        assert_eq!(begin(&mut roll), [] as [usize; 0]);
        roll.clear(0);
        assert!(roll.is_over());
        assert_eq!(roll.failure(), Some("exit code 3"));
        assert_eq!(roll.replaced(), [0]);
    }
}
