//! Writes figures and a worker's situation in words, the same on page and command line.

use super::state;
use crate::os::inspect::OpenFiles;
use crate::printable;

/// Writes a duration: `0.4s`, `41s`, `3m12s`, `1h02m`, `2d03h`.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
    let whole = seconds as u64;
    match whole {
        // Cut off after one digit, so that 9.96 does not become 10.0.
        0..=9 => format!("{:.1}s", (seconds * 10.0).floor() / 10.0),
        10..=59 => format!("{whole}s"),
        60..=3_599 => format!("{}m{:02}s", whole / 60, whole % 60),
        3_600..=86_399 => format!("{}h{:02}m", whole / 3_600, whole / 60 % 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole / 3_600 % 24),
    }
}

/// Writes a size: `512B`, `9.8K`, `118M`, `1.2G`; powers of 1024.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "K", "M", "G"] {
        if value < 1023.5 {
            let digits = usize::from(value < 9.95 && unit != "B");
            return format!("{value:.digits$}{unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1}T")
}

/// Says why clients of a pool wait although its workers are ready, safe to print; `None` if none wait.
pub(crate) fn limited(pool: &state::PoolEntry) -> Option<String> {
    let why = match pool.limited_by.as_deref()? {
        "exhausted" => "out of descriptors or memory",
        "open_files" => "the limit of open files is used up",
        "worker_open_files" => "a worker has as many descriptors open as it may",
        "master_max_connections" => "master.max-connections is reached",
        "max_connections" => "max-connections is reached",
        other => return Some(format!("clients wait: {}", escape(other))),
    };
    Some(format!("clients wait: {why}"))
}

fn open_files(worker: &state::WorkerEntry) -> Option<OpenFiles> {
    Some(OpenFiles { open: worker.open_files?, limit: worker.max_open_files? })
}

/// Returns true if a worker has as many descriptors open as its limit allows.
pub(crate) fn is_out_of_files(worker: &state::WorkerEntry) -> bool {
    open_files(worker).is_some_and(OpenFiles::are_used_up)
}

/// Writes the connections of a pool: how many are open, were accepted and rejected.
pub(crate) fn connections(pool: &state::PoolEntry) -> String {
    match (pool.active, pool.accepted, pool.rejected) {
        (active, Some(accepted), Some(rejected)) => {
            let open = active.map_or("open ones not observed".to_owned(), |active| format!("{active} open"));
            format!("{open}, {accepted} accepted, {rejected} rejected")
        }
        _ => "connections not observed: the workers accept by themselves".to_owned(),
    }
}

/// Writes, on one line and safe to print, the facts about a worker that its figures do not show; empty if all is well.
pub(crate) fn note(worker: &state::WorkerEntry) -> String {
    let mut parts = Vec::new();
    if let Some(backoff) = worker.backoff_seconds.filter(|_| matches!(worker.state.as_str(), "backoff" | "failed")) {
        parts.push(format!("next start in {}", duration(backoff - worker.state_seconds)));
    }
    if let Some(reason) = &worker.reason {
        parts.push(escape(reason));
    }
    parts.extend(failed_check(worker.last_check.as_ref()).filter(|check| worker.reason.as_ref() != Some(check)));
    if let Some(OpenFiles { open, limit }) = open_files(worker).filter(|files| files.are_used_up()) {
        parts.push(format!("out of descriptors: {open} of {limit} open"));
    }
    if let Some(exit) = &worker.last_exit {
        let what = exit.why.as_ref().unwrap_or(&exit.what);
        parts.push(format!("last exit: {}, {} ago", escape(what), duration(exit.ago_seconds)));
    }
    if let Some(said) = worker.status_text.as_ref().filter(|said| !said.is_empty()) {
        parts.push(format!("says: {}", escape(said)));
    }
    parts.join("; ")
}

/// Writes the result of a failed check, safe to print.
pub(crate) fn failed_check(check: Option<&state::Check>) -> Option<String> {
    check.filter(|check| !check.is_ok).map(|check| format!("check: {}", escape(&check.what)))
}

/// Returns at most 200 characters of a foreign text, safe to print.
pub(crate) fn escape(text: &str) -> String {
    printable::excerpt(text, 200)
}

/// Returns at most 2,000 characters of a line of our own that quotes foreign text, safe to print.
pub(crate) fn escape_long(text: &str) -> String {
    printable::excerpt(text, 2000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        let written = [0.0, 0.44, 9.96, 59.9, 60.0, 192.0, 3_720.0, 183_600.0, f64::NAN, -3.0].map(duration);
        assert_eq!(written, ["0.0s", "0.4s", "9.9s", "59s", "1m00s", "3m12s", "1h02m", "2d03h", "0.0s", "0.0s"]);
    }

    #[test]
    fn sizes_have_two_or_three_digits() {
        let sizes = [0, 512, 1023, 1024, 10_000, 61_865_984, 123_731_968, 1_288_490_188, 2_u64.pow(45)];
        assert_eq!(sizes.map(bytes), ["0B", "512B", "1023B", "1.0K", "9.8K", "59M", "118M", "1.2G", "32.0T"]);
    }

    #[test]
    fn worker_text_is_escaped_for_the_operators_terminal() {
        assert_eq!(escape("ok — ü\u{1b}[2J\r\n\u{202e}x\u{9b}"), "ok — ü\\u{1b}[2J\\r\\n\\u{202e}x\\u{9b}");
        assert_eq!(escape(&"x".repeat(1000)).chars().count(), 201);
    }
}
