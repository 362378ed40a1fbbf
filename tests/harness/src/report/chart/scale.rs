//! Maps values to positions on an axis, with ticks at 1, 2 or 5 times a power of ten. Pure.

/// The most grid lines that a reader can follow.
const MOST_TICKS: usize = 5;
/// The ratio of values above which the axis is logarithmic.
const LOG_FROM: f64 = 20.0;

/// One axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    is_log: bool,
    /// The values of the grid lines, in rising order; at most six, including the one on the axis itself.
    pub(crate) ticks: Vec<f64>,
}

impl Scale {
    /// Returns an axis from 0 to a round value at or above the greatest, drawn from `from` to `to`.
    pub(crate) fn linear(greatest: f64, from: f64, to: f64) -> Self {
        let greatest = if greatest.is_finite() && greatest > 0.0 { greatest } else { 1.0 };
        let step = step(greatest / MOST_TICKS as f64);
        let count = (greatest / step - 1e-9).ceil().max(1.0);
        let ticks = (0..=count as usize).map(|i| i as f64 * step).collect();
        Self { low: 0.0, high: count * step, from, to, is_log: false, ticks }
    }

    /// Returns an axis from 0 to 1 with a line at each of `parts`, if they are few; such as the even shares of workers.
    pub(crate) fn parts(parts: usize, from: f64, to: f64) -> Self {
        let plain = Self::linear(1.0, from, to);
        if !(2..=MOST_TICKS).contains(&parts) {
            return plain;
        }
        Self { ticks: (0..=parts).map(|i| i as f64 / parts as f64).collect(), ..plain }
    }

    /// Returns a linear axis from 0, or a logarithmic one if the values (those above 0) are far apart.
    pub(crate) fn spanning(values: &[f64], from: f64, to: f64) -> Self {
        let positive = || values.iter().copied().filter(|value| value.is_finite() && *value > 0.0);
        let least = positive().fold(f64::INFINITY, f64::min);
        let greatest = positive().fold(0.0, f64::max);
        if least.is_finite() && greatest > least * LOG_FROM {
            return Self::log(least, greatest, from, to);
        }
        Self::linear(greatest, from, to)
    }

    fn log(least: f64, greatest: f64, from: f64, to: f64) -> Self {
        let (low, high) = (floor(least), step(greatest));
        let decades = (low.log10().floor() as i32..=high.log10().ceil() as i32).map(|power| 10_f64.powi(power));
        let within = |ticks: Vec<f64>| -> Vec<f64> {
            ticks.into_iter().filter(|tick| *tick >= low * 0.999 && *tick <= high * 1.001).collect()
        };
        let fine = within(decades.clone().flat_map(|ten| [ten, ten * 2.0, ten * 5.0]).collect());
        let mut ticks = if fine.len() <= MOST_TICKS { fine } else { within(decades.collect()) };
        while ticks.len() > MOST_TICKS {
            ticks = ticks.into_iter().step_by(2).collect();
        }
        Self { low, high, from, to, is_log: true, ticks }
    }

    /// Returns the position of a value. A value outside of the axis, or one that is not a number, is put at its end.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let value = if value.is_nan() { self.low } else { value.clamp(self.low, self.high) };
        let part = if self.is_log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + part * (self.to - self.from)
    }

    /// Returns true if it is logarithmic.
    pub(crate) fn is_log(&self) -> bool {
        self.is_log
    }
}

/// Returns the smallest of 1, 2, 5 times a power of ten that is at least `value`.
fn step(value: f64) -> f64 {
    let ten = 10_f64.powf(value.log10().floor());
    let steps = [ten, ten * 2.0, ten * 5.0, ten * 10.0];
    steps.into_iter().find(|step| *step >= value * (1.0 - 1e-9)).unwrap_or(ten * 10.0)
}

/// Returns the greatest of them that is at most `value`.
fn floor(value: f64) -> f64 {
    let ten = 10_f64.powf(value.log10().floor());
    let steps = [ten * 5.0, ten * 2.0, ten];
    steps.into_iter().find(|step| *step <= value * (1.0 + 1e-9)).unwrap_or(ten)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= b.abs() * 1e-9)
    }

    #[test]
    fn ticks_are_round_and_few() {
        for (greatest, ticks) in [
            (12_340.0, vec![0.0, 5_000.0, 10_000.0, 15_000.0]),
            (0.004_2, vec![0.0, 0.001, 0.002, 0.003, 0.004, 0.005]),
            (1.0, vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ] {
            let scale = Scale::linear(greatest, 0.0, 100.0);
            assert!(close(&scale.ticks, &ticks), "{greatest}: {:?}", scale.ticks);
        }
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let [a, b] = [(); 2].map(|()| 10_f64.powf(random.f64() * 12.0 - 7.0));
            for scale in [Scale::linear(a, 0.0, 100.0), Scale::spanning(&[a, b], 0.0, 100.0)] {
                assert!((2..=6).contains(&scale.ticks.len()), "{a} {b}: {scale:?}");
                assert!(scale.ticks.windows(2).all(|two| two[0] < two[1]), "{scale:?}");
                for value in [a, b] {
                    assert!((0.0..=100.0).contains(&scale.at(value)), "{value} on {scale:?}");
                }
            }
        }
    }

    #[test]
    fn far_apart_values_get_a_logarithmic_axis() {
        let near = Scale::spanning(&[0.001, 0.02], 0.0, 100.0);
        let far = Scale::spanning(&[0.001, 0.1], 0.0, 100.0);
        assert!(!near.is_log() && far.is_log());
        assert!((far.at(0.01) - 50.0).abs() < 1e-6, "a tenth is half of two decades");
    }

    #[test]
    fn nonsense_has_a_place_all_the_same() {
        for bad in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            let scale = Scale::spanning(&[bad, bad], 0.0, 100.0);
            for value in [bad, 0.5] {
                assert!((0.0..=100.0).contains(&scale.at(value)), "{bad} {value}");
            }
        }
        assert_eq!(Scale::parts(4, 0.0, 1.0).ticks, [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(Scale::parts(1, 0.0, 1.0).ticks.len(), 6);
    }
}
