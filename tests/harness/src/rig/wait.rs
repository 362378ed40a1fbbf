//! Waiting for a condition, up to a deadline.

use std::time::Duration;

use tokio::time::Instant;

/// Looks again and again until there is something, at most that long; at least once.
pub(crate) fn until<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        let waited = begun.elapsed();
        if waited >= patience {
            return None;
        }
        // What takes long is looked at less often.
        std::thread::sleep((waited / 10).clamp(Duration::from_millis(1), Duration::from_millis(20)));
    }
}
