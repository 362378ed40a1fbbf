//! How long nobody had a good answer. Pure.

use std::time::Duration;

/// The longest silence so far. It begins with the load, and each good answer begins it anew; only while operations are
/// started does it grow, so that the wait for what is still under way at the end is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Silence {
    /// The last good answer.
    since: Duration,
    longest: Duration,
}

impl Silence {
    /// An operation is started then, from the start of the load: somebody wants an answer.
    pub(crate) fn asked(&mut self, at: Duration) {
        self.longest = self.longest.max(at.saturating_sub(self.since));
    }

    /// A good answer has come then.
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
    fn a_silence_is_between_answers_and_counts_as_far_as_somebody_asks() {
        assert_eq!(longest(&[]), 0);
        assert_eq!(longest(&[(10, false), (11, true), (300, false), (301, true), (310, false)]), 289);
        assert_eq!(longest(&[(0, false), (500, false), (501, true)]), 500, "the first answer is late");
        assert_eq!(longest(&[(0, false), (1, true), (900, false), (20_000, true)]), 899, "nobody asks any more");
        assert_eq!(longest(&[(0, false), (1, true), (100, false), (700, false)]), 699, "it stays mute");
    }
}
