//! Which failures are no defect of a target. Pure.

use std::time::Duration;

use roundelay_checker::Class;

use super::checked::{Checked, Failed};

/// Classes of failures by which a client learns that its connection has ended with the process that had it.
const SHOWN_ENDS: [Class; 3] = [Class::ResetBeforeFirstByte, Class::ResetMidway, Class::StaleKeepalive];

/// The same where the kernel may end a dead process's connections in order: half of an answer may look whole.
const ANY_END: [Class; 5] = [
    Class::ResetBeforeFirstByte,
    Class::ClosedBeforeFirstByte,
    Class::ResetMidway,
    Class::StaleKeepalive,
    Class::Truncated,
];

/// Which failures are no defect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// The greatest number; none: as many as fit the rest.
    pub(crate) most: Option<u64>,
    /// Of these classes.
    pub(crate) classes: Vec<Class>,
    /// Under way at some moment of one of these, from the start of the load.
    pub(crate) during: Vec<(Duration, Duration)>,
    /// In words, without the number.
    pub(crate) because: String,
}

impl Allowed {
    /// Nothing.
    pub(crate) fn nothing() -> Self {
        Self { most: Some(0), classes: Vec::new(), during: Vec::new(), because: String::new() }
    }

    /// Operations that a process took with it, at these times. `ends_show` says that the process before it resets what
    /// was cut off; else the kernel may end it in order.
    pub(crate) fn taken_along(most: u64, during: Vec<(Duration, Duration)>, ends_show: bool, because: String) -> Self {
        let classes = if ends_show { SHOWN_ENDS.to_vec() } else { ANY_END.to_vec() };
        Self { most: Some(most), classes, during, because }
    }

    /// Everything that shows as a failure at that time, also a refused connect. `most` is what was under way at some
    /// moment of it; without an end there is no such number.
    pub(crate) fn outage(most: Option<u64>, during: (Duration, Duration), because: String) -> Self {
        let classes = [&ANY_END[..], &[Class::Refused, Class::ConnectTimeout]].concat();
        Self { most, classes, during: vec![during], because }
    }

    /// Requests on kept connections that were closed at these times.
    pub(crate) fn stale(most: u64, during: Vec<(Duration, Duration)>, because: String) -> Self {
        Self { most: Some(most), classes: vec![Class::StaleKeepalive], during, because }
    }

    /// The number of failures that it excuses by class and time; whether that is not too many is [`Self::most`]'s
    /// matter.
    pub(crate) fn excused(&self, checked: &Checked) -> u64 {
        let is_excused = |failed: &&Failed| {
            let is_then = |&(from, to): &(Duration, Duration)| failed.at <= to && failed.ended >= from;
            self.classes.contains(&failed.class) && self.during.iter().any(is_then)
        };
        checked.failures.iter().filter(is_excused).count() as u64
    }
}
