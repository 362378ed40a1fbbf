//! Puts numbers and names into sentences. Pure.

use crate::analysis::{Metric, Verdict, format_ratio};

/// Returns a metric's name within a sentence.
pub(super) fn name(metric: Metric) -> &'static str {
    match metric {
        Metric::BalancerCpu => "balancer CPU per answer",
        Metric::Cpu => "CPU per answer",
        Metric::WorkersCpu => "worker CPU per answer",
        Metric::BalancerMemory => "balancer memory",
        Metric::LongestGap => "longest gap",
        Metric::Rps
        | Metric::P50
        | Metric::P90
        | Metric::P99
        | Metric::P999
        | Metric::Errors
        | Metric::Fairness
        | Metric::Recovery => metric.name(),
    }
}

/// Returns the word for the best end of a metric; never called for a metric without one.
pub(super) fn best(metric: Metric) -> &'static str {
    if metric.lower_is_better() == Some(true) { "lowest" } else { "highest" }
}

/// Returns the words for less and for more of it.
pub(super) fn less_or_more(metric: Metric) -> (&'static str, &'static str) {
    match metric {
        Metric::LongestGap | Metric::Recovery => ("shorter", "longer"),
        _ => ("lower", "higher"),
    }
}

/// Writes `a, b and c`.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
        None => String::new(),
    }
}

/// Writes the ratio and interval of a difference, if it has a ratio that can be shown.
pub(super) fn ratio(verdict: Verdict) -> Option<(String, String)> {
    match verdict {
        Verdict::Different { ratio, low, high, .. } if low > 0.0 && high.is_finite() => {
            Some((format_ratio(ratio), format!("95 % {} to {}", format_ratio(low), format_ratio(high))))
        }
        Verdict::Different { .. } | Verdict::Reference | Verdict::TooFew | Verdict::NoDifference => None,
    }
}

/// Returns the text with exactly one full stop at its end.
pub(super) fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end().trim_end_matches('.'))
}

/// Writes `1 repetition`, `3 repetitions`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
