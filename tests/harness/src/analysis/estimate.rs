//! A value over several repetitions: its median, and an interval that shows how reliable the median is. Pure.

/// A value over several repetitions.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The values, in the order of the repetitions.
    pub values: Vec<f64>,
    /// The median.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub most: f64,
    /// The lower end of the median's 95 % bootstrap interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The part that lies outside of a 95 % interval at each end.
const TAIL: f64 = 0.025;

impl Estimate {
    /// Summarizes values; `None` if there are none, or one is not a finite number.
    ///
    /// The interval is the percentile bootstrap's (Efron 1979). It is computed exactly instead of by random resampling:
    /// the result is what infinitely many resamples would give. So it needs no seed, costs little, and is the same each
    /// time. With up to five values it reaches from the least to the greatest.
    pub fn of(values: &[f64]) -> Option<Self> {
        if !values.iter().all(|value| value.is_finite()) {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&least, &most) = (sorted.first()?, sorted.last()?);
        let spread = resampled_medians(&sorted);
        Some(Self {
            values: values.to_vec(),
            median: median(values)?,
            least,
            most,
            low: quantile(&spread, TAIL).unwrap_or(least),
            high: quantile(&spread, 1.0 - TAIL).unwrap_or(most),
        })
    }

    /// Returns the sum over all repetitions: the right figure for counts, such as errors.
    pub fn sum(&self) -> f64 {
        self.values.iter().sum()
    }
}

/// Returns the middle value, or the mean of the middle two; `None` if there are none.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// Returns every value that the median of a resample can have, in rising order, with its probability.
fn resampled_medians(sorted: &[f64]) -> Vec<(f64, f64)> {
    let n = sorted.len();
    let middle = n.div_ceil(2);
    // The `middle`th value of a resample is at most the k-th value if at least `middle` draws are among the first k.
    let at_most = |k: usize| (middle..=n).map(|draws| binomial(n, draws, k as f64 / n as f64)).sum::<f64>();
    let mut medians = Vec::new();
    for (i, &lower) in sorted.iter().enumerate() {
        let mut own = at_most(i + 1) - at_most(i);
        if n.is_multiple_of(2) {
            // The two middle ones may differ: then exactly half of the draws are among the first i + 1, and the others
            // above.
            for (j, &upper) in sorted.iter().enumerate().skip(i + 1) {
                let both = halves(n, i + 1, j) - halves(n, i, j) - halves(n, i + 1, j + 1) + halves(n, i, j + 1);
                own -= both;
                medians.push((f64::midpoint(lower, upper), both));
            }
        }
        medians.push((lower, own));
    }
    medians.sort_by(|a, b| a.0.total_cmp(&b.0));
    medians
}

/// Returns the probability that half of n draws are among the first `i` of n values, and the others behind the first
/// `j`.
fn halves(n: usize, i: usize, j: usize) -> f64 {
    if i == 0 || j >= n {
        return 0.0;
    }
    let (below, above) = (i as f64 / n as f64, (n - j) as f64 / n as f64);
    (ln_choose(n, n / 2) + (below.ln() + above.ln()) * (n / 2) as f64).exp()
}

/// Returns the probability of exactly `k` hits in `n` draws, each with probability `p`.
fn binomial(n: usize, k: usize, p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return if (p <= 0.0 && k == 0) || (p >= 1.0 && k == n) { 1.0 } else { 0.0 };
    }
    (ln_choose(n, k) + p.ln() * k as f64 + (1.0 - p).ln() * (n - k) as f64).exp()
}

fn ln_choose(n: usize, k: usize) -> f64 {
    (1..=k).map(|i| ((n - k + i) as f64 / i as f64).ln()).sum()
}

/// Returns the smallest value below which at least `share` of the probability lies.
fn quantile(spread: &[(f64, f64)], share: f64) -> Option<f64> {
    let mut sum = 0.0;
    let reached = spread.iter().find(|(_, probability)| {
        sum += probability;
        sum >= share
    });
    reached.or(spread.last()).map(|(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the interval as it is usually computed: by many random resamples.
    fn drawn(values: &[f64], seed: u64) -> (f64, f64) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut resample = || -> Vec<f64> { values.iter().map(|_| values[rng.usize(..values.len())]).collect() };
        let mut medians: Vec<f64> = (0..20_000).map(|_| median(&resample()).unwrap()).collect();
        medians.sort_by(f64::total_cmp);
        (medians[499], medians[19_499])
    }

    #[test]
    fn interval_is_that_of_very_many_resamples() {
        let mut rng = fastrand::Rng::with_seed(1);
        for n in 1..=16 {
            let values: Vec<f64> = (0..n).map(|_| 1.0 + rng.f64()).collect();
            let estimate = Estimate::of(&values).unwrap();
            let (low, high) = drawn(&values, n as u64);
            // The random intervals are off by a few of the many values that the median of an even number can have.
            assert!((estimate.low - low).abs() < 0.03, "{n}: {estimate:?}, drawn {low}");
            assert!((estimate.high - high).abs() < 0.03, "{n}: {estimate:?}, drawn {high}");
        }
    }

    #[test]
    fn all_that_a_resample_can_show_has_probability_one() {
        for n in 1..=40 {
            let values: Vec<f64> = (0..n).map(f64::from).collect();
            let spread = resampled_medians(&values);
            let sum: f64 = spread.iter().map(|(_, probability)| probability).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{n}: {sum}");
            assert!(spread.iter().all(|(_, probability)| *probability > -1e-9), "{n}");
        }
    }

    #[test]
    fn one_outlier_moves_neither_median_nor_the_interval_of_nine() {
        let estimate = Estimate::of(&[3.0, 1.0, 2.0, 4.0, 5.0, 900.0, 7.0, 6.0, 8.0]).unwrap();
        assert_eq!((estimate.median, estimate.least, estimate.most), (5.0, 1.0, 900.0));
        assert!(estimate.high <= 8.0 && estimate.low >= 2.0, "{estimate:?}");
    }

    #[test]
    fn few_values_give_an_interval_from_the_least_to_the_greatest() {
        for n in 1..=5 {
            let values: Vec<f64> = (1..=n).map(f64::from).collect();
            let estimate = Estimate::of(&values).unwrap();
            assert_eq!((estimate.low, estimate.high), (1.0, f64::from(n)), "{n}");
        }
    }

    #[test]
    fn nothing_comes_of_nothing_and_of_what_is_no_number() {
        assert_eq!(Estimate::of(&[]), None);
        assert_eq!(Estimate::of(&[1.0, f64::NAN]), None);
        assert_eq!(Estimate::of(&[f64::INFINITY]), None);
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }
}
