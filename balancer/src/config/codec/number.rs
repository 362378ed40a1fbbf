//! Times and counts.

use std::time::Duration;

use super::super::value::{Raw, Value};
use super::super::{MOST_WORKERS, Threads, WorkerCount};
use super::{Codec, Wrong, because, quoted};

/// The longest time that may be written. Deadlines beyond any use would overflow the clock.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

fn read_duration(value: &Value, zero: &[&str]) -> Result<Duration, Wrong> {
    let has_zero = !zero.is_empty();
    if let (Raw::Integer(0), true) = (&value.raw, has_zero) {
        return Ok(Duration::ZERO);
    }
    if let Raw::Integer(n @ 1..) = value.raw {
        return because("a duration needs a unit", format!("write \"{n}s\" or \"{n}ms\""));
    }
    let text = value.text().ok_or(Wrong::Expected)?.trim();
    if zero.contains(&text) {
        return Ok(Duration::ZERO);
    }
    match humantime::parse_duration(text) {
        Ok(duration) if duration > LONGEST => because(format!("`{text}` is too long"), "at most 366 days"),
        Ok(duration) if duration.is_zero() && !has_zero => Err(Wrong::Expected),
        Ok(duration) => Ok(duration),
        Err(_) => Err(Wrong::Expected),
    }
}

fn show_duration(duration: &Duration) -> Option<String> {
    Some(quoted(&humantime::format_duration(*duration).to_string()))
}

/// A time that cannot be 0.
pub(in crate::config) const DURATION: Codec<Duration> = Codec {
    expects: "a duration above 0, such as \"250ms\" or \"1m 30s\"",
    read: |value| read_duration(value, &[]),
    show: show_duration,
};

/// A time that may be 0, which then means "at once".
pub(in crate::config) const DURATION_OR_ZERO: Codec<Duration> = Codec {
    expects: "a duration, such as \"250ms\", \"1m 30s\" or \"0s\"",
    read: |value| read_duration(value, &["0"]),
    show: show_duration,
};

/// A time in which 0 means "never".
pub(in crate::config) const DURATION_OR_OFF: Codec<Duration> = Codec {
    expects: "a duration, such as \"250ms\" or \"1m 30s\", or \"off\"",
    read: |value| read_duration(value, &["0", "off"]),
    show: |duration| if duration.is_zero() { Some(quoted("off")) } else { show_duration(duration) },
};

/// A count of loopback addresses: 127.0.0.1 to 127.0.0.254.
pub(in crate::config) const SOURCE_ADDRESSES: Codec<u8> = Codec {
    expects: "a count from 1 to 254",
    read: |value| value.count(1..=254).ok_or(Wrong::Expected),
    show: |n| Some(n.to_string()),
};

/// A count of times: 1 to 1000.
pub(in crate::config) const TIMES: Codec<u32> = Codec {
    expects: "a count from 1 to 1000",
    read: |value| value.count(1..=1000).ok_or(Wrong::Expected),
    show: |n| Some(n.to_string()),
};

/// A count in which 0 is allowed.
pub(in crate::config) const COUNT_OR_ZERO: Codec<u32> = Codec {
    expects: "a count from 0 to 1000000",
    read: |value| value.count(0..=1_000_000).ok_or(Wrong::Expected),
    show: |n| Some(n.to_string()),
};

/// A count of rotated log files.
pub(in crate::config) const KEPT_FILES: Codec<u32> = Codec {
    expects: "a count from 0 to 100",
    read: |value| value.count(0..=100).ok_or(Wrong::Expected),
    show: |n| Some(n.to_string()),
};

/// A listen backlog.
pub(in crate::config) const BACKLOG: Codec<u32> = Codec {
    expects: "a count from 1 to 65535",
    read: |value| value.count(1..=65_535).ok_or(Wrong::Expected),
    show: |n| Some(n.to_string()),
};

/// A rate: workers started per second.
pub(in crate::config) const RATE: Codec<u32> = Codec {
    expects: "a count from 1 to 10000",
    read: |value| value.count(1..=10_000).ok_or(Wrong::Expected),
    show: |n| Some(n.to_string()),
};

fn read_limit(value: &Value, none: &str) -> Result<Option<usize>, Wrong> {
    match value.text() {
        Some(text) if text == none => Ok(None),
        _ => value.count(1..=10_000_000).map(Some).ok_or(Wrong::Expected),
    }
}

/// The master's limit on connections.
pub(in crate::config) const LIMIT_OR_AUTO: Codec<Option<usize>> = Codec {
    expects: "\"auto\" or a count from 1 to 10000000",
    read: |value| read_limit(value, "auto"),
    show: |limit| Some(limit.map_or_else(|| quoted("auto"), |n| n.to_string())),
};

/// A pool's limit on connections.
pub(in crate::config) const LIMIT_OR_OFF: Codec<Option<usize>> = Codec {
    expects: "\"off\" or a count from 1 to 10000000",
    read: |value| read_limit(value, "off"),
    show: |limit| Some(limit.map_or_else(|| quoted("off"), |n| n.to_string())),
};

/// The number of workers.
pub(in crate::config) const WORKERS: Codec<WorkerCount> = Codec {
    expects: "\"auto\", \"max\", a count from 1 to 1024, or a negative number of CPUs to leave free",
    read: |value| match (value.text(), &value.raw) {
        (Some("auto"), _) => Ok(WorkerCount::Auto),
        (Some("max"), _) => Ok(WorkerCount::Max),
        (_, &Raw::Integer(n)) if (-i128::from(MOST_WORKERS)..0).contains(&n) => {
            u32::try_from(-n).map(WorkerCount::AllBut).map_err(|_| Wrong::Expected)
        }
        _ => value.count(1..=MOST_WORKERS.into()).map(WorkerCount::Count).ok_or(Wrong::Expected),
    },
    show: |workers| {
        Some(match workers {
            WorkerCount::Auto => quoted("auto"),
            WorkerCount::Max => quoted("max"),
            WorkerCount::Count(n) => n.to_string(),
            WorkerCount::AllBut(n) => format!("-{n}"),
        })
    },
};

/// The weights of workers, by slot.
pub(in crate::config) const WEIGHTS: Codec<Vec<u32>> = Codec {
    expects: "a list of weights by slot, such as [2, 1]",
    read: |value| {
        let Raw::List(items) = &value.raw else { return Err(Wrong::Expected) };
        let message = || "a weight is a count from 1 to 1000".to_owned();
        let wrong = |item: &Value| Wrong::Because { message: message(), label: None, at: Some(item.at.clone()) };
        items.iter().map(|item| item.count(1..=1000).ok_or_else(|| wrong(item))).collect()
    },
    show: |weights| {
        let each: Vec<String> = weights.iter().map(u32::to_string).collect();
        Some(format!("[{}]", each.join(", ")))
    },
};

/// The number of data threads.
pub(in crate::config) const THREADS: Codec<Threads> = Codec {
    expects: "\"auto\" or a count from 1 to 256",
    read: |value| match value.text() {
        Some("auto") => Ok(Threads::Auto),
        _ => value.count(1..=256).map(Threads::Count).ok_or(Wrong::Expected),
    },
    show: |threads| {
        Some(match threads {
            Threads::Auto => quoted("auto"),
            Threads::Count(n) => n.to_string(),
        })
    },
};
