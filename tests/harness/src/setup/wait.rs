//! Waiting for a condition, up to a deadline.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// The wait for a command.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// At most.
    pub longest: Duration,
    /// True if it is no longer wanted, asked again and again.
    pub is_given_up: &'a dyn Fn() -> bool,
}

impl Patience<'static> {
    /// So long, whatever happens.
    pub(crate) fn of(longest: Duration) -> Self {
        Self { longest, is_given_up: &|| false }
    }
}

impl fmt::Debug for Patience<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("longest", &self.longest).finish_non_exhaustive()
    }
}

/// Why there is none any more, for errors: `did not end within 30s`.
impl fmt::Display for Patience<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_given_up)() {
            true => f.write_str("was given up"),
            false => write!(f, "did not end within {:?}", self.longest),
        }
    }
}

/// Looks again and again until there is something, at most that long; at least once.
pub(crate) fn until<T>(patience: Duration, look: impl FnMut() -> Option<T>) -> Option<T> {
    until_within(Patience::of(patience), look)
}

/// The same, as long as it is wanted.
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
        // What takes long is looked at less often.
        std::thread::sleep((waited / 10).clamp(Duration::from_millis(1), Duration::from_millis(20)));
    }
}
