//! Weighted turns, exact from any thread and without a lock. Round robin consists of them, and other strategies break
//! ties with them.
//!
//! One cursor counts turns for all data threads. Turn `t` of `n` workers belongs to worker `t mod n`, and `t div n` is
//! its round. The heaviest worker, of weight `h`, takes its turn in every round. A worker of weight `w` takes its turn
//! in `w` of `h` rounds: a sum grows by `w` each round, and the worker takes its turn in the rounds in which the sum
//! passes a multiple of `h`. So after each `h` rounds every worker has had exactly its share. In between it is never a
//! whole connection away from it, and the turns of a light worker lie as far apart as they can. The sum is computed
//! from the number of the turn, so no state is kept for each worker, and there is nothing to lock.
//!
//! This is stride scheduling (Waldspurger and Weihl, 1995) without its queue, as gRPC's weighted round robin does it.
//! The sequence is as smooth as nginx's, which keeps one sum for each worker and searches the sums for every pick.

use std::sync::atomic::{AtomicU64, Ordering};

use super::PickContext;
use crate::rotation::Snapshot;

/// A cursor, shared by all data threads.
#[derive(Debug, Default)]
pub(super) struct Turns {
    first: AtomicU64,
    /// Second attempts have a cursor of their own, so that the rotation of first attempts stays exact.
    second: AtomicU64,
}

impl Turns {
    /// Returns the worker whose turn it is among all.
    pub(super) fn next(&self, among: &Snapshot, context: &PickContext<'_>) -> Option<usize> {
        self.take(among, context, among.heaviest(), |_| true)
    }

    /// Returns the worker whose turn it is among those that `is_meant` selects. The turns of the others are passed
    /// over. `None` if it selects none.
    pub(super) fn next_of(
        &self,
        among: &Snapshot,
        context: &PickContext<'_>,
        is_meant: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let heaviest = if among.is_weighted() {
            // The heaviest of the selected workers. The heaviest of all would make light ones wait for many rounds.
            let meant = among.upstreams.iter().enumerate().filter(|(i, _)| is_meant(*i));
            meant.map(|(_, upstream)| upstream.weight()).max()?
        } else {
            among.heaviest()
        };
        self.take(among, context, heaviest, is_meant)
    }

    fn take(
        &self,
        among: &Snapshot,
        context: &PickContext<'_>,
        heaviest: u32,
        is_meant: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let workers = among.upstreams.len();
        let n = u64::try_from(workers).ok().filter(|n| *n > 0)?;
        let cursor = if context.tried.is_empty() { &self.first } else { &self.second };
        // Two rounds are enough for one thread. Other threads may take turns between these, and counts change during
        // the loop.
        for _ in 0..16 * n + 64 {
            let turn = cursor.fetch_add(1, Ordering::Relaxed);
            let i = usize::try_from(turn % n).unwrap_or_default();
            let takes = |weight| takes_turn(weight, heaviest, turn / n, turn % n * u64::from(heaviest) / n);
            if is_meant(i) && among.upstreams.get(i).is_some_and(|upstream| takes(upstream.weight())) {
                return Some(i);
            }
        }
        (0..workers).find(|&i| is_meant(i))
    }
}

