//! Decides which failures are no defect of a target. Pure.

use std::time::Duration;

use roundelay_checker::Class;

use super::checked::{Checked, Failed};

/// The classes of failures by which a client learns that its connection ended together with the worker's process.
const SHOWN_ENDS: [Class; 3] = [Class::ResetBeforeFirstByte, Class::ResetMidway, Class::StaleKeepalive];

/// The same where the kernel may close a dead process's connections in order: then half of an answer may look whole.
const ANY_END: [Class; 5] = [
    Class::ResetBeforeFirstByte,
    Class::ClosedBeforeFirstByte,
    Class::ResetMidway,
    Class::StaleKeepalive,
    Class::Truncated,
];

/// The failures that are no defect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// Their greatest number; `None` if there is no limit beyond the other conditions.
    pub(crate) most: Option<u64>,
    /// Only failures of these classes.
    pub(crate) classes: Vec<Class>,
    /// Only failures that were under way at some moment of one of these times, counted from the start of the load.
    pub(crate) during: Vec<(Duration, Duration)>,
    /// The reason in words, without the number.
    pub(crate) because: String,
}

impl Allowed {
    /// Allows no failure.
    pub(crate) fn nothing() -> Self {
        Self { most: Some(0), classes: Vec::new(), during: Vec::new(), because: String::new() }
    }

    /// Allows the failures of operations that ended together with a process, at these times. `ends_show` says that the
    /// process in front of the worker resets what was cut off; otherwise the kernel may close the connection in order.
    pub(crate) fn taken_along(most: u64, during: Vec<(Duration, Duration)>, ends_show: bool, because: String) -> Self {
        let classes = if ends_show { SHOWN_ENDS.to_vec() } else { ANY_END.to_vec() };
        Self { most: Some(most), classes, during, because }
    }

    /// Allows every failure at that time, also a refused connect. `most` is the number of operations under way at some
    /// moment of it; if the outage has no end, there is no such number.
    pub(crate) fn outage(most: Option<u64>, during: (Duration, Duration), because: String) -> Self {
        let classes = [&ANY_END[..], &[Class::Refused, Class::ConnectTimeout]].concat();
        Self { most, classes, during: vec![during], because }
    }

    /// Allows failed requests on kept connections that were closed at these times.
    pub(crate) fn stale(most: u64, during: Vec<(Duration, Duration)>, because: String) -> Self {
        Self { most: Some(most), classes: vec![Class::StaleKeepalive], during, because }
    }

    /// Returns the number of failures that it excuses by class and time. Whether these are too many is up to
    /// [`Self::most`].
    pub(crate) fn excused(&self, checked: &Checked) -> u64 {
        let is_excused = |failed: &&Failed| {
            let is_then = |&(from, to): &(Duration, Duration)| failed.at <= to && failed.ended >= from;
            self.classes.contains(&failed.class) && self.during.iter().any(is_then)
        };
        checked.failures.iter().filter(is_excused).count() as u64
    }
}
