//! Tables for people.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::analysis::Allowance;
use crate::failure::Class;
use crate::latency::Latency;
use crate::record::Record;

/// The number of failures that the table shows. The JSON has more.
const SHOWN: usize = 10;

/// Returns one line about a running load.
pub fn progress(record: &Record) -> String {
    let latency = record.latency();
    format!(
        "{:4.0} s  {} good, {} failed, {} open, {} not started, p99 {}",
        record.elapsed().as_secs_f64(),
        record.good(),
        record.failed_total(),
        record.open(),
        record.not_started(),
        millis(latency.percentile(99.0)),
    )
}

/// Returns the results of the whole load. The text has several lines, each with an end of line.
pub fn table(record: &Record, allowance: &Allowance) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_table(&mut text, record, allowance);
    text
}

fn write_table(text: &mut String, record: &Record, allowance: &Allowance) -> std::fmt::Result {
    let heads = ["kind", "started", "good", "failed", "mean", "p50", "p99", "p99.9", "max"];
    row(text, heads.map(str::to_owned))?;
    for (kind, found) in record.kinds() {
        let counts = [found.started(), found.good(), found.failed_total()];
        latency_row(text, kind.name(), counts, found.latency())?;
    }
    let counts = [record.started(), record.good(), record.failed_total()];
    latency_row(text, "all", counts, &record.latency())?;
    let rate = record.good() as f64 / record.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
    writeln!(text, "\n{rate:.0} good a second over {:.1} s", record.elapsed().as_secs_f64())?;
    let lag = record.lag();
    writeln!(text, "started late by p99 {}, max {}", millis(lag.percentile(99.0)), millis(lag.max()))?;
    let kept = record.kept();
    if kept.opened > 0 {
        writeln!(
            text,
            "kept connections: {} opened, {} answers said close, {} closed and {} reset while idle",
            kept.opened, kept.said_close, kept.idle_closed, kept.idle_reset
        )?;
    }
    let messages: u64 = record.kinds().values().map(|kind| kind.messages()).sum();
    if messages > 0 {
        writeln!(text, "messages of sessions: {messages} came back")?;
    }
    counts_line(text, "answered by", record.workers())?;
    for class in Class::ALL {
        let (count, allowed) = (record.failed(class), allowance.of(class));
        if count > 0 || allowed > 0 {
            writeln!(text, "failed: {count} {class}, {allowed} allowed")?;
        }
    }
    counts_line(text, "of these", record.details())?;
    counts_line(text, "not started", record.not_started_by_reason())?;
    for failure in record.failures().iter().take(SHOWN) {
        writeln!(text, "  {failure}")?;
    }
    if record.failed_total() > SHOWN as u64 {
        writeln!(text, "  and {} more", record.failed_total() - SHOWN as u64)?;
    }
    writeln!(text, "{}", record.verdict(allowance))
}

fn counts_line<K: AsRef<str>>(text: &mut String, title: &str, counts: &BTreeMap<K, u64>) -> std::fmt::Result {
    if counts.is_empty() {
        return Ok(());
    }
    let all: Vec<_> = counts.iter().map(|(name, count)| format!("{} {count}", name.as_ref())).collect();
    writeln!(text, "{title}: {}", all.join(", "))
}

fn latency_row(text: &mut String, name: &str, counts: [u64; 3], latency: &Latency) -> std::fmt::Result {
    let [started, good, failed] = counts.map(|count| count.to_string());
    let [p50, p99, p999] = [50.0, 99.0, 99.9].map(|percent| millis(latency.percentile(percent)));
    row(text, [name.to_owned(), started, good, failed, millis(latency.mean()), p50, p99, p999, millis(latency.max())])
}

fn row(text: &mut String, cells: [String; 9]) -> std::fmt::Result {
    let [name, rest @ ..] = cells;
    write!(text, "{name:<12}")?;
    rest.iter().try_for_each(|cell| write!(text, " {cell:>11}"))?;
    writeln!(text)
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{failed, good, not_started};

    #[test]
    fn table_shows_counts_failures_and_verdict() {
        let mut record = good(12);
        failed(&mut record, Class::BadStatus, 11);
        not_started(&mut record, 2);
        let text = table(&record, &Allowance::none().allow(Class::Refused, 1));
        for line in [
            "failed: 11 bad_status, 0 allowed",
            "failed: 0 refused, 1 allowed",
            "of these: status 503 11",
            "not started: too many under way 2",
            "answered by: demo/0 12",
            "  and 1 more",
            "failed: 11 bad_status (0 allowed)",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
        }
        assert!(
            text.lines().any(|line| line.starts_with("one-shot              12          12           0")),
            "{text}"
        );
    }
}
