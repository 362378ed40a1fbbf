//! Ctrl-C: once ends the drill after the present fault, twice at once. Everything that was started is ended either way, by
//! those who started it; an order that was given, such as a reload, is waited for.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// How long is slept before somebody looks again whether it was interrupted.
const LOOK: Duration = Duration::from_millis(5);

/// How often the user has asked for the end. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicUsize>);

/// The user wants the end at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted;

impl Interrupt {
    /// Listens to SIGINT and SIGTERM from now on, for the rest of the process's life.
    ///
    /// # Errors
    ///
    /// There is no thread or descriptor left for it.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let interrupt = Self::default();
        let theirs = interrupt.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let guard = runtime.enter();
        let (int, term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        drop(guard);
        let body = move || runtime.block_on(attend(int, term, theirs));
        std::thread::Builder::new().name("interrupt".to_owned()).spawn(body)?;
        Ok(interrupt)
    }

    pub(crate) fn add(&self, times: usize) {
        self.0.fetch_add(times, Ordering::Relaxed);
    }

    /// No further fault is to be played.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// The present one is to be broken off.
    pub(crate) fn is_abort(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 1
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
            if self.is_abort() {
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

/// Counts, and says what it means.
async fn attend(mut int: Signal, mut term: Signal, interrupt: Interrupt) {
    loop {
        tokio::select! {
            _ = int.recv() => interrupt.add(1),
            // Who sends it does not ask twice.
            _ = term.recv() => interrupt.add(2),
        }
        let end = if interrupt.is_abort() { "now" } else { "after this fault; again: now" };
        let _ = writeln!(std::io::stderr(), "interrupted: ending {end}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn once_lets_a_fault_go_on_and_twice_ends_every_wait() {
        let interrupt = Interrupt::default();
        interrupt.add(1);
        assert!(interrupt.is_asked() && !interrupt.is_abort());
        let mut looks = 0;
        let found = interrupt.wait(LONG, || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, Ok(Some(3)));
        assert_eq!(interrupt.wait(Duration::ZERO, || None::<()>), Ok(None));
        interrupt.add(1);
        assert_eq!(interrupt.pause(LONG), Err(Aborted));
    }
}
