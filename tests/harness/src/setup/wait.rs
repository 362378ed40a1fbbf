//! Waits for a condition, up to a deadline.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// The limits of a wait.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// The longest time.
    pub longest: Duration,
    /// Returns true if the result is no longer wanted; called again and again.
    pub is_given_up: &'a dyn Fn() -> bool,
}

impl Patience<'static> {
    /// Returns a patience of that length that is never given up.
    pub(crate) fn of(longest: Duration) -> Self {
        Self { longest, is_given_up: &|| false }
    }
}

impl fmt::Debug for Patience<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("longest", &self.longest).finish_non_exhaustive()
    }
}

/// Writes why the wait ended without a result, for errors: `did not end within 30s`.
impl fmt::Display for Patience<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_given_up)() {
            true => f.write_str("was given up"),
            false => write!(f, "did not end within {:?}", self.longest),
        }
    }
}

/// Calls `look` until it returns something, at most that long; at least once.
pub(crate) fn until<T>(patience: Duration, look: impl FnMut() -> Option<T>) -> Option<T> {
    until_within(Patience::of(patience), look)
}

/// Does the same, until it is given up.
pub(crate) fn until_within<T>(patience: Patience<'_>, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        let waited = begun.elapsed();
        if waited >= patience.longest || (patience.is_given_up)() {
            return None;
        }
        // The longer the wait, the longer the pauses between two looks.
        std::thread::sleep((waited / 10).clamp(Duration::from_millis(1), Duration::from_millis(20)));
    }
}
