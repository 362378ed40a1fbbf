//! The effect of an event, from the timeline of its phase: the longest gap, and the time until it was over. Pure.

use super::estimate::median;
use crate::record::{Drive, Phase, Tick};

/// A step is worse than before if its 99th percentile is more than this many times the median step's before the event.
/// Steps have few requests, so their percentile sometimes doubles by itself.
const WORSE: f64 = 3.0;
/// It must also be worse by more than this, in seconds: smaller changes are the scheduler's.
const WORSE_BY: f64 = 0.001;
/// A tolerance, since sums of tenths are not exact.
const HAIR: f64 = 1e-6;

/// Rounds to a microsecond, so that equal steps are equal.
fn exact(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// The time until the effect was over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Recovery {
    /// The time from the event to the end of the last step that is worse than before; 0 if none is.
    pub(crate) seconds: f64,
    /// True if a good step follows.
    pub(crate) is_over: bool,
}

/// One step with its time.
struct Step<'a> {
    start: f64,
    end: f64,
    tick: &'a Tick,
    /// True if no request that was due in it was answered. At rates of at most one request a step, it may also be empty
    /// without any fault.
    is_silent: bool,
}

/// Returns the steps in which requests were due.
fn steps(phase: &Phase) -> Vec<Step<'_>> {
    let rate = if let Drive::Open { rate } = phase.drive { rate } else { 0.0 };
    let mut steps = Vec::new();
    for (number, tick) in phase.timeline.iter().enumerate() {
        let start = number as f64 * Tick::SECONDS;
        let end = (start + Tick::SECONDS).min(phase.seconds);
        if end - start < HAIR {
            break;
        }
        let are_due = tick.errors > 0 || rate * (end - start) >= 2.0;
        steps.push(Step { start, end, tick, is_silent: tick.done == 0 && are_due });
    }
    steps
}

/// Returns the longest time without a complete answer, in seconds, as whole steps.
pub(crate) fn longest_gap(phase: &Phase) -> f64 {
    let mut longest = 0.0_f64;
    let mut since: Option<f64> = None;
    for step in steps(phase) {
        if step.is_silent {
            let start = *since.get_or_insert(step.start);
            longest = longest.max(exact(step.end - start));
        } else if step.tick.done > 0 {
            since = None;
        }
    }
    longest
}

/// Returns for how long after `at` (seconds from the start of the phase) there were failures, silence or slow answers.
pub(crate) fn recovery(phase: &Phase, at: f64) -> Recovery {
    let steps = steps(phase);
    let before = |step: &&Step<'_>| step.end <= at + HAIR;
    let usual: Vec<f64> =
        steps.iter().filter(before).filter(|step| step.tick.done > 0).map(|step| step.tick.p99).collect();
    let bound = median(&usual).map(|usual| (usual * WORSE).max(usual + WORSE_BY));
    let is_worse =
        |step: &&Step<'_>| step.tick.errors > 0 || step.is_silent || bound.is_some_and(|bound| step.tick.p99 > bound);
    let Some(last) = steps.iter().filter(|step| !before(step)).rfind(is_worse) else {
        return Recovery { seconds: 0.0, is_over: true };
    };
    let is_over = steps.iter().any(|step| step.start >= last.end - HAIR && step.tick.done > 0);
    Recovery { seconds: exact(last.end - at), is_over }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::planted;

    /// Returns a phase of ticks: `.` is good (1 ms), `x` has an error, `_` is silent, `s` is slow (50 ms), `t` twice as
    /// slow as usual.
    fn phase(ticks: &str, rate: f64) -> Phase {
        let tick = |c| match c {
            '.' => Tick { done: 10, errors: 0, p99: 0.001, max: 0.002 },
            'x' => Tick { done: 9, errors: 1, p99: 0.001, max: 0.002 },
            's' => Tick { done: 10, errors: 0, p99: 0.05, max: 0.05 },
            't' => Tick { done: 10, errors: 0, p99: 0.002, max: 0.003 },
            _ => Tick::default(),
        };
        let timeline: Vec<Tick> = ticks.chars().map(tick).collect();
        let seconds = timeline.len() as f64 * Tick::SECONDS;
        Phase { seconds, timeline, ..planted::phase(Drive::Open { rate }) }
    }

    fn recovers(ticks: &str) -> (f64, bool) {
        let recovery = recovery(&phase(ticks, 100.0), 0.5);
        (recovery.seconds, recovery.is_over)
    }

    #[test]
    fn gap_is_the_longest_time_without_an_answer() {
        let gap = |ticks, rate| longest_gap(&phase(ticks, rate));
        assert_eq!(gap("..........", 100.0), 0.0);
        assert_eq!(gap(".._..___..", 100.0), 0.3);
        assert_eq!(gap("....xxxx..", 100.0), 0.0, "some were answered");
        assert_eq!(gap("......____", 100.0), 0.4, "until the end");
        assert_eq!(gap("._._._....", 5.0), 0.0, "nothing was due there");
    }

    #[test]
    fn recovery_lasts_until_the_last_step_that_is_worse_than_before() {
        assert_eq!(recovers(".........."), (0.0, true));
        assert_eq!(recovers(".....x...."), (0.1, true));
        assert_eq!(recovers(".....x.s.."), (0.3, true));
        assert_eq!(recovers(".....__..."), (0.2, true));
        assert_eq!(recovers("..x......."), (0.0, true), "that was before");
        assert_eq!(recovers(".....tt..."), (0.0, true), "twice as slow is noise");
    }

    #[test]
    fn timeline_without_recovery_lasts_to_the_end_and_says_so() {
        assert_eq!(recovers(".....xsxs_"), (0.5, false));
        assert_eq!(recovers(".....sssss"), (0.5, false));
    }

    #[test]
    fn event_amid_a_step_counts_from_itself() {
        let recovery = recovery(&phase("....x.....", 100.0), 0.45);
        assert_eq!(recovery, Recovery { seconds: 0.05, is_over: true });
    }

    #[test]
    fn little_more_than_nothing_is_not_slow() {
        // 3 times 0.1 ms is still within a millisecond.
        let mut phase = phase("..........", 100.0);
        phase.timeline.iter_mut().for_each(|tick| tick.p99 = 0.0001);
        phase.timeline[7].p99 = 0.0009;
        assert_eq!(recovery(&phase, 0.5).seconds, 0.0);
    }
}
