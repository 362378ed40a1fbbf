//! The faults of a demo worker, read from its environment. Pure.

use std::ffi::OsString;
use std::time::Duration;

/// `1`: SIGTERM has no effect, and the worker goes on serving. The worker still announces that it drains by signal,
/// which is then not true.
pub(super) const IGNORE_TERM: &str = "DEMO_IGNORE_TERM";
/// The number of milliseconds before the worker listens and is ready.
pub(super) const START_DELAY: &str = "DEMO_START_DELAY";
/// `1`: after that delay the worker writes the reason and exits, without ever having listened.
pub(super) const FAIL_START: &str = "DEMO_FAIL_START";
/// `SLOT:MS`: the worker in that slot answers that many milliseconds later than the others. It serves other clients
/// meanwhile.
pub(super) const SLOW: &str = "DEMO_SLOW";

/// The faults of this worker, set on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    pub(super) ignores_term: bool,
    pub(super) start_delay: Duration,
    pub(super) fails_to_start: bool,
    /// The slot that is slow, and the delay of its answers.
    pub(super) slow: Option<(u32, Duration)>,
}

/// A variable has an invalid value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} must be {expected}; it is `{value}`")]
pub(super) struct FaultError {
    name: &'static str,
    value: String,
    expected: &'static str,
}

impl Faults {
    /// Reads the faults from the variables. A variable that is unset or empty is no fault.
    ///
    /// # Errors
    ///
    /// Fails if a variable has an invalid value. Otherwise a fault test without a fault would pass.
    pub(super) fn read(lookup: &impl Fn(&str) -> Option<OsString>) -> Result<Self, FaultError> {
        Ok(Self {
            ignores_term: switch(lookup, IGNORE_TERM)?,
            start_delay: milliseconds(lookup, START_DELAY)?,
            fails_to_start: switch(lookup, FAIL_START)?,
            slow: slow(lookup)?,
        })
    }

    /// Returns the delay of the answers of the worker in that slot.
    pub(super) fn delay(&self, slot: u32) -> Duration {
        self.slow.filter(|(slow, _)| *slow == slot).map_or(Duration::ZERO, |(_, delay)| delay)
    }
}

fn switch(lookup: &impl Fn(&str) -> Option<OsString>, name: &'static str) -> Result<bool, FaultError> {
    parsed(lookup, name, "0 or 1", |value| match value {
        "" | "0" => Some(false),
        "1" => Some(true),
        _ => None,
    })
}

fn milliseconds(lookup: &impl Fn(&str) -> Option<OsString>, name: &'static str) -> Result<Duration, FaultError> {
    let expected = "a whole number of milliseconds";
    parsed(lookup, name, expected, |value| if value.is_empty() { Some(0) } else { value.parse().ok() })
        .map(Duration::from_millis)
}

fn slow(lookup: &impl Fn(&str) -> Option<OsString>) -> Result<Option<(u32, Duration)>, FaultError> {
    parsed(lookup, SLOW, "SLOT:MILLISECONDS", |value| {
        if value.is_empty() {
            return Some(None);
        }
        let (slot, millis) = value.split_once(':')?;
        Some(Some((slot.parse().ok()?, Duration::from_millis(millis.parse().ok()?))))
    })
}

fn parsed<T>(
    lookup: &impl Fn(&str) -> Option<OsString>,
    name: &'static str,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, FaultError> {
    let value = lookup(name).unwrap_or_default();
    let parsed = value.to_str().and_then(parse);
    parsed.ok_or_else(|| FaultError { name, value: value.to_string_lossy().into_owned(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Faults, String> {
        Faults::read(&|asked: &str| (asked == name).then(|| value.into())).map_err(|error| error.to_string())
    }

    #[test]
    fn unset_variable_is_no_fault() {
        assert_eq!(read("PATH", "/bin"), Ok(Faults::default()));
        for name in [IGNORE_TERM, START_DELAY, FAIL_START] {
            for value in ["", "0"] {
                assert_eq!(read(name, value), Ok(Faults::default()), "{name}={value}");
            }
        }
    }

    #[test]
    fn each_fault_has_its_variable() {
        assert_eq!(read(IGNORE_TERM, "1"), Ok(Faults { ignores_term: true, ..Faults::default() }));
        assert_eq!(read(FAIL_START, "1"), Ok(Faults { fails_to_start: true, ..Faults::default() }));
        let start_delay = Duration::from_millis(1500);
        assert_eq!(read(START_DELAY, "1500"), Ok(Faults { start_delay, ..Faults::default() }));
    }

    #[test]
    fn slow_variable_delays_only_its_slot() {
        let faults = read(SLOW, "1:50").unwrap();
        assert_eq!([0, 1, 2].map(|slot| faults.delay(slot).as_millis()), [0, 50, 0]);
        assert_eq!(Faults::default().delay(0), Duration::ZERO);
        for wrong in ["50", "1:", ":50", "a:50", "1:50ms"] {
            assert!(read(SLOW, wrong).unwrap_err().starts_with("DEMO_SLOW must be SLOT:MILLISECONDS"), "{wrong}");
        }
    }

    #[test]
    fn invalid_value_is_refused_with_its_name() {
        assert_eq!(read(IGNORE_TERM, "yes"), Err("DEMO_IGNORE_TERM must be 0 or 1; it is `yes`".to_owned()));
        assert_eq!(read(FAIL_START, "2"), Err("DEMO_FAIL_START must be 0 or 1; it is `2`".to_owned()));
        for wrong in ["1s", "-1", "1.5", " 1", "99999999999999999999"] {
            let message = format!("DEMO_START_DELAY must be a whole number of milliseconds; it is `{wrong}`");
            assert_eq!(read(START_DELAY, wrong), Err(message));
        }
    }
}
