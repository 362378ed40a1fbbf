//! The counts of the generator's thread. Pure.

use std::time::Duration;

use roundelay_checker::Class;

use super::Observed;
use crate::record::Tick;

/// [`Tick::SECONDS`] as a whole number of milliseconds, since tenths are not exact in a double.
const STEP: Duration = Duration::from_millis((Tick::SECONDS * 1000.0) as u64);

/// The counts of one load; they belong to one thread and need no lock.
#[derive(Debug, Default)]
pub(super) struct Tally {
    observed: Observed,
    failed: [u64; Class::ALL.len()],
    /// Empty in a closed loop, where requests are not due at a time.
    steps: Vec<Step>,
}

/// The requests due within one step of the timeline.
#[derive(Debug, Default)]
struct Step {
    errors: u64,
    /// The latencies of complete answers, in microseconds.
    latencies: Vec<u32>,
}

impl Tally {
    /// Returns the counts of a load without a schedule.
    pub(super) fn closed() -> Self {
        Self::default()
    }

    /// Returns the counts of a load with a schedule of that length at that rate.
    pub(super) fn open(length: Duration, rate: f64) -> Self {
        let room = (rate * Tick::SECONDS) as usize + 1;
        let step = || Step { errors: 0, latencies: Vec::with_capacity(room.min(1 << 16)) };
        let steps = length.as_nanos().div_ceil(STEP.as_nanos()).max(1);
        Self { steps: (0..steps).map(|_| step()).collect(), ..Self::default() }
    }

    /// Counts a started request, and how late it was.
    pub(super) fn start(&mut self, lag: Option<Duration>) {
        self.observed.started += 1;
        if let Some(lag) = lag {
            self.observed.lag.record(lag);
        }
    }

    /// Counts a request that was due and is not started.
    pub(super) fn skip(&mut self) {
        self.observed.not_started += 1;
    }

    /// Takes back a request that was counted as started but could not connect, for a reason of the generator's own.
    pub(super) fn take_back(&mut self) {
        self.observed.started = self.observed.started.saturating_sub(1);
        self.skip();
    }

    /// Counts a complete answer with a good status. `due`, from the start of the load, is `None` in a closed loop.
    pub(super) fn succeed(&mut self, due: Option<Duration>, latency: Duration, bytes: u64, worker: Option<&str>) {
        self.observed.done += 1;
        self.observed.bytes += bytes;
        self.observed.latency.record(latency);
        if let Some(worker) = worker {
            match self.observed.answers.get_mut(worker) {
                Some(count) => *count += 1,
                None => drop(self.observed.answers.insert(worker.to_owned(), 1)),
            }
        }
        if let Some(step) = self.step(due) {
            step.latencies.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        }
    }

    /// Counts a failed request.
    pub(super) fn fail(&mut self, due: Option<Duration>, class: Class) {
        if let Some(count) = Class::ALL.iter().position(|other| *other == class).and_then(|at| self.failed.get_mut(at))
        {
            *count += 1;
        }
        if let Some(step) = self.step(due) {
            step.errors += 1;
        }
    }

    /// Notes the time at which the last request was started, and the thread's processor time until then.
    pub(super) fn starts_nothing_more(&mut self, after: Duration, cpu: Duration) {
        self.observed.seconds = after.as_secs_f64();
        self.observed.generator_cpu = cpu;
    }

    /// Returns the result.
    pub(super) fn finish(self) -> Observed {
        let Self { mut observed, failed, steps } = self;
        let counted = Class::ALL.iter().zip(failed).filter(|(_, count)| *count > 0);
        observed.errors = counted.map(|(class, count)| (class.name().to_owned(), count)).collect();
        observed.timeline = steps.into_iter().map(tick).collect();
        observed
    }

    fn step(&mut self, due: Option<Duration>) -> Option<&mut Step> {
        let last = self.steps.len().checked_sub(1)?;
        let index = (due?.as_nanos() / STEP.as_nanos()) as usize;
        self.steps.get_mut(index.min(last))
    }
}

fn tick(step: Step) -> Tick {
    let Step { errors, mut latencies } = step;
    latencies.sort_unstable();
    let seconds = |micros: Option<&u32>| micros.map_or(0.0, |micros| f64::from(*micros) / 1e6);
    // The smallest value that 99 of 100 do not exceed.
    let rank = (latencies.len() * 99).div_ceil(100);
    let p99 = seconds(rank.checked_sub(1).and_then(|index| latencies.get(index)));
    Tick { done: latencies.len() as u64, errors, p99, max: seconds(latencies.last()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn timeline_goes_by_when_requests_were_due() {
        let mut tally = Tally::open(ms(300), 1000.0);
        for millis in 1..=100 {
            tally.start(Some(ms(1)));
            tally.succeed(Some(ms(99)), ms(millis), 10, Some("demo/0"));
        }
        tally.start(Some(ms(5)));
        tally.fail(Some(ms(200)), Class::Refused);
        tally.skip();
        tally.starts_nothing_more(ms(300), ms(20));
        let found = tally.finish();
        let none = Tick::default();
        let first = Tick { done: 100, errors: 0, p99: 0.099, max: 0.1 };
        assert_eq!(found.timeline, [first, none, Tick { errors: 1, ..none }]);
        assert_eq!((found.started, found.done, found.not_started, found.bytes), (101, 100, 1, 1000));
        assert_eq!((found.latency.count(), found.lag.count()), (100, 101));
        assert_eq!(found.errors.into_iter().collect::<Vec<_>>(), [("refused".to_owned(), 1)]);
        assert_eq!(found.answers.get("demo/0"), Some(&100));
        assert_eq!((found.seconds, found.generator_cpu), (0.3, ms(20)));
    }

    #[test]
    fn closed_loop_has_no_timeline() {
        let mut tally = Tally::closed();
        tally.start(None);
        tally.succeed(None, ms(2), 1, None);
        tally.start(None);
        tally.fail(None, Class::Other);
        tally.start(None);
        tally.take_back();
        let found = tally.finish();
        assert!(found.timeline.is_empty() && found.answers.is_empty());
        assert_eq!((found.started, found.done, found.not_started), (2, 1, 1));
        assert_eq!(found.lag.count(), 0);
    }

    #[test]
    fn there_are_as_many_steps_as_the_length_has() {
        for (millis, steps) in [(1, 1), (100, 1), (101, 2), (300, 3), (700, 7), (10_000, 100)] {
            assert_eq!(Tally::open(ms(millis), 1.0).finish().timeline.len(), steps, "{millis} ms");
        }
    }
}
