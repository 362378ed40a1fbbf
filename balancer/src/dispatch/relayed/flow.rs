//! Distinguishes an answer that the worker's end broke off from one that was complete before. Pure: time comes in.
//!
//! A relay of bytes does not see where an answer ends. If an ending worker's last bytes came together with its end, the
//! answer was in full flow. If a moment lies between the two, the answer was complete and the connection idle. Only
//! connections of a draining worker are observed, so that a byte costs no clock otherwise. A connection on which
//! nothing has moved since the drain began is idle.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes that came less than this before the worker's end were in flow. A client may need no longer for its next
/// request, so a longer time would count idle connections as lost.
const IN_FLOW: Duration = Duration::from_millis(10);

/// The worker's bytes beside its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Flow {
    /// No byte since the drain began.
    #[default]
    Quiet,
    /// The last bytes came then.
    Moved(Instant),
    /// The worker's end was seen, a moment after its last bytes or longer.
    Ended { is_broken_off: bool },
}

impl Flow {
    /// Takes in the result of one poll: if bytes of the worker moved, and if its end was seen.
    pub(super) fn observe(&mut self, has_moved: bool, has_ended: bool, now: impl Fn() -> Instant) {
        if has_moved {
            *self = Self::Moved(now());
        }
        if has_ended {
            *self = match *self {
                Self::Quiet => Self::Ended { is_broken_off: false },
                Self::Moved(_) if has_moved => Self::Ended { is_broken_off: true },
                Self::Moved(at) => Self::Ended { is_broken_off: now().saturating_duration_since(at) < IN_FLOW },
                // The time at which the end was first seen counts, not the time at which its kind was known.
                ended @ Self::Ended { .. } => ended,
            };
        }
    }

    /// Returns true if the worker's last bytes came together with its end.
    pub(super) fn is_broken_off(self) -> bool {
        self == Self::Ended { is_broken_off: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows looks of (milliseconds, bytes moved, end seen).
    fn is_broken_off(looks: &[(u64, bool, bool)]) -> bool {
        let begun = Instant::now();
        let mut flow = Flow::default();
        for &(at, has_moved, has_ended) in looks {
            flow.observe(has_moved, has_ended, || begun + Duration::from_millis(at));
        }
        flow.is_broken_off()
    }

    #[test]
    fn answer_that_comes_with_the_end_is_broken_off() {
        assert!(is_broken_off(&[(0, true, true)]));
        assert!(is_broken_off(&[(0, true, false), (9, false, true)]));
        assert!(is_broken_off(&[(0, true, false), (9, false, true), (500, false, true)]), "its kind is told later");
        assert!(is_broken_off(&[(0, false, true), (1, true, true)]), "what it left is read after its end");
    }

    #[test]
    fn answer_that_was_over_before_the_end_is_whole() {
        assert!(!is_broken_off(&[]));
        assert!(!is_broken_off(&[(0, false, true)]));
        assert!(!is_broken_off(&[(0, true, false), (10, false, true)]));
        assert!(!is_broken_off(&[(0, true, false), (50, true, false), (60, false, true), (61, false, true)]));
    }
}
