//! The longest time without a good answer. Pure.

use std::time::Duration;

/// The longest silence so far. A silence begins with the load, and each good answer begins a new one. It grows only
/// while operations are started, so the wait for open operations at the end of the load does not count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Silence {
    /// The time of the last good answer.
    since: Duration,
    longest: Duration,
}

impl Silence {
    /// Records that an operation is started at this time, from the start of the load.
    pub(crate) fn asked(&mut self, at: Duration) {
        self.longest = self.longest.max(at.saturating_sub(self.since));
    }

    /// Records that a good answer has arrived at this time.
    pub(crate) fn answered(&mut self, at: Duration) {
        self.since = self.since.max(at);
    }

    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest(events: &[(u64, bool)]) -> u64 {
        let mut silence = Silence::default();
        for &(at, is_answer) in events {
            let at = Duration::from_millis(at);
            if is_answer { silence.answered(at) } else { silence.asked(at) }
        }
        u64::try_from(silence.longest().as_millis()).unwrap()
    }

    #[test]
    fn silence_counts_between_answers_up_to_the_last_start() {
        assert_eq!(longest(&[]), 0);
        assert_eq!(longest(&[(10, false), (11, true), (300, false), (301, true), (310, false)]), 289);
        assert_eq!(longest(&[(0, false), (500, false), (501, true)]), 500, "the first answer is late");
        assert_eq!(longest(&[(0, false), (1, true), (900, false), (20_000, true)]), 899, "nothing is started any more");
        assert_eq!(longest(&[(0, false), (1, true), (100, false), (700, false)]), 699, "the server stays silent");
    }
}
