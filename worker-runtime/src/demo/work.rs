//! The computations of the demo worker. They block the calling thread on purpose.

use std::hint::black_box;
use std::time::Duration;

use tokio::time::Instant;

/// The largest n that is summed, as in the well-known Node cluster example. The sum n(n+1)/2 is then 12 500 000 002 500
/// 000 000, which fits into a u64.
pub(super) const MAX_N: u64 = 5_000_000_000;

/// Returns 0 + 1 + ... + n, one addition at a time. A larger n than [`MAX_N`] counts as [`MAX_N`].
pub(super) fn sum(n: u64) -> u64 {
    let mut sum = 0;
    for i in 0..=cut(n) {
        // Without the black box the compiler uses Gauss's formula, which takes no time at all.
        sum += black_box(i);
    }
    sum
}

fn cut(n: u64) -> u64 {
    n.min(MAX_N)
}

/// Computes for that long.
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
    fn larger_n_is_cut_to_the_largest_sum_that_fits() {
        let largest = u128::from(MAX_N) * u128::from(MAX_N + 1) / 2;
        assert_eq!(largest, 12_500_000_002_500_000_000);
        // The full sum takes seconds. The test above shows that the loop follows the formula.
        assert_eq!(u128::from(formula(cut(u64::MAX))), largest);
    }
}
