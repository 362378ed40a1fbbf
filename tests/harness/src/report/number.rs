//! Writes numbers as text in the way of [`Metric::format`], also those that belong to no metric, so that tables,
//! charts, the terminal and its sentences show the same. Pure.

use crate::analysis::{Estimate, Metric, format_ratio};

/// The text where there is no value.
pub(crate) const NONE: &str = "-";

/// Returns the name of a metric in a table's head, if its title is too long.
pub(crate) fn title(metric: Metric) -> &'static str {
    match metric {
        Metric::Rps => "saturation",
        Metric::P50 => "p50",
        Metric::P90 => "p90",
        Metric::P99 => "p99",
        Metric::P999 => "p99.9",
        Metric::Errors => "errors",
        Metric::BalancerCpu => "balancer CPU/answer",
        Metric::Cpu => "CPU/answer",
        Metric::WorkersCpu => "workers CPU/answer",
        Metric::Fairness => "fairness",
        Metric::BalancerMemory => "balancer memory",
        Metric::LongestGap => "longest gap",
        Metric::Recovery => "recovery",
    }
}

/// Writes the median's 95 % interval, such as `1.02–1.31 ms`: the unit only once if both ends have the same.
pub(crate) fn interval(kind: Metric, estimate: &Estimate) -> String {
    range(&kind.format(estimate.low), &kind.format(estimate.high))
}

/// Writes the least and the greatest value of the repetitions.
pub(crate) fn spread(kind: Metric, estimate: &Estimate) -> String {
    range(&kind.format(estimate.least), &kind.format(estimate.most))
}

fn range(low: &str, high: &str) -> String {
    let unit = |text: &str| text.find([' ', '/']).unwrap_or(text.len());
    let (number, its) = low.split_at(unit(low));
    let low = if high.split_at(unit(high)).1 == its { number } else { low };
    format!("{low}\u{2013}{high}")
}

/// Writes three digits: `870 us`, `1.23 ms`, `12.3 s`.
pub(crate) fn seconds(value: f64) -> String {
    Metric::P99.format(value)
}

/// Writes a size in powers of 1024: `512 B`, `11.8 MiB`.
pub(crate) fn bytes(value: f64) -> String {
    Metric::BalancerMemory.format(value)
}

/// Writes a rate: `12,340/s`.
pub(crate) fn rate(value: f64) -> String {
    Metric::Rps.format(value)
}

/// Writes a number without a unit: `0.998`, `12,340`.
pub(crate) fn digits(value: f64) -> String {
    Metric::Errors.format(value)
}

/// Writes a part of the whole: `24.9 %`.
pub(crate) fn percent(part: f64) -> String {
    if part.is_finite() { format!("{} %", digits(part * 100.0)) } else { NONE.to_owned() }
}

/// Writes a factor: `1.07×`.
pub(crate) fn ratio(value: f64) -> String {
    if value.is_finite() { format!("{}×", format_ratio(value)) } else { NONE.to_owned() }
}

/// Writes a percentile's name: `p50`, `p99.99`.
pub(crate) fn percentile(percent: f64) -> String {
    format!("p{percent}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_unit() {
        assert_eq!([0.000_87, 0.9996].map(seconds), ["870 us", "1 s"]);
        assert_eq!([bytes(12_373_197.0), rate(1_234.0), digits(12_345.0)], ["11.8 MiB", "1,234/s", "12,345"]);
        assert_eq!([percent(0.25), percent(0.249_01), ratio(1.3)], ["25 %", "24.9 %", "1.30×"]);
    }

    #[test]
    fn missing_number_is_a_dash() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for show in [seconds, rate, digits, percent, ratio, bytes] {
                assert_eq!(show(bad), NONE);
            }
        }
    }

    #[test]
    fn interval_names_its_unit_once() {
        let estimate = |low, high| Estimate { values: vec![], median: low, least: low, most: high, low, high };
        assert_eq!(interval(Metric::P99, &estimate(0.001, 0.0012)), "1\u{2013}1.2 ms");
        assert_eq!(interval(Metric::P99, &estimate(0.0009, 0.0012)), "900 us\u{2013}1.2 ms");
        assert_eq!(interval(Metric::Rps, &estimate(1200.0, 3000.0)), "1,200\u{2013}3,000/s");
        assert_eq!(interval(Metric::Errors, &estimate(0.0, 3.0)), "0\u{2013}3");
    }
}
