//! A test of many cases that mostly waits.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of cases that run at the same time: they wait for timeouts of their own masters, and a small machine
/// has two cores.
const AT_ONCE: usize = 4;

/// Prints at a failure which case it was.
struct Named<'a, C: Debug>(&'a C);

impl<C: Debug> Drop for Named<'_, C> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the case is {:?} ---", self.0);
        }
    }
}

/// Runs `check` for each of the cases, several at a time; every one starts its own master.
pub fn for_each<C: Debug + Sync>(cases: &[C], check: impl Fn(&C) + Sync) {
    let next = AtomicUsize::new(0);
    let run = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let named = Named(case);
            check(case);
            drop(named);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cases.len().min(AT_ONCE)).map(|_| scope.spawn(run)).collect();
        for thread in threads {
            if let Err(failure) = thread.join() {
                std::panic::resume_unwind(failure);
            }
        }
    });
}
