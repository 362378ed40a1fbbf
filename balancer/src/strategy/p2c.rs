//! Power of two choices: of two workers drawn at random, picks the one with fewer open connections.
//!
//! - Bound: with n workers, while connections only open and none end, the fullest worker has about ln ln n above the
//!   mean. With one random choice it would have about √(ln n × mean) above.
//! - Cost: two draws and two counts, for any number of workers (where weights differ, reads every worker).
//! - Use it with many workers, and where several balancers that do not know of each other share them: the balancers do
//!   not all choose the worker that looks idlest. With few workers behind one master `least-connections` is more even.
//! - Weights: a heavier worker is drawn more often, and may have more connections.
//! - Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (1996); Azar and others (1994).

use super::chance::Chance;
use super::load::Load;
use super::{Entry, PickContext, Strategy};
use crate::rotation::{Snapshot, Upstream};

pub(super) const ENTRY: Entry = Entry {
    name: "p2c",
    summary: "of two drawn at random, the one with fewer open connections",
    is_sticky: false,
    build: |seed| Box::new(TwoChoices { chance: Chance::new(seed) }),
};

struct TwoChoices {
    chance: Chance,
}

fn load(upstream: &Upstream) -> Load {
    Load::new(upstream.active(), upstream)
}

impl Strategy for TwoChoices {
    fn pick(&self, among: &Snapshot, _context: &PickContext<'_>) -> Option<usize> {
        let one = self.chance.draw(among, None)?;
        let Some(two) = self.chance.draw(among, Some(one)) else { return Some(one) };
        let [first, second] = [one, two].map(|i| among.upstreams.get(i).map(|upstream| load(upstream)));
        Some(if second < first { two } else { one })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::Lease;
    use crate::strategy::laws::pool;

    #[test]
    fn of_two_workers_the_one_with_fewer_is_always_picked() {
        let (strategy, pool) = ((ENTRY.build)(7), pool(2));
        let _held = Lease::take(&pool.upstreams[0]).unwrap();
        assert!((0..50).all(|_| strategy.pick(&pool, &PickContext::default()) == Some(1)));
    }

    #[test]
    fn fullest_of_many_is_never_picked_and_every_idle_one_is() {
        let (strategy, pool) = ((ENTRY.build)(7), pool(10));
        let _held = Lease::take(&pool.upstreams[3]).unwrap();
        let mut counts = [0; 10];
        (0..1000).for_each(|_| counts[strategy.pick(&pool, &PickContext::default()).unwrap()] += 1);
        assert_eq!(counts[3], 0);
        assert_eq!(counts.iter().filter(|count| **count > 60).count(), 9, "{counts:?}");
    }
}
