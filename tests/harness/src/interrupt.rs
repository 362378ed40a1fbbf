//! Ctrl-C and SIGTERM: once to finish what is under way and tell what there is, twice to break off now. Whatever was
//! started is ended either way.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, code};

/// How often somebody wanted an end.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Counts SIGINT and SIGTERM from now on, on a thread of its own, and says to standard error what follows.
    ///
    /// # Errors
    ///
    /// The operating system gives no thread or no handler.
    pub fn watch() -> Result<Self, Failure> {
        let interrupt = Self::default();
        let asked = Arc::clone(&interrupt.0);
        let failed = |error: std::io::Error| Failure::new(code::FAILED, "cannot watch for Ctrl-C").cause(error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (mut interrupted, mut terminated) = {
            let _here = runtime.enter();
            (signal(SignalKind::interrupt()).map_err(failed)?, signal(SignalKind::terminate()).map_err(failed)?)
        };
        let count = async move {
            loop {
                tokio::select! {
                    Some(()) = interrupted.recv() => {}
                    Some(()) = terminated.recv() => {}
                }
                let end = match asked.fetch_add(1, Ordering::Relaxed) {
                    0 => "after what is under way; again: now",
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

    /// Finish what is under way, and begin nothing more.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// As a signal would.
    #[cfg(test)]
    pub(crate) fn ask(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Break off now.
    pub fn is_urgent(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 1
    }
}
