//! Round robin: each worker in turn.
//!
//! One cursor for all data threads, so the rotation is exact however many threads accept: of 1,200 connections over three
//! workers each gets 400. It is blind to how long a connection lasts; with equal work that is the fairest there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Entry, PickContext, Strategy};
use crate::rotation::Upstream;

pub(super) const ENTRY: Entry = Entry {
    name: "round-robin",
    summary: "each worker in turn, exactly (default)",
    build: || Box::new(RoundRobin::default()),
};

#[derive(Default)]
struct RoundRobin {
    turn: AtomicUsize,
    /// A second attempt takes a turn of its own, so that the rotation of first ones stays exact.
    second: AtomicUsize,
}

impl Strategy for RoundRobin {
    fn pick(&self, upstreams: &[Arc<Upstream>], context: &PickContext<'_>) -> Option<usize> {
        if upstreams.is_empty() {
            return None;
        }
        let turn = if context.tried.is_empty() { &self.turn } else { &self.second };
        Some(turn.fetch_add(1, Ordering::Relaxed) % upstreams.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::upstreams;

    #[test]
    fn second_attempts_leave_the_rotation_of_first_ones_alone() {
        let strategy = RoundRobin::default();
        let (pool, rest) = (upstreams(3), upstreams(2));
        let second = PickContext { tried: &[crate::rotation::SlotId(0)], ..Default::default() };
        let firsts = [(); 6].map(|()| {
            strategy.pick(&rest, &second);
            strategy.pick(&pool, &PickContext::default()).unwrap()
        });
        assert_eq!(firsts, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn twelve_hundred_over_three_are_four_hundred_each_from_any_thread() {
        let strategy = RoundRobin::default();
        let pool = upstreams(3);
        let counts: [std::sync::atomic::AtomicUsize; 3] = Default::default();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..600 {
                        let i = strategy.pick(&pool, &PickContext::default()).unwrap();
                        counts[i].fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(counts.map(|count| count.into_inner()), [400, 400, 400]);
    }
}
