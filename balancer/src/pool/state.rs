//! The state of a pool in one word, the same in `list`, `status`, page, `/readyz` and metrics. Pure.

use super::{PoolStatus, SlotState};

/// A pool's state. A later variant is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PoolState {
    /// Every worker that should run serves clients, and clients reach the workers.
    Ready,
    /// Some workers serve. But not all that should run do, or fewer than `min-ready` do, or a resource is used up.
    Degraded,
    /// No worker serves yet: all are starting.
    Starting,
    /// All workers were stopped by command.
    Stopped,
    /// No worker serves.
    Down,
    /// The master was asked to stop.
    Stopping,
}

impl PoolState {
    /// Every state.
    pub const ALL: [Self; 6] = [Self::Ready, Self::Degraded, Self::Starting, Self::Stopped, Self::Down, Self::Stopping];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Starting => "starting",
            Self::Stopped => "stopped",
            Self::Down => "down",
            Self::Stopping => "stopping",
        }
    }

    /// Returns the state of a pool. `is_short` means that the pool lacks something that accepting its clients needs,
    /// such as descriptors. A worker that was stopped by command does not count against its pool.
    pub fn of(status: &PoolStatus, min_ready: u32, is_short: bool, is_stopping: bool) -> Self {
        let desired = status.desired_workers as usize;
        let all: Vec<SlotState> = status.workers.iter().take(desired).map(|worker| worker.state).collect();
        let wanted = || all.iter().filter(|&&state| state != SlotState::Stopped);
        let serving = all.iter().filter(|state| state.is_serving()).count();
        if is_stopping || status.is_stopping {
            return Self::Stopping;
        }
        if serving == 0 {
            return match (wanted().next(), wanted().all(|&state| state == SlotState::Starting)) {
                (None, _) => Self::Stopped,
                (Some(_), true) => Self::Starting,
                (Some(_), false) => Self::Down,
            };
        }
        let is_whole = wanted().all(|state| state.is_serving()) && serving >= min_ready as usize && !is_short;
        if is_whole { Self::Ready } else { Self::Degraded }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_has_one_word_for_its_workers() {
        use SlotState::{Backoff, Busy, Draining, Ready, Starting, Stopped, Suspect};
        for (states, word) in [
            (&[Ready, Ready][..], "ready"),
            (&[Ready, Busy], "ready"),
            (&[Ready, Stopped], "ready"),
            (&[Ready, Starting], "degraded"),
            (&[Ready, Suspect], "degraded"),
            (&[Starting, Starting], "starting"),
            (&[Starting, Stopped], "starting"),
            (&[Starting, Backoff], "down"),
            (&[Suspect], "down"),
            (&[Draining], "down"),
            (&[Stopped, Stopped], "stopped"),
            (&[], "stopped"),
        ] {
            let mut status = PoolStatus::new(states.len() as u32);
            status.workers.iter_mut().zip(states).for_each(|(worker, state)| worker.state = *state);
            assert_eq!(PoolState::of(&status, 1, false, false).name(), word, "{states:?}");
            assert_eq!(PoolState::of(&status, 1, false, true).name(), "stopping", "{states:?}");
        }
        let mut status = PoolStatus::new(2);
        status.workers[0].state = Ready;
        status.workers[1].state = Stopped;
        assert_eq!(PoolState::of(&status, 2, false, false), PoolState::Degraded, "min-ready counts");
        assert_eq!(PoolState::of(&status, 1, true, false), PoolState::Degraded);
        status.desired_workers = 1;
        status.workers[1].state = Draining;
        assert_eq!(PoolState::of(&status, 1, false, false), PoolState::Ready, "a worker that leaves does not count");
    }
}
