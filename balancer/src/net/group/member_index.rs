//! The kernel's number of each member of a group. Pure.
//!
//! The kernel keeps the members in an array. It puts a member that begins to listen at the end. When a member stops,
//! the last one takes its number.

/// The members' numbers, as far as they are known.
#[derive(Debug)]
pub(super) struct MemberIndex {
    /// The slots of the members that listen, by number.
    slots: Vec<usize>,
    is_known: bool,
}

impl MemberIndex {
    /// Makes the index of `count` members that began to listen in the order of their slots.
    pub(super) fn of(count: usize) -> Self {
        Self { slots: (0..count).collect(), is_known: true }
    }

    /// Returns true if each member's number is known.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Removes the members that stopped since the last look, in an unknown order. The order need not matter: members at
    /// the front keep their numbers, and members at the back move into the gaps. It matters if two or more move.
    pub(super) fn lost(&mut self, gone: &[usize]) {
        let rest = self.slots.iter().filter(|slot| !gone.contains(slot)).count();
        let moving: Vec<_> = self.slots.split_off(rest).into_iter().filter(|slot| !gone.contains(slot)).collect();
        self.is_known &= moving.len() <= 1;
        let gaps = self.slots.iter_mut().filter(|slot| gone.contains(slot));
        for (gap, slot) in gaps.zip(moving) {
            *gap = slot;
        }
    }

    /// Adds a member that listens again.
    pub(super) fn joined(&mut self, slot: usize) {
        self.slots.push(slot);
    }

    /// Returns the numbers of these members; those of all members if the order is unknown.
    pub(super) fn numbers(&self, slots: &[usize]) -> Vec<u32> {
        let numbers = (0u32..).zip(&self.slots);
        numbers.filter(|(_, slot)| !self.is_known || slots.contains(slot)).map(|(number, _)| number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every order in which the members `gone` may leave an array, one after the other as the kernel does it.
    fn outcomes(array: &[usize], gone: &[usize]) -> Vec<Vec<usize>> {
        if gone.is_empty() {
            return vec![array.to_vec()];
        }
        let first = |&slot: &usize| {
            let (mut array, mut gone) = (array.to_vec(), gone.to_vec());
            array.swap_remove(array.iter().position(|&one| one == slot).unwrap());
            gone.retain(|&one| one != slot);
            outcomes(&array, &gone)
        };
        gone.iter().flat_map(first).collect()
    }

    #[test]
    fn member_index_is_known_while_only_one_is_possible() {
        let (mut known, mut unknown) = (0, 0);
        for count in 1..=6 {
            let all: Vec<usize> = (0..count).collect();
            for bits in 1..1u32 << count {
                let gone: Vec<usize> = (0..count).filter(|slot| bits & 1 << slot != 0).collect();
                let mut member_index = MemberIndex::of(count);
                member_index.lost(&gone);
                let mut outcomes = outcomes(&all, &gone);
                outcomes.dedup();
                assert_eq!(member_index.is_known(), outcomes.len() == 1, "{gone:?} of {count}: {outcomes:?}");
                if member_index.is_known() {
                    assert_eq!(member_index.slots, outcomes[0], "{gone:?} of {count}");
                }
                *(if member_index.is_known() { &mut known } else { &mut unknown }) += 1;
            }
        }
        assert!(known > 60 && unknown > 10, "{known} {unknown}");
    }

    #[test]
    fn rejoining_member_is_last_and_absent_member_leaves_once() {
        let mut member_index = MemberIndex::of(4);
        member_index.lost(&[1]);
        member_index.lost(&[1]);
        assert_eq!(member_index.numbers(&[0, 1, 2]), [0, 2]);
        member_index.joined(1);
        assert_eq!(member_index.slots, [0, 3, 2, 1]);
        assert_eq!((member_index.numbers(&[1]), member_index.numbers(&[3, 0])), (vec![3], vec![0, 1]));
        assert!(member_index.numbers(&[]).is_empty());
    }

    #[test]
    fn unknown_order_selects_every_possible_member() {
        let mut member_index = MemberIndex::of(4);
        member_index.lost(&[0, 1]);
        member_index.joined(0);
        assert_eq!((member_index.is_known(), member_index.numbers(&[2])), (false, vec![0, 1, 2]));
    }
}
