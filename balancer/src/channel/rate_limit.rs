//! How much of what a program says is passed on: it may send without end, and nobody could read all of that. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// The number of messages of one worker that are passed on a second: more than a person reads, and no log is filled by
/// it.
const MOST: u32 = 50;
const SECOND: Duration = Duration::from_secs(1);

/// The messages of the present second, which begins with its first message.
#[derive(Debug, Default)]
pub(super) struct MessageRate {
    begun: Option<Instant>,
    passed: u32,
    left_out: u64,
}

impl MessageRate {
    /// Something is said at `now`: `None` if it is passed on, as what `must` be is. Else it is left out, and when how
    /// many were is to be told.
    pub(super) fn said(&mut self, now: Instant, must: bool) -> Option<Instant> {
        let begun = match self.begun.filter(|begun| now.saturating_duration_since(*begun) < SECOND) {
            Some(begun) => begun,
            None => {
                self.passed = 0;
                *self.begun.insert(now)
            }
        };
        if self.passed < MOST || must {
            self.passed += 1;
            return None;
        }
        self.left_out += 1;
        Some(begun + SECOND)
    }

    /// Returns the number of messages left out since the last call.
    pub(super) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_over_the_rate_are_counted_and_not_passed_on() {
        let (mut message_rate, begun) = (MessageRate::default(), Instant::now());
        let passed = |message_rate: &mut MessageRate, at| {
            (0..80).filter(|_| message_rate.said(begun + at, false).is_none()).count()
        };
        assert_eq!(passed(&mut message_rate, Duration::ZERO), 50);
        assert_eq!(passed(&mut message_rate, SECOND / 2), 0);
        assert_eq!(
            message_rate.said(begun + SECOND / 2, false),
            Some(begun + SECOND),
            "to be told at the second's end"
        );
        assert_eq!(message_rate.said(begun + SECOND / 2, true), None, "must be passed on");
        assert_eq!(passed(&mut message_rate, SECOND), 50);
        assert_eq!(message_rate.take_left_out(), 30 + 80 + 1 + 30, "nobody asked meanwhile");
        assert_eq!(message_rate.take_left_out(), 0);
        assert_eq!(passed(&mut message_rate, 10 * SECOND), 50);
    }
}
