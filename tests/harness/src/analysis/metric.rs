//! The metrics that are compared: names, units, which direction is better, and how values are written. Pure.

/// A metric that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// The saturation: complete answers per second in the closed loop.
    Rps,
    /// The median latency in seconds, at the headline rate (the middle one).
    P50,
    /// The 90th percentile at that rate.
    P90,
    /// The 99th percentile at that rate.
    P99,
    /// The 99.9th percentile at that rate.
    P999,
    /// Failed requests at that rate.
    Errors,
    /// The processor time, in seconds, that balancer and workers used together for one answer at that rate: the cost of
    /// a way, wherever it does its work.
    Cpu,
    /// The balancer's part of that time.
    BalancerCpu,
    /// The workers' part of it.
    WorkersCpu,
    /// Jain's index over the workers' answers at that rate (or over their processor time where answers do not name the
    /// worker): 1 is even.
    Fairness,
    /// Resident bytes of the balancer.
    BalancerMemory,
    /// With an event: the longest time without a complete answer, in seconds, by when requests were due.
    LongestGap,
    /// With an event: the time from it to the end of the last step that is worse than before, in seconds.
    Recovery,
}

/// A row of the table below.
struct Row {
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    lower_is_better: Option<bool>,
    /// A ratio that is closer to 1 than this does not matter, whatever the statistics say.
    threshold: f64,
    /// Nor does a difference of the medians below this.
    step: f64,
}

impl Metric {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 13] = [
        Self::Rps,
        Self::P50,
        Self::P90,
        Self::P99,
        Self::P999,
        Self::Errors,
        Self::Cpu,
        Self::BalancerCpu,
        Self::WorkersCpu,
        Self::Fairness,
        Self::BalancerMemory,
        Self::LongestGap,
        Self::Recovery,
    ];

    /// The thresholds: on a quiet machine rates and processor time of the same program differ by 3 % from one start to
    /// the next. Percentiles rest on few requests (the 99.9th on one in a thousand) and move by 10 %. A timeline cannot
    /// resolve less than a step.
    const fn row(self) -> Row {
        const TICK: f64 = crate::record::Tick::SECONDS;
        let (name, title, unit, lower_is_better, threshold, step) = match self {
            Self::Rps => ("rps", "Throughput at saturation", "/s", Some(false), 0.03, 0.0),
            Self::P50 => ("p50", "Latency, median", "s", Some(true), 0.1, 0.0),
            Self::P90 => ("p90", "Latency, 90th percentile", "s", Some(true), 0.1, 0.0),
            Self::P99 => ("p99", "Latency, 99th percentile", "s", Some(true), 0.1, 0.0),
            Self::P999 => ("p999", "Latency, 99.9th percentile", "s", Some(true), 0.1, 0.0),
            Self::Errors => ("errors", "Failed requests", "requests", Some(true), 0.1, 1.0),
            Self::Cpu => ("cpu", "Processor time per answer", "s", Some(true), 0.03, 0.0),
            Self::BalancerCpu => ("balancer-cpu", "Balancer's processor time per answer", "s", Some(true), 0.03, 0.0),
            Self::WorkersCpu => ("workers-cpu", "Workers' processor time per answer", "s", Some(true), 0.03, 0.0),
            Self::Fairness => ("fairness", "Fairness (Jain's index)", "", None, 0.03, 0.0),
            Self::BalancerMemory => ("balancer-memory", "Balancer's memory", "bytes", Some(true), 0.03, 0.0),
            Self::LongestGap => ("gap", "Longest gap without an answer", "s", Some(true), 0.1, TICK),
            Self::Recovery => ("recovery", "Time to recover", "s", Some(true), 0.1, TICK),
        };
        Row { name, title, unit, lower_is_better, threshold, step }
    }

    /// Returns its word in assertions and CSV, such as `p99`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns the metric with that [`Metric::name`].
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Returns its title for tables and plots.
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// Returns the unit of its values: `/s`, `s`, `bytes`, `requests`, or an empty text if it has none.
    pub fn unit(self) -> &'static str {
        self.row().unit
    }

    /// Returns true if less is better; `None` if no direction is: an uneven share is right where workers are unlike.
    pub fn lower_is_better(self) -> Option<bool> {
        self.row().lower_is_better
    }

    pub(crate) fn threshold(self) -> f64 {
        self.row().threshold
    }

    pub(crate) fn step(self) -> f64 {
        self.row().step
    }

    /// Writes a value for people, with three significant digits and in the largest unit that fits: `12.3 ms`,
    /// `1,912/s`, `34 us`, `5.9 MiB`, `0.998`. Whole parts keep all their digits. Text and plots both write values in
    /// this way.
    pub fn format(self, value: f64) -> String {
        if !value.is_finite() {
            return "-".into();
        }
        match self.unit() {
            "/s" => format!("{}/s", digits(value)),
            "s" => in_units(value, &[(1.0, "s"), (1e-3, "ms"), (1e-6, "us")]),
            "bytes" => in_units(value, &[(1_073_741_824.0, "GiB"), (1_048_576.0, "MiB"), (1024.0, "KiB"), (1.0, "B")]),
            _ => digits(value),
        }
    }
}

