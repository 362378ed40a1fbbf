//! Decides if two ways differ at all. Pure.
//!
//! [`verdict`] compares values that were measured in pairs, one right after the other, so that a drift of the machine
//! affects both alike. It claims a difference only if all of these hold:
//!
//! 1. There are [`LEAST_REPETITIONS`] pairs.
//! 2. The 95 % bootstrap interval of the pairs' median ratio excludes 1. With five pairs that is so if all five point
//!    the same way. Chance alone does that in 2 of 32 cases, which is too often without the next rule.
//! 3. Student's paired t-test of the ratios' logarithms gives chance a probability below [`LUCK`]. The test alone would
//!    miss real differences: one outlier silences it.
//! 4. The ratio is further from 1 than the metric's threshold, and the difference larger than its step.
//!
//! The intervals of the two medians may overlap: a drift that both share spreads both medians, and tells nothing about
//! the difference. Only where there are no pairs, or no ratios because a value is 0, these intervals decide: then there
//! is nothing else. With five against five values, chance separates them in 2 of 252 cases; with other numbers in at
//! most 3 of 100 (seven).

use super::{Estimate, Metric};

/// The repetitions that a verdict needs. Four pairs agree by chance in one of eight cases, so their intervals mean
/// nothing.
pub const LEAST_REPETITIONS: usize = 5;

/// The probability below which chance no longer explains a difference. With five pairs and noise of 3 %, a difference
/// of 15 % is found in 19 of 20 comparisons; among a hundred comparisons of equals one or two are wrong.
pub const LUCK: f64 = 0.015;

/// The result of comparing a value with the reference way's in the same scenario.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// It is the reference itself, or there is none.
    Reference,
    /// Fewer repetitions than a verdict needs.
    TooFew,
    /// The difference may be chance, or is too small to matter.
    NoDifference,
    /// It differs by this ratio to the reference (median of pairs, and its 95 % interval).
    ///
    /// Errors, and values that include 0, have no ratios in pairs. For them it is the ratio of the means, and the
    /// ends come from the two intervals. It is 0 where this way has none, and infinite where the reference has none.
    Different {
        /// True if the difference is good; false also for a metric that has no better end
        /// ([`Metric::lower_is_better`]).
        is_better: bool,
        /// This way's value divided by the reference's.
        ratio: f64,
        /// The lower end of the interval.
        low: f64,
        /// The upper end of the interval.
        high: f64,
    },
}

impl Verdict {
    /// Returns true if it differs, for the better.
    pub fn is_better(&self) -> bool {
        matches!(self, Self::Different { is_better: true, .. })
    }
}

/// Compares values with the reference's of the same repetitions, in the same order; a value without a partner does not
/// count. The module's head states the rule.
pub fn verdict(values: &[f64], reference: &[f64], metric: Metric) -> Verdict {
    let pairs = values.len().min(reference.len());
    let (Some(values), Some(reference)) = (values.get(..pairs), reference.get(..pairs)) else { return Verdict::TooFew };
    let (Some(ours), Some(theirs)) = (Estimate::of(values), Estimate::of(reference)) else { return Verdict::TooFew };
    if metric == Metric::Errors || ours.least <= 0.0 || theirs.least <= 0.0 {
        return unpaired(&ours, &theirs, metric);
    }
    if pairs < LEAST_REPETITIONS {
        return Verdict::TooFew;
    }
    let ratios: Vec<f64> = values.iter().zip(reference).map(|(ours, theirs)| ours / theirs).collect();
    let Some(ratio) = Estimate::of(&ratios) else { return Verdict::NoDifference };
    let excludes_1 = ratio.low > 1.0 || ratio.high < 1.0;
    let matters = matters(ratio.median, ours.median - theirs.median, metric);
    if excludes_1 && matters && chance(&ratios) < LUCK {
        different(ratio.median, ratio.low, ratio.high, metric)
    } else {
        Verdict::NoDifference
    }
}

/// Compares values that were not measured in pairs: they differ if the intervals of their medians do not overlap, and
/// the difference is large enough. The ratio's interval comes from the ends of those, so it is wider than 95 %.
pub(crate) fn unpaired(ours: &Estimate, theirs: &Estimate, metric: Metric) -> Verdict {
    if ours.values.len().min(theirs.values.len()) < LEAST_REPETITIONS {
        return Verdict::TooFew;
    }
    let are_apart = ours.low > theirs.high || ours.high < theirs.low;
    let ratio = if metric == Metric::Errors || ours.least <= 0.0 || theirs.least <= 0.0 {
        // One side may lack repetitions, so means are compared, not sums.
        through(ours.sum() / ours.values.len() as f64, theirs.sum() / theirs.values.len() as f64)
    } else {
        ours.median / theirs.median
    };
    if are_apart && matters(ratio, ours.median - theirs.median, metric) {
        let (low, high) = (through(ours.low, theirs.high), through(ours.high, theirs.low));
        different(ratio, low.min(ratio), high.max(ratio), metric)
    } else {
        Verdict::NoDifference
    }
}

