//! Limits how often a cause that a worker can repeat without end is logged. Pure.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// The number of times that a cause is logged for a worker within a [`WINDOW`].
const FEW: u32 = 3;
const WINDOW: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Recent {
    begun: Instant,
    logged: u32,
    left_out: u64,
}

/// The recent log lines by slot and cause. The causes are constants of ours, so they are few.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct LogLimit(HashMap<(usize, &'static str), Recent>);

impl LogLimit {
    /// Returns how many lines were left out before, if this one is to be logged; `None` if it is to be left out.
    pub(in crate::supervisor) fn ask(&mut self, slot: usize, cause: &'static str, now: Instant) -> Option<u64> {
        let fresh = || Recent { begun: now, logged: 0, left_out: 0 };
        let recent = self.0.entry((slot, cause)).or_insert_with(fresh);
        let left_out = if now.saturating_duration_since(recent.begun) < WINDOW {
            0
        } else {
            std::mem::replace(recent, fresh()).left_out
        };
        if recent.logged == FEW {
            recent.left_out = recent.left_out.saturating_add(1);
            return None;
        }
        recent.logged += 1;
        Some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_is_logged_three_times_a_minute() {
        let (mut log_limit, now) = (LogLimit::default(), Instant::now());
        let mut ask = |slot, cause, after| log_limit.ask(slot, cause, now + after);
        let logged = (0..1000).filter(|_| ask(0, "a", Duration::ZERO).is_some()).count();
        assert_eq!(logged, 3);
        assert_eq!(
            [ask(1, "a", Duration::ZERO), ask(0, "b", Duration::ZERO)],
            [Some(0); 2],
            "other causes and slots are logged"
        );
        assert_eq!(ask(0, "a", WINDOW), Some(997), "the next one says how many were left out");
        assert_eq!(ask(0, "a", WINDOW), Some(0));
    }
}