/// Returns true if a worker takes its turn in a round. `phase` spreads workers of the same weight over the rounds.
fn takes_turn(weight: u32, heaviest: u32, round: u64, phase: u64) -> bool {
    let (weight, heaviest) = (u64::from(weight), u64::from(heaviest));
    weight >= heaviest || (weight * (round % heaviest) + phase) % heaviest + weight >= heaviest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::rotation::{SlotId, UNIT_WEIGHT};
    use crate::strategy::laws::{pool, weighted};

    const ANY: PickContext<'static> = PickContext { client: None, key: None, tried: &[] };

    #[test]
    fn second_attempts_leave_the_rotation_of_first_ones_alone() {
        let turns = Turns::default();
        let (all, rest) = (pool(3), pool(2));
        let second = PickContext { tried: &[SlotId(0)], ..ANY };
        let firsts = [(); 6].map(|()| {
            turns.next(&rest, &second);
            turns.next(&all, &ANY).unwrap()
        });
        assert_eq!(firsts, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn heavy_worker_turns_are_spread_among_the_others() {
        let sequence = |weights: &[u32], n: usize| {
            let (turns, pool) = (Turns::default(), weighted(weights));
            (0..n).map(|_| turns.next(&pool, &ANY).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(sequence(&[2, 1], 6), [0, 1, 0, 0, 1, 0]);
        assert_eq!(sequence(&[1, 3], 8), [1, 1, 0, 1, 1, 1, 0, 1]);
        // As nginx spreads them, except at the beginning.
        assert_eq!(sequence(&[5, 1, 1], 7), [0, 0, 2, 0, 0, 1, 0]);
    }

    #[test]
    fn skipped_worker_turns_go_to_all_others_evenly() {
        let (turns, pool) = (Turns::default(), pool(4));
        let mut counts = [0; 4];
        for _ in 0..300 {
            counts[turns.next_of(&pool, &ANY, |i| i != 0).unwrap()] += 1;
        }
        assert_eq!(counts, [0, 100, 100, 100]);
        assert_eq!(turns.next_of(&pool, &ANY, |_| false), None);
    }

    #[test]
    fn light_workers_alone_need_no_more_rounds_than_heavy_ones() {
        let (turns, pool) = (Turns::default(), weighted(&[1000, 1, 1]));
        let before = turns.first.load(Ordering::Relaxed);
        for _ in 0..100 {
            assert_ne!(turns.next_of(&pool, &ANY, |i| i != 0), Some(0));
        }
        assert!(turns.first.load(Ordering::Relaxed) - before <= 200);
    }

    proptest! {
        #[test]
        fn shares_are_exact_after_each_cycle_and_never_a_connection_off(weights in prop::collection::vec(1_u32..=20, 1..=8)) {
            let (turns, pool) = (Turns::default(), weighted(&weights));
            let (sum, heaviest) = (weights.iter().sum::<u32>(), *weights.iter().max().unwrap());
            let mut counts = vec![0_u32; weights.len()];
            for pick in 1..=3 * sum {
                counts[turns.next(&pool, &ANY).unwrap()] += 1;
                let heavy = weights.iter().position(|weight| *weight == heaviest).unwrap();
                for (count, weight) in counts.iter().zip(&weights) {
                    // Measured against the heaviest worker, which has a turn in every round.
                    let fair = f64::from(counts[heavy]) * f64::from(*weight) / f64::from(heaviest);
                    prop_assert!((f64::from(*count) - fair).abs() <= 2.0, "{counts:?} of {weights:?}");
                }
                if pick % sum == 0 {
                    let exact: Vec<u32> = weights.iter().map(|weight| weight * (pick / sum)).collect();
                    prop_assert_eq!(&counts, &exact);
                }
            }
        }

        #[test]
        fn heaviest_worker_takes_its_turn_in_every_round(weight in 1..=100_000_u32, more in 0..=1000_u32, round: u64, phase: u64) {
            let heaviest = weight + more;
            prop_assert!(takes_turn(heaviest, heaviest, round, phase % u64::from(heaviest)));
            // No overflow at any value of the cursor.
            takes_turn(weight, heaviest, round, phase % u64::from(heaviest));
        }
    }

    #[test]
    fn shares_are_exact_from_any_thread() {
        let (turns, pool) = (Turns::default(), weighted(&[2, 1, 1]));
        let counts: [AtomicU64; 3] = Default::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..3000 {
                        counts[turns.next(&pool, &ANY).unwrap()].fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(counts.map(AtomicU64::into_inner), [6000, 3000, 3000]);
        assert_eq!(pool.heaviest(), 2 * UNIT_WEIGHT);
    }
}
