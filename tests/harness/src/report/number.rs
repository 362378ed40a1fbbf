//! Numbers as text, each kind in one place, so that tables, charts and the terminal say the same. Pure.

use crate::judge::{Estimate, Metric};

/// What stands where there is no value.
pub(crate) const NONE: &str = "-";

/// A metric's value with its unit.
pub(crate) fn metric(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Rps => rate(value),
        Metric::Errors | Metric::Fairness => digits(value),
        Metric::BalancerMemory => bytes(value),
        Metric::P50
        | Metric::P90
        | Metric::P99
        | Metric::P999
        | Metric::BalancerCpu
        | Metric::WorkersCpu
        | Metric::LongestGap
        | Metric::Recovery => seconds(value),
    }
}

/// What a metric is called in a sentence or a table's head.
pub(crate) fn title(metric: Metric) -> &'static str {
    match metric {
        Metric::Rps => "saturation",
        Metric::P50 => "p50",
        Metric::P90 => "p90",
        Metric::P99 => "p99",
        Metric::P999 => "p99.9",
        Metric::Errors => "errors",
        Metric::BalancerCpu => "balancer CPU/answer",
        Metric::WorkersCpu => "workers CPU/answer",
        Metric::Fairness => "fairness",
        Metric::BalancerMemory => "balancer memory",
        Metric::LongestGap => "longest gap",
        Metric::Recovery => "recovery",
    }
}

/// The median's 95 % interval, such as `1.02–1.31 ms`: the unit once where both ends have the same.
pub(crate) fn interval(kind: Metric, estimate: &Estimate) -> String {
    range(&metric(kind, estimate.low), &metric(kind, estimate.high))
}

/// The least and the greatest of the repetitions.
pub(crate) fn spread(kind: Metric, estimate: &Estimate) -> String {
    range(&metric(kind, estimate.least), &metric(kind, estimate.most))
}

fn range(low: &str, high: &str) -> String {
    let unit = |text: &str| text.find([' ', '/']).unwrap_or(text.len());
    let (number, its) = low.split_at(unit(low));
    let low = if high.split_at(unit(high)).1 == its { number } else { low };
    format!("{low}\u{2013}{high}")
}

/// Three digits: `870 us`, `1.23 ms`, `12.3 s`.
pub(crate) fn seconds(value: f64) -> String {
    in_units(value, &[(1.0, "s"), (1e-3, "ms"), (1e-6, "us")])
}

/// Powers of 1024: `512 B`, `11.8 MiB`.
pub(crate) fn bytes(value: f64) -> String {
    in_units(value, &[(1_073_741_824.0, "GiB"), (1_048_576.0, "MiB"), (1024.0, "KiB"), (1.0, "B")])
}

/// Something a second: `12,340/s`.
pub(crate) fn rate(value: f64) -> String {
    if value.is_finite() { format!("{}/s", digits(value)) } else { NONE.to_owned() }
}

/// A part of the whole: `24.9 %`.
pub(crate) fn percent(part: f64) -> String {
    if part.is_finite() { format!("{} %", digits(part * 100.0)) } else { NONE.to_owned() }
}

/// How many times: `1.07×`.
pub(crate) fn ratio(value: f64) -> String {
    if value.is_finite() { format!("{}×", digits(value)) } else { NONE.to_owned() }
}

/// A percentile's name: `p50`, `p99.99`.
pub(crate) fn percentile(percent: f64) -> String {
    format!("p{percent}")
}

/// In the first unit of which it is at least one, else in the last.
fn in_units(value: f64, units: &[(f64, &str)]) -> String {
    // Rounded first: 999.96 us is 1 ms.
    let fits = |unit: &&(f64, &str)| value == 0.0 || rounded(value.abs() / unit.0) >= 1.0;
    match units.iter().find(fits).or(units.last()) {
        Some((size, unit)) if value.is_finite() => format!("{} {unit}", digits(value / size)),
        _ => NONE.to_owned(),
    }
}

/// Three significant digits, all of the whole part, no zeros at the end, a comma between thousands: `0.998`, `12,340`.
pub(crate) fn digits(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let value = rounded(value);
    let text = format!("{:.*}", decimals(value), value.abs());
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let mut written = String::from(if value < 0.0 { "-" } else { "" });
    for (i, digit) in whole.char_indices() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    let part = part.trim_end_matches('0');
    if part.is_empty() { written } else { format!("{written}.{part}") }
}

fn rounded(value: f64) -> f64 {
    let scale = 10_f64.powf(decimals(value) as f64);
    (value * scale).round() / scale
}

/// Digits behind the point that make three significant ones.
fn decimals(value: f64) -> usize {
    if value == 0.0 || !value.is_finite() { 0 } else { (2.0 - value.abs().log10().floor()).clamp(0.0, 9.0) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_kept_over_all_units() {
        let shown = [0.0, 0.000_004_2, 0.000_87, 0.000_999_7, 0.001_234, 0.012_34, 0.1234, 0.9996, 12.34].map(seconds);
        assert_eq!(shown, ["0 s", "4.2 us", "870 us", "1 ms", "1.23 ms", "12.3 ms", "123 ms", "1 s", "12.3 s"]);
        assert_eq!([0.5, 42.55, 999.7, 1_234_567.2].map(rate), ["0.5/s", "42.6/s", "1,000/s", "1,234,567/s"]);
        assert_eq!([0.0, 2.5, 12_345.0, -0.99831].map(digits), ["0", "2.5", "12,345", "-0.998"]);
        assert_eq!([512.0, 12_373_197.0].map(bytes), ["512 B", "11.8 MiB"]);
        assert_eq!([0.25, 0.249_01].map(percent), ["25 %", "24.9 %"]);
    }

    #[test]
    fn what_is_no_number_is_a_dash() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for show in [seconds, rate, digits, percent, ratio, bytes] {
                assert_eq!(show(bad), NONE);
            }
        }
    }

    #[test]
    fn an_interval_names_its_unit_once() {
        let estimate = |low, high| Estimate { values: vec![], median: low, least: low, most: high, low, high };
        assert_eq!(interval(Metric::P99, &estimate(0.001, 0.0012)), "1\u{2013}1.2 ms");
        assert_eq!(interval(Metric::P99, &estimate(0.0009, 0.0012)), "900 us\u{2013}1.2 ms");
        assert_eq!(interval(Metric::Rps, &estimate(1200.0, 3000.0)), "1,200\u{2013}3,000/s");
        assert_eq!(interval(Metric::Errors, &estimate(0.0, 3.0)), "0\u{2013}3");
    }
}
