//! A random number generator without a lock, for the strategies that draw at random.
//!
//! SplitMix64 (Steele, Lea and Flood, 2014) is a counter and a function that mixes the counter's bits. So the whole
//! state is one atomic that all data threads count up. The same seed gives the same numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::rotation::Snapshot;

/// The step of the counter: 2⁶⁴ divided by the golden ratio, odd.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Mixes the bits of a number: each bit of the result depends on all of them.
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// A source of random numbers.
#[derive(Debug)]
pub(super) struct Chance(AtomicU64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Returns a number from 0 to `n` - 1; 0 if `n` is 0. All are equally likely, up to 2⁻⁴⁰ or so.
    fn below(&self, n: u64) -> u64 {
        let lot = mix(self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP));
        u64::try_from((u128::from(lot) * u128::from(n)) >> 64).unwrap_or_default()
    }

    /// Draws a worker other than `but`, with a probability in proportion to its weight. Returns `None` if there is no
    /// other.
    pub(super) fn draw(&self, among: &Snapshot, but: Option<usize>) -> Option<usize> {
        let n = among.upstreams.len();
        if among.is_weighted() {
            return self.draw_by_weight(among, but);
        }
        let others = n.checked_sub(usize::from(but.is_some())).filter(|others| *others > 0)?;
        let lot = usize::try_from(self.below(others as u64)).unwrap_or_default();
        Some(if but.is_some_and(|but| lot >= but) { lot + 1 } else { lot })
    }

    fn draw_by_weight(&self, among: &Snapshot, but: Option<usize>) -> Option<usize> {
        let others = || among.upstreams.iter().enumerate().filter(|(i, _)| Some(*i) != but);
        let sum = others().map(|(_, upstream)| u64::from(upstream.weight())).sum();
        let mut lot = self.below(sum);
        let mut last = None;
        for (i, upstream) in others() {
            let weight = u64::from(upstream.weight());
            if lot < weight {
                return Some(i);
            }
            lot -= weight;
            last = Some(i);
        }
        // Another thread lowered a weight during the loop.
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::laws::{pool, weighted};

    #[test]
    fn numbers_are_those_of_the_published_generator() {
        let chance = Chance::new(1_234_567);
        let lots: Vec<u64> =
            (0..3).map(|_| mix(chance.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP))).collect();
        assert_eq!(lots, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn workers_but_one_are_drawn_in_proportion_to_weight() {
        let chance = Chance::new(7);
        for (pool, but, expected) in [
            (pool(4), None, [3000; 4]),
            (pool(4), Some(1), [4000, 0, 4000, 4000]),
            (weighted(&[1, 2, 3, 6]), None, [1000, 2000, 3000, 6000]),
            (weighted(&[1, 2, 3, 6]), Some(3), [2000, 4000, 6000, 0]),
        ] {
            let mut counts = [0_i32; 4];
            (0..12_000).for_each(|_| counts[chance.draw(&pool, but).unwrap()] += 1);
            // Five standard deviations are below 280.
            let is_near = counts.iter().zip(expected).all(|(count, expected)| (count - expected).abs() < 280);
            assert!(is_near, "{counts:?}, not {expected:?}");
        }
        assert_eq!([chance.draw(&pool(0), None), chance.draw(&pool(1), Some(0))], [None, None]);
        assert_eq!(chance.draw(&pool(1), None), Some(0));
    }
}
