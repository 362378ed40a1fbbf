//! Waiting that an interrupt ends: asked for once the drill ends after the present fault, twice at once. Everything
//! that was started is ended either way, by the code that started it. A command that was given, such as a reload, is
//! given up then; the start of a target (half a minute at most) is waited for.

use std::time::Duration;

use tokio::time::Instant;

use crate::interrupt::Interrupt;

/// The pause before somebody looks again.
const LOOK: Duration = Duration::from_millis(5);

/// Waits, as long as nobody wants the end at once.
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

    /// No further fault is to be run.
    pub(crate) fn is_asked(&self) -> bool {
        self.interrupt.is_asked()
    }

    /// Everything is to end now.
    pub(crate) fn is_urgent(&self) -> bool {
        self.interrupt.is_urgent()
    }

    /// Sleeps that long.
    ///
    /// # Errors
    ///
    /// Interrupted meanwhile.
    pub(crate) fn pause(&self, length: Duration) -> Result<(), Aborted> {
        self.wait(length, || None::<()>).map(drop)
    }

    /// Looks again and again until there is something, at most that long; at least once.
    ///
    /// # Errors
    ///
    /// Interrupted meanwhile.
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
