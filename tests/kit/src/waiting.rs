//! Assertions about values that still change: they look again until the assertion holds, within the deadline.

use std::fmt::Debug;
use std::time::Duration;

use tokio::time::Instant;

/// The longest wait of a test before it fails. It is generous: machines are slow, and a test that passes never waits
/// it out.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Like `assert_eq!`, for values of a master, its log, its metrics or `/proc`: evaluates the first argument again and
/// again until it equals the second. A failure shows the value seen last.
#[macro_export]
macro_rules! eventually_eq {
    ($seen:expr, $wanted:expr $(,)?) => { $crate::eventually_eq!($seen, $wanted, "") };
    ($seen:expr, $wanted:expr, $($message:tt)+) => {{
        let wanted = &$wanted;
        let look = $crate::Look::begin();
        loop {
            match &$seen {
                seen if *seen == *wanted => break,
                seen => look.again(|| {
                    format!("`{}` stayed {seen:?} and not {wanted:?} {}", stringify!($seen), format_args!($($message)+))
                }),
            }
        }
    }};
}

/// Like `assert!`, for the same values: evaluates the condition again and again until it holds. The message is made
/// at the failure, so it can show the value seen last.
#[macro_export]
macro_rules! eventually {
    ($condition:expr $(,)?) => { $crate::eventually!($condition, "") };
    ($condition:expr, $($message:tt)+) => {{
        let look = $crate::Look::begin();
        loop {
            if $condition {
                break;
            }
            look.again(|| format!("`{}` stayed false {}", stringify!($condition), format_args!($($message)+)));
        }
    }};
}

/// Like `assert!`, for a condition that must hold at this very moment: a command has returned, so its work is done
/// and shown everywhere; or a loop checks all the time.
#[macro_export]
macro_rules! at_once {
    ($($arguments:tt)+) => { assert!($($arguments)+) };
}

/// Like `assert_eq!`, for a value at this very moment.
#[macro_export]
macro_rules! at_once_eq {
    ($($arguments:tt)+) => { assert_eq!($($arguments)+) };
}

/// One wait with its deadline.
#[derive(Debug)]
pub struct Look(Instant);

impl Look {
    /// Starts the clock of a wait.
    #[must_use]
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    /// Pauses before the next look. Panics with the value seen last when the deadline is over.
    #[track_caller]
    pub fn again(&self, last_seen: impl FnOnce() -> String) {
        self.assert_time_left(last_seen);
        // A condition that takes long is looked at less often.
        pause((self.0.elapsed() / 10).clamp(Duration::from_millis(2), Duration::from_millis(30)));
    }

    #[track_caller]
    pub(crate) fn assert_time_left(&self, last_seen: impl FnOnce() -> String) {
        assert!(self.0.elapsed() < DEADLINE, "gave up waiting: {}", last_seen());
    }
}

/// The time between two looks. Nothing else in these tests sleeps.
fn pause(time: Duration) {
    std::thread::park_timeout(time);
}

/// Waits until `condition` holds; panics with `what` at the deadline.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Waits until `look` finds something; panics with `what` at the deadline.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let waiting = Look::begin();
    loop {
        if let Some(found) = look() {
            return found;
        }
        waiting.again(|| what.to_owned());
    }
}

/// Checks that `condition` holds at every look for so long: the only way to test that something does *not* happen.
#[track_caller]
pub fn stays(what: &str, time: Duration, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        assert!(condition(), "not so after {:.1?} of {time:?}: {what}", begun.elapsed());
        pause(Duration::from_millis(20));
    }
}

/// Waits until `look` has returned the same value for 300 ms, and returns it. Two equal looks in a row would not be
/// enough.
#[track_caller]
pub fn at_rest<T: PartialEq + Debug>(what: &str, mut look: impl FnMut() -> T) -> T {
    const REST: Duration = Duration::from_millis(300);
    let waiting = Look::begin();
    let mut last = (look(), Instant::now());
    while last.1.elapsed() < REST {
        waiting.again(|| format!("{what} to come to rest, last seen {:?}", last.0));
        let now = look();
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    last.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eventually_evaluates_until_it_holds() {
        let mut looks = 0;
        let mut look = || {
            looks += 1;
            looks
        };
        eventually_eq!(look(), 3);
        eventually!(look() == 5, "never seen");
        assert_eq!(looks, 5);
    }

    #[test]
    fn value_that_still_changes_is_not_at_rest() {
        let begun = Instant::now();
        let value = at_rest("a value that changes once", || begun.elapsed() > Duration::from_millis(200));
        assert!(value && begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
    }

    #[test]
    #[should_panic(expected = "not so after")]
    fn stays_fails_at_the_first_look_that_differs() {
        let mut looks = 0;
        stays("it is small", Duration::from_secs(1), || {
            looks += 1;
            looks < 3
        });
    }
}
