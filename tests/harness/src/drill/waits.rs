//! Promises about time. Their limits follow from the fault and from the times of the same target before it, not from
//! the speed of the machine. Pure.

use std::time::Duration;

use super::checked::Checked;
use super::promise::Promise;

/// The longest time without any good answer while a worker serves: hundreds of times what a busy machine needs, and a
/// third of the silence that a master would cause which waits for a stopped worker until it is found.
const SILENCE: Duration = Duration::from_secs(5);

/// The extra time that half of all operations may take while one worker of several is slow: ten of its pulses, although
/// no client has a reason to wait for more than one.
const LONGER: Duration = Duration::from_millis(500);

/// The number of answers that are needed to compare two times: with fewer, chance may put too many on one side.
const ENOUGH: u64 = 200;

/// Returns the promise that some client is answered at any time. `usual` is how long an answer of the program takes.
pub(crate) fn no_silence(checked: &Checked, usual: Duration) -> Promise {
    // While the generator itself stood still it could not see answers.
    let silence = (checked.longest_silence_seconds - checked.longest_lag_seconds).max(0.0);
    let bound = SILENCE + usual;
    Promise::new(
        "the longest time without any good answer",
        format!("mute {silence:.0} s"),
        format!("at most {:.1} s", bound.as_secs_f64()),
        format!("{silence:.3} s"),
        silence <= bound.as_secs_f64(),
    )
}

/// Returns the promise that half of all operations take no longer than `usual`, within what a busy machine can prove.
pub(crate) fn most_do_not_wait(median: Duration, usual: Duration) -> Promise {
    let bound = 2 * usual + LONGER;
    let millis = |duration: Duration| format!("{:.1} ms", duration.as_secs_f64() * 1000.0);
    Promise::new(
        "half of all operations take",
        format!("median {:.1} s", median.as_secs_f64()),
        format!("at most {}: twice as long as before, and 500 ms", millis(bound)),
        format!("{} or less", millis(median)),
        median <= bound,
    )
}

/// The good answers that came while a worker stood still, and while it ran.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pulses {
    still: Part,
    running: Part,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    answers: u64,
    length: Duration,
}

impl Part {
    fn add(&mut self, answers: u64, length: Duration) {
        self.answers += answers;
        self.length += length;
    }

    fn rate(self) -> f64 {
        self.answers as f64 / self.length.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl Pulses {
    /// Adds a time during which it stood still, and the answers that came.
    pub(crate) fn still(&mut self, answers: u64, length: Duration) {
        self.still.add(answers, length);
    }

    /// Adds a time during which it ran, and the answers that came.
    pub(crate) fn running(&mut self, answers: u64, length: Duration) {
        self.running.add(answers, length);
    }

    /// Returns the promise that the clients of the other workers are answered while it stands still. `None` if there
    /// are too few answers to decide, or no other worker.
    ///
    /// Of `workers` with equal shares, all but one answer while it stands still; while it runs, it also answers what
    /// was left over. So the rate during the stop is (N-1)/(N+1) of the other. The promise is half of that, which still
    /// holds if all kept connections, a third of the operations, are with that worker. Where all clients wait, none is
    /// answered during the stop; and a busy machine delays answers in both times alike.
    pub(crate) fn others_are_answered(self, workers: usize) -> Option<Promise> {
        if workers < 2 || self.still.answers + self.running.answers < ENOUGH {
            return None;
        }
        let bound = (workers as f64 - 1.0) / (workers as f64 + 1.0) / 2.0;
        let share = self.still.rate() / self.running.rate().max(f64::MIN_POSITIVE);
        Some(Promise::new(
            "answers a second while it stands still",
            "others wait",
            format!("at least {:.0} % of those while it runs", bound * 100.0),
            if share < 10.0 { format!("{:.0} %", share * 100.0) } else { "nearly all".to_owned() },
            share >= bound,
        ))
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::super::promise::tests::ms;
    use super::*;

    const PULSE: f64 = 50.0;

    /// A simulated target.
    #[derive(Clone, Copy)]
    enum Target {
        /// Only the clients of the slow worker wait.
        Good,
        /// All clients wait for it.
        Stalls,
    }

    /// Simulates ten seconds of 300 operations a second on that many workers, one of which is stopped every other
    /// pulse. Each operation takes 1 ms, and up to `noise` ms more.
    fn run(target: Target, workers: usize, noise: f64, seed: u64) -> bool {
        let mut random = Rng::with_seed(seed);
        let mut counts = [0_u64; 2];
        for operation in 0..3000 {
            let begun = f64::from(operation) * 10_000.0 / 3000.0;
            let is_still = ((begun / PULSE) as u64).is_multiple_of(2);
            let is_its = random.usize(..workers) == 0;
            let waits = is_still && (is_its || matches!(target, Target::Stalls));
            let free = if waits { (begun / PULSE).ceil() * PULSE } else { begun };
            let ended = free + 1.0 + random.f64() * noise;
            counts[(ended / PULSE) as usize % 2] += 1;
        }
        let mut pulses = Pulses::default();
        pulses.still(counts[0], Duration::from_secs(5));
        pulses.running(counts[1], Duration::from_secs(5));
        pulses.others_are_answered(workers).unwrap().is_kept
    }

    #[test]
    fn waiting_for_one_worker_fails_and_noise_does_not() {
        for seed in 0..20 {
            for workers in [2, 3, 4, 16] {
                for noise in [0.0, 10.0, 40.0, 100.0, 1000.0] {
                    assert!(run(Target::Good, workers, noise, seed), "{workers} workers, {noise} ms, seed {seed}");
                }
                for noise in [0.0, 5.0] {
                    assert!(!run(Target::Stalls, workers, noise, seed), "{workers} workers, {noise} ms, seed {seed}");
                }
            }
        }
    }

    #[test]
    fn of_one_worker_or_a_few_answers_nothing_is_said() {
        let mut pulses = Pulses::default();
        pulses.running(199, ms(1000));
        assert_eq!(pulses.others_are_answered(4), None);
        pulses.still(1, ms(1000));
        assert!(!pulses.others_are_answered(4).unwrap().is_kept);
        assert_eq!(pulses.others_are_answered(1), None);
    }

    #[test]
    fn general_stall_fails_and_a_generator_stall_does_not() {
        let load =
            |silence, lag| Checked { longest_silence_seconds: silence, longest_lag_seconds: lag, ..Checked::default() };
        assert!(no_silence(&load(4.0, 0.0), ms(1)).is_kept);
        let promise = no_silence(&load(15.0, 0.1), ms(1));
        assert!(!promise.is_kept);
        assert_eq!(promise.broken, "mute 15 s");
        assert!(no_silence(&load(15.0, 11.0), ms(1)).is_kept, "it slept itself");
        assert!(no_silence(&load(15.0, 0.0), ms(12_000)).is_kept, "its first answer takes so long");
    }

    #[test]
    fn half_may_take_as_long_as_ever_and_not_a_second_more() {
        assert!(most_do_not_wait(ms(50), ms(2)).is_kept && most_do_not_wait(ms(3500), ms(3000)).is_kept);
        assert!(!most_do_not_wait(ms(1002), ms(2)).is_kept);
    }
}
