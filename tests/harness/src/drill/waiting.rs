//! Waits that an interrupt ends: after the first one the drill ends with the present fault, after a second one at once.
//! Either way the code that started a process also ends it. A second interrupt also gives up a running command, such as
//! a reload; the start of a target (half a minute at most) is waited for.

use std::time::Duration;

use tokio::time::Instant;

use crate::interrupt::Interrupt;

/// The pause between two looks at a condition.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until something happens, or until the user wants the end at once.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    interrupt: Interrupt,
}

/// The user wants the end at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted;

impl Waiting {
    pub(crate) fn new(interrupt: Interrupt) -> Self {
        Self { interrupt }
    }

    /// Returns true if no further fault should be run.
    pub(crate) fn is_asked(&self) -> bool {
        self.interrupt.is_asked()
    }

    /// Returns true if everything should end now.
    pub(crate) fn is_urgent(&self) -> bool {
        self.interrupt.is_urgent()
    }

    /// Sleeps that long.
    ///
    /// # Errors
    ///
    /// The user interrupted it.
    pub(crate) fn pause(&self, length: Duration) -> Result<(), Aborted> {
        self.wait(length, || None::<()>).map(drop)
    }

    /// Checks `look` again and again until it returns something, for at most that time; at least once.
    ///
    /// # Errors
    ///
    /// The user interrupted it.
    pub(crate) fn wait<T>(
        &self,
        patience: Duration,
        mut look: impl FnMut() -> Option<T>,
    ) -> Result<Option<T>, Aborted> {
        let begun = Instant::now();
        loop {
            if self.is_urgent() {
                return Err(Aborted);
            }
            if let Some(found) = look() {
                return Ok(Some(found));
            }
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            std::thread::sleep(left.min(LOOK));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn once_lets_a_fault_go_on_and_twice_ends_every_wait() {
        let waiting = Waiting::default();
        waiting.interrupt.ask();
        let mut looks = 0;
        let found = waiting.wait(LONG, || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!((found, waiting.is_asked()), (Ok(Some(3)), true));
        assert_eq!(waiting.wait(Duration::ZERO, || None::<()>), Ok(None));
        waiting.interrupt.ask();
        assert_eq!(waiting.pause(LONG), Err(Aborted));
    }
}
