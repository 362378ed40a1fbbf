//! What the demo worker computes. Blocks whoever calls it; that is the point.

use std::hint::black_box;
use std::time::Duration;

use tokio::time::Instant;

/// The largest n that is summed, as in the well-known Node cluster example. n(n+1)/2 is 12 500 000 002 500 000 000 then,
/// which a u64 holds.
pub(super) const MAX_N: u64 = 5_000_000_000;

/// 0 + 1 + ... + n, with n cut to [`MAX_N`], one addition at a time.
pub(super) fn sum(n: u64) -> u64 {
    let mut sum = 0;
    for i in 0..=cut(n) {
        // Without the black box the compiler knows Gauss's formula and takes no time at all.
        sum += black_box(i);
    }
    sum
}

fn cut(n: u64) -> u64 {
    n.min(MAX_N)
}

/// Burns CPU for that long.
pub(super) fn spin(duration: Duration) {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        black_box(sum(1000));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formula(n: u64) -> u64 {
        if n.is_multiple_of(2) { n / 2 * (n + 1) } else { n.div_ceil(2) * n }
    }

    #[test]
    fn sums_are_right() {
        for n in [0, 1, 2, 100, 12_345_678] {
            assert_eq!(sum(n), formula(n), "{n}");
        }
    }

    #[test]
    fn the_largest_sum_fits_and_what_is_larger_is_cut_to_it() {
        let largest = u128::from(MAX_N) * u128::from(MAX_N + 1) / 2;
        assert_eq!(largest, 12_500_000_002_500_000_000);
        // Computed in full it takes seconds; that the loop follows the formula is shown above.
        assert_eq!(u128::from(formula(cut(u64::MAX))), largest);
    }
}
