//! Ctrl-C and SIGTERM: the first one finishes what is under way and prints the results so far, the second one aborts. A
//! closed terminal aborts at once. Every process that was started is ended in any case.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, code};

/// Counts interrupts; clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Starts to count SIGINT, SIGTERM and (twice) SIGHUP, on a thread of its own, and prints on standard error what
    /// will happen next.
    ///
    /// # Errors
    ///
    /// The operating system provides no thread or no handler.
    pub fn watch() -> Result<Self, Failure> {
        let interrupt = Self::default();
        let asked = Arc::clone(&interrupt.0);
        let failed = |error: std::io::Error| Failure::new(code::FAILED, "cannot watch for Ctrl-C").cause(error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (mut interrupted, mut terminated, mut hung_up) = {
            let _here = runtime.enter();
            let on = |kind: SignalKind| signal(kind).map_err(failed);
            (on(SignalKind::interrupt())?, on(SignalKind::terminate())?, on(SignalKind::hangup())?)
        };
        let count = async move {
            loop {
                tokio::select! {
                    Some(()) = interrupted.recv() => {}
                    Some(()) = terminated.recv() => {}
                    // The terminal is gone, so no user waits for what is under way.
                    Some(()) = hung_up.recv() => drop(asked.fetch_add(1, Ordering::Relaxed)),
                }
                let end = match asked.fetch_add(1, Ordering::Relaxed) {
                    0 => "after the present work (again to stop at once)",
                    _ => "now",
                };
                // Standard error may be closed.
                let _ = writeln!(std::io::stderr(), "interrupted: ending {end}");
            }
        };
        let watch = std::thread::Builder::new().name(String::from("interrupt"));
        watch.spawn(move || runtime.block_on(count)).map_err(failed)?;
        Ok(interrupt)
    }

    /// Returns true if it should finish what is under way, and begin nothing more.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Acts like a signal.
    #[cfg(test)]
    pub(crate) fn ask(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns true if it should abort now.
    pub fn is_urgent(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 1
    }
}
