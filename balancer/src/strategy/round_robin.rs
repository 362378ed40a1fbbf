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
}

impl Strategy for RoundRobin {
    fn pick(&self, upstreams: &[Arc<Upstream>], _context: &PickContext<'_>) -> Option<usize> {
        if upstreams.is_empty() {
            return None;
        }
        Some(self.turn.fetch_add(1, Ordering::Relaxed) % upstreams.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::upstreams;

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
