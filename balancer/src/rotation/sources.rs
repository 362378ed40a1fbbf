//! The source address of the next connection to a worker's loopback port. Pure: time comes in as an argument.
//!
//! The kernel gives each connection from one address to one port its own source port. There are 28,232 by default; when
//! all are used, `connect` fails. All of 127.0.0.0/8 is this machine, so 127.0.0.2 has as many ports again. The first
//! address stays the first choice, since servers such as gunicorn and uvicorn trust exactly 127.0.0.1 to name their
//! clients.
//!
//! A `connect` that finds no free port has searched all of them, which takes milliseconds. So the result is remembered.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::time::{Duration, Instant};

/// The time after which the first address, which had no port left, is tried before the others again.
const FIRST_AGAIN: Duration = Duration::from_secs(1);
/// The time after which all addresses are tried again when none had a port.
const ALL_AGAIN: Duration = Duration::from_millis(100);
/// The value of `preferred` after no address had a port.
const NONE: u8 = u8::MAX;

/// The source addresses to one worker, by number: 0 is 127.0.0.1, 1 is 127.0.0.2.
#[derive(Debug, Default)]
pub struct Sources {
    /// The number of the address that had a port last.
    preferred: AtomicU8,
    /// The time at which the first address is tried again, if `preferred` is another one.
    until: Mutex<Option<Instant>>,
}

/// Returns the address with this number.
pub const fn source_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, number.saturating_add(1))
}

impl Sources {
    /// Returns the numbers below `count` in the order in which to try them at `now`. Returns none soon after no address
    /// had a port.
    pub fn order(&self, count: u8, now: Instant) -> impl Iterator<Item = u8> + use<> {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let (first, end) = match preferred {
            0 => (0, count),
            NONE if self.is_recent(now) => (0, 0),
            NONE => (0, count),
            preferred if preferred < count && self.is_recent(now) => (preferred, count),
            // One connection a second tries the first address again. The others keep theirs.
            _ => {
                self.remember(now + FIRST_AGAIN);
                (0, count)
            }
        };
        std::iter::once(first).filter(move |_| end > 0).chain((0..end).filter(move |&number| number != first))
    }

    /// Records that a connection was begun from address `number`.
    pub fn used(&self, number: u8, now: Instant) {
        let before = self.preferred.load(Ordering::Relaxed);
        if before != number {
            if number > 0 && (before == 0 || before == NONE) {
                self.remember(now + FIRST_AGAIN);
            }
            self.preferred.store(number, Ordering::Relaxed);
        }
    }

    /// Records that all addresses of [`Sources::order`] were tried and none had a port.
    pub fn used_up(&self, now: Instant) {
        self.remember(now + ALL_AGAIN);
        self.preferred.store(NONE, Ordering::Relaxed);
    }

    fn is_recent(&self, now: Instant) -> bool {
        self.until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| now < until)
    }

    fn remember(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(sources: &Sources, now: Instant) -> Vec<u8> {
        sources.order(4, now).collect()
    }

    #[test]
    fn first_address_is_first_again_after_a_second() {
        let (sources, now) = (Sources::default(), Instant::now());
        assert_eq!(source_address(0), Ipv4Addr::LOCALHOST);
        assert_eq!(order(&sources, now), [0, 1, 2, 3]);
        sources.used(0, now);
        assert_eq!(order(&sources, now), [0, 1, 2, 3]);
        sources.used(2, now);
        assert_eq!(order(&sources, now), [2, 0, 1, 3], "the others were looked at");
        let later = now + FIRST_AGAIN;
        assert_eq!(order(&sources, later), [0, 1, 2, 3]);
        assert_eq!(order(&sources, later), [2, 0, 1, 3], "one connection a second looks");
        sources.used(0, later);
        assert_eq!(order(&sources, later), [0, 1, 2, 3]);
    }

    #[test]
    fn used_up_addresses_are_left_alone_for_a_moment() {
        let (sources, now) = (Sources::default(), Instant::now());
        sources.used_up(now);
        assert_eq!(order(&sources, now), [0_u8; 0]);
        let later = now + ALL_AGAIN;
        assert_eq!(order(&sources, later), [0, 1, 2, 3]);
        sources.used(1, later);
        assert_eq!(order(&sources, later), [1, 0, 2, 3]);
    }

    #[test]
    fn smaller_count_never_gives_a_greater_number() {
        let (sources, now) = (Sources::default(), Instant::now());
        sources.used(3, now);
        assert_eq!(sources.order(2, now).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(sources.order(1, now).collect::<Vec<_>>(), [0]);
    }
}
