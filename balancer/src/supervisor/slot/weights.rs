//! Computes the present weight of each worker in rotation: its slot's weight, and less while it is new to the rotation.
//! Pure.
//!
//! With `slow-start` a new process begins at a tenth of its weight and grows linearly to all of it: its caches are cold
//! and its code is not compiled yet. The first processes of the master's own start are not slowed: no other worker is
//! there to do the work meanwhile. Nor is a process that comes back after a suspicion: it is not new.

use std::time::Duration;

use tokio::time::Instant;

use crate::config;
use crate::rotation::{SlotId, UNIT_WEIGHT};

/// The weight at which a slow start begins, in hundredths.
const TENTH: u32 = UNIT_WEIGHT / 10;
/// The least time between two steps of a slow start: each step publishes the rotation again.
const STEP: Duration = Duration::from_millis(50);

/// For each slot, the process that was in rotation last.
#[derive(Debug)]
pub(in crate::supervisor) struct Weights {
    /// The number of slots of the master's own start.
    first: usize,
    seats: Vec<Option<Seat>>,
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    incarnation: u64,
    /// The time at which the process entered the rotation, if it starts slowly.
    slow_since: Option<Instant>,
}

impl Weights {
    /// Creates the weights of a pool that starts with that many slots.
    pub(in crate::supervisor) fn new(first: usize) -> Self {
        Self { first, seats: Vec::new() }
    }

    /// Returns the weight of a process in rotation under this configuration, in hundredths. The first call for a
    /// process must be when it enters the rotation.
    pub(in crate::supervisor) fn of(
        &mut self,
        slot: SlotId,
        incarnation: u64,
        config: &config::PoolConfig,
        now: Instant,
    ) -> u32 {
        let index = slot.index();
        if self.seats.len() <= index {
            self.seats.resize(index + 1, None);
        }
        let seat = &mut self.seats[index];
        if seat.is_none_or(|seat| seat.incarnation != incarnation) {
            let is_first = seat.is_none() && index < self.first;
            *seat = Some(Seat { incarnation, slow_since: (!is_first).then_some(now) });
        }
        let share = match seat.and_then(|seat| seat.slow_since) {
            Some(since) => grown(now.saturating_duration_since(since), config.slow_start),
            None => UNIT_WEIGHT,
        };
        config.weight(index) * share
    }

    /// Returns the time at which a weight will have grown, under this configuration; `None` while none grows.
    pub(in crate::supervisor) fn next_deadline(&self, config: &config::PoolConfig, now: Instant) -> Option<Instant> {
        let grows = |since: Instant| now.saturating_duration_since(since) < config.slow_start;
        let any = self.seats.iter().flatten().filter_map(|seat| seat.slow_since).any(grows);
        any.then(|| now + STEP.max(config.slow_start / (UNIT_WEIGHT - TENTH)))
    }
}

/// Returns the share of its weight, in hundredths, that a worker has `after` it entered the rotation.
fn grown(after: Duration, slow_start: Duration) -> u32 {
    if after >= slow_start {
        return UNIT_WEIGHT;
    }
    let part = after.as_secs_f64() / slow_start.as_secs_f64();
    // The value is between 10 and 100, so the cast loses nothing but the fraction.
    TENTH + (f64::from(UNIT_WEIGHT - TENTH) * part) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Program;

    fn config(weights: &[u32], slow_start: u64) -> config::PoolConfig {
        let mut config = config::PoolConfig::new("a", Program::Demo);
        (config.weights, config.slow_start) = (weights.to_vec(), Duration::from_secs(slow_start));
        config
    }

    #[test]
    fn slot_has_configured_weight_and_1_beyond_the_list() {
        let (mut weights, now) = (Weights::new(3), Instant::now());
        let config = config(&[2, 1000], 0);
        assert_eq!([0, 1, 2, 3].map(|slot| weights.of(SlotId(slot), 1, &config, now)), [200, 100_000, 100, 100]);
        assert_eq!(weights.next_deadline(&config, now), None);
    }

    #[test]
    fn new_worker_weight_grows_and_first_workers_have_it_at_once() {
        let (mut weights, start) = (Weights::new(2), Instant::now());
        let config = config(&[3], 9);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!([0, 1].map(|slot| weights.of(SlotId(slot), 1, &config, start)), [300, 100]);
        assert_eq!(weights.next_deadline(&config, start), None);
        // The replacement of slot 0, and a slot that was not there at the start.
        for slot in [0, 2] {
            let times = [1, 2, 4, 10, 11].map(|seconds| weights.of(SlotId(slot), 2, &config, at(seconds)));
            let full = if slot == 0 { 3 } else { 1 };
            assert_eq!(times, [10, 20, 40, 100, 100].map(|share| share * full), "slot {slot}");
        }
        assert_eq!(weights.next_deadline(&config, at(2)), Some(at(2) + Duration::from_millis(100)));
        assert_eq!(weights.next_deadline(&config, at(10)), None);
        // Out of rotation for a while, and no other process meanwhile: it is not new.
        assert_eq!(weights.of(SlotId(1), 1, &config, at(20)), 100);
    }

    #[test]
    fn slow_start_turned_off_ends_at_once() {
        let (mut weights, now) = (Weights::new(0), Instant::now());
        assert_eq!(weights.of(SlotId(0), 1, &config(&[], 60), now), 10);
        assert_eq!(weights.of(SlotId(0), 1, &config(&[], 0), now), 100);
        assert_eq!(weights.next_deadline(&config(&[], 0), now), None);
    }
}