/// Returns a quotient of counts; something divided by nothing is infinite.
fn through(ours: f64, theirs: f64) -> f64 {
    match (ours > 0.0, theirs > 0.0) {
        (_, true) => ours / theirs,
        (true, false) => f64::INFINITY,
        (false, false) => 1.0,
    }
}

/// Returns true if the difference exceeds the metric's threshold and step.
fn matters(ratio: f64, difference: f64, metric: Metric) -> bool {
    let bound = 1.0 + metric.threshold();
    // A step is a sum of tenths, which may be a tiny bit less than it should.
    (ratio > bound || ratio < 1.0 / bound) && difference.abs() >= metric.step() - 1e-9
}

fn different(ratio: f64, low: f64, high: f64, metric: Metric) -> Verdict {
    let is_better = metric.lower_is_better().is_some_and(|lower_is_better| lower_is_better == (ratio < 1.0));
    Verdict::Different { is_better, ratio, low, high }
}

/// Returns the probability of logarithms at least this far from 0 if there were no difference (two-sided).
fn chance(ratios: &[f64]) -> f64 {
    let n = ratios.len() as f64;
    let logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    let mean = logs.iter().sum::<f64>() / n;
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (n - 1.0);
    if variance == 0.0 {
        return if mean == 0.0 { 1.0 } else { 0.0 };
    }
    student(mean / (variance / n).sqrt(), ratios.len() - 1)
}