/// Writes a ratio for people, such as `0.21`, `1.30`, `12.5`, `340` or `0.0042`; `inf` if it is infinite.
pub fn format_ratio(ratio: f64) -> String {
    match ratio {
        ratio if ratio >= 100.0 => format!("{ratio:.0}"),
        ratio if ratio >= 10.0 => format!("{ratio:.1}"),
        ratio if ratio >= 0.1 || ratio == 0.0 => format!("{ratio:.2}"),
        ratio if ratio >= 0.001 => format!("{ratio:.4}"),
        ratio => format!("{ratio:.1e}"),
    }
}

/// Writes a value in the first unit in which it is at least one, or else in the last.
fn in_units(value: f64, units: &[(f64, &str)]) -> String {
    let zero = value == 0.0;
    // Rounds first: 999.96 us is 1 ms.
    let fits = |scale: f64| round(value.abs() / scale) >= 1.0;
    let found = units.iter().find(|(scale, _)| zero || fits(*scale)).or(units.last());
    found.map_or_else(|| digits(value), |(scale, unit)| format!("{} {unit}", digits(value / scale)))
}

/// Rounds to three significant digits, and whole numbers to the next one.
fn round(value: f64) -> f64 {
    let scale = 10_f64.powi(decimals(value));
    (value * scale).round() / scale
}

/// Returns the number of digits after the point for three significant ones.
fn decimals(value: f64) -> i32 {
    if value == 0.0 { 0 } else { (2 - value.abs().log10().floor() as i32).clamp(0, 9) }
}

/// Writes a number without final zeros, with a comma between each three digits of the whole part.
fn digits(value: f64) -> String {
    let rounded = round(value);
    let text = format!("{rounded:.*}", usize::try_from(decimals(rounded)).unwrap_or(0));
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let mut grouped = String::from(sign);
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let part = part.trim_end_matches('0');
    if part.is_empty() { grouped } else { format!("{grouped}.{part}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_in_three_digits_and_the_unit_that_fits() {
        let written = [
            (Metric::P99, 0.0123, "12.3 ms"),
            (Metric::P50, 34e-6, "34 us"),
            (Metric::P50, 0.000_999_96, "1 ms"),
            (Metric::P50, 0.34e-6, "0.34 us"),
            (Metric::P999, 12.345, "12.3 s"),
            (Metric::LongestGap, 0.0, "0 s"),
            (Metric::LongestGap, 0.30000000000000004, "300 ms"),
            (Metric::Rps, 1912.4, "1,912/s"),
            (Metric::Rps, 1_234_567.0, "1,234,567/s"),
            (Metric::Rps, 99.96, "100/s"),
            (Metric::BalancerCpu, 14.26e-6, "14.3 us"),
            (Metric::BalancerMemory, 6_186_598.0, "5.9 MiB"),
            (Metric::BalancerMemory, 700.0, "700 B"),
            (Metric::Fairness, 0.99831, "0.998"),
            (Metric::Fairness, 1.0, "1"),
            (Metric::Errors, 2.5, "2.5"),
            (Metric::Errors, 12_000.0, "12,000"),
            (Metric::Errors, f64::INFINITY, "-"),
        ];
        for (metric, value, expected) in written {
            assert_eq!(metric.format(value), expected, "{metric:?} {value}");
        }
    }

    #[test]
    fn ratios_are_written_with_the_digits_that_matter() {
        let ratios = [0.2134, 1.3, 12.46, 339.7, 0.00421, 0.0, f64::INFINITY, 4e-7];
        let written = ["0.21", "1.30", "12.5", "340", "0.0042", "0.00", "inf", "4.0e-7"];
        assert_eq!(ratios.map(format_ratio), written);
    }

    #[test]
    fn each_metric_is_found_by_a_name_of_its_own() {
        for metric in Metric::ALL {
            assert_eq!(Metric::named(metric.name()), Some(metric));
        }
        assert_eq!(Metric::named("p98"), None);
    }
}
