//! The rate limit of a program's messages: it may send without end, and no reader could follow that. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// The number of messages of one worker that are passed on each second: more than a person can read, and too few to
/// fill a log.
const MOST: u32 = 50;
const SECOND: Duration = Duration::from_secs(1);

/// Counts the messages of the present second, which begins with its first message.
#[derive(Debug, Default)]
pub(super) struct MessageRate {
    begun: Option<Instant>,
    passed: u32,
    left_out: u64,
}

impl MessageRate {
    /// Counts a message at `now`. Returns `None` if it is passed on, which is always so if `must` is true. Otherwise
    /// the message is left out, and the result is the time at which to report how many were.
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
            "reported at the end of the second"
        );
        assert_eq!(message_rate.said(begun + SECOND / 2, true), None, "must be passed on");
        assert_eq!(passed(&mut message_rate, SECOND), 50);
        assert_eq!(message_rate.take_left_out(), 30 + 80 + 1 + 30, "the count was not read meanwhile");
        assert_eq!(message_rate.take_left_out(), 0);
        assert_eq!(passed(&mut message_rate, 10 * SECOND), 50);
    }
}