/// Returns, for Student's t, the probability of a value at least this far from 0: the finite series for whole degrees
/// of freedom by Abramowitz and Stegun, 26.7.3 and 26.7.4.
fn student(t: f64, freedom: usize) -> f64 {
    let angle = (t.abs() / (freedom as f64).sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    let is_odd = !freedom.is_multiple_of(2);
    let mut term = if is_odd { cos } else { 1.0 };
    let mut sum = 0.0;
    let mut k = if is_odd { 2 } else { 1 };
    while k < freedom {
        sum += term;
        term *= cos * cos * k as f64 / (k + 1) as f64;
        k += 2;
    }
    let within = if is_odd { (angle + sin * sum) * std::f64::consts::FRAC_2_PI } else { sin * sum };
    (1.0 - within).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::planted::{drifted, normal};

    /// Repetitions of two ways; the first is really `effect` times the second.
    struct Plant {
        repeat: usize,
        effect: f64,
        noise: f64,
        drift: f64,
    }

    impl Plant {
        /// Returns how many of 1,000 pairs are said to differ.
        fn claims(&self, noise: impl Fn(&mut fastrand::Rng) -> f64) -> usize {
            let mut rng = fastrand::Rng::with_seed(7);
            let mut measure = |effect: f64| -> Vec<f64> {
                let at = |number| drifted(self.drift, number, self.repeat);
                (0..self.repeat).map(|number| effect * at(number) * (1.0 + self.noise * noise(&mut rng))).collect()
            };
            let verdicts = (0..1000).map(|_| verdict(&measure(self.effect), &measure(1.0), Metric::Rps));
            verdicts.filter(|verdict| matches!(verdict, Verdict::Different { .. })).count()
        }
    }

    const EQUAL: Plant = Plant { repeat: 5, effect: 1.0, noise: 0.05, drift: 0.0 };
    const REAL: Plant = Plant { repeat: 5, effect: 1.15, noise: 0.03, drift: 0.0 };

    #[test]
    fn noise_is_no_difference() {
        for repeat in [5, 6, 7, 10] {
            for drift in [0.0, 0.3] {
                let claims = Plant { repeat, drift, ..EQUAL }.claims(normal);
                assert!(claims <= 20, "{claims} of 1000 with {repeat} repetitions, drift {drift}");
            }
        }
    }

    #[test]
    fn noise_of_another_shape_is_no_difference_either() {
        let uniform = EQUAL.claims(|rng| rng.f64() * 2.0 - 1.0);
        let two_modes = EQUAL.claims(|rng| if rng.bool() { 10.0 } else { 0.0 } + normal(rng));
        let outliers = EQUAL.claims(|rng| if rng.u8(..10) == 0 { 20.0 } else { 0.0 } + normal(rng));
        for claims in [uniform, two_modes, outliers] {
            assert!(claims <= 20, "{claims} of 1000");
        }
    }

    #[test]
    fn real_difference_is_found_amid_a_common_drift() {
        for drift in [0.0, 0.3, -0.3] {
            for effect in [1.15, 1.0 / 1.15] {
                let claims = Plant { drift, effect, ..REAL }.claims(normal);
                assert!(claims >= 950, "{claims} of 1000 with drift {drift}, effect {effect}");
            }
        }
    }

    #[test]
    fn difference_that_does_not_matter_is_not_claimed() {
        let claims = Plant { effect: 1.02, noise: 0.001, ..REAL }.claims(normal);
        assert_eq!(claims, 0);
        let claims = Plant { effect: 1.05, noise: 0.001, ..REAL }.claims(normal);
        assert_eq!(claims, 1000, "this one does");
    }

    #[test]
    fn one_outlier_makes_no_difference() {
        let values = [100.0, 101.0, 250.0, 99.0, 100.5];
        let reference = [100.5, 100.0, 101.0, 99.5, 100.0];
        assert_eq!(verdict(&values, &reference, Metric::P99), Verdict::NoDifference);
        let reference = [95.0, 95.5, 95.0, 94.0, 95.0];
        assert_eq!(verdict(&values, &reference, Metric::Rps), Verdict::NoDifference, "all pairs agree, one by far");
    }

    #[test]
    fn four_repetitions_are_too_few_for_any_difference() {
        assert_eq!(verdict(&[1.0; 4], &[9.0; 4], Metric::Rps), Verdict::TooFew);
        assert_eq!(verdict(&[0.0; 4], &[9.0; 4], Metric::Errors), Verdict::TooFew);
        assert_eq!(verdict(&[1.0; 5], &[9.0; 4], Metric::Rps), Verdict::TooFew, "the fifth has no partner");
        assert_eq!(verdict(&[], &[], Metric::Rps), Verdict::TooFew);
    }

    #[test]
    fn equal_values_are_no_difference() {
        for metric in Metric::ALL {
            assert_eq!(verdict(&[3.0; 5], &[3.0; 5], metric), Verdict::NoDifference);
            assert_eq!(verdict(&[0.0; 5], &[0.0; 5], metric), Verdict::NoDifference);
        }
    }

    #[test]
    fn better_is_what_the_metric_says() {
        let is_better = |metric| verdict(&[2.0; 5], &[1.0; 5], metric).is_better();
        assert!(is_better(Metric::Rps) && !is_better(Metric::P99) && !is_better(Metric::Fairness));
    }

    #[test]
    fn errors_against_none_are_an_infinite_ratio() {
        let (some, none) = ([3.0, 4.0, 2.0, 9.0, 3.0], [0.0; 5]);
        let infinite = f64::INFINITY;
        assert_eq!(
            verdict(&some, &none, Metric::Errors),
            Verdict::Different { is_better: false, ratio: infinite, low: infinite, high: infinite }
        );
        assert_eq!(
            verdict(&none, &some, Metric::Errors),
            Verdict::Different { is_better: true, ratio: 0.0, low: 0.0, high: 0.0 }
        );
        assert_eq!(verdict(&[0.0, 0.0, 3.0, 0.0, 0.0], &none, Metric::Errors), Verdict::NoDifference);
    }

    #[test]
    fn less_than_a_step_of_the_timeline_is_no_difference() {
        let nothing = [0.0; 5];
        assert_eq!(verdict(&[0.05; 5], &nothing, Metric::Recovery), Verdict::NoDifference);
        assert!(matches!(verdict(&[0.1; 5], &nothing, Metric::Recovery), Verdict::Different { is_better: false, .. }));
    }

    #[test]
    fn students_t_agrees_with_the_tables() {
        // Two-sided 1 % points, as in every table.
        for (freedom, t) in [(1, 63.657), (2, 9.925), (3, 5.841), (4, 4.604), (5, 4.032), (9, 3.250), (30, 2.750)] {
            assert!((student(t, freedom) - 0.01).abs() < 2e-5, "{freedom}: {}", student(t, freedom));
            assert_eq!(student(t, freedom), student(-t, freedom));
        }
        assert!((student(0.0, 4) - 1.0).abs() < 1e-12);
    }
}
