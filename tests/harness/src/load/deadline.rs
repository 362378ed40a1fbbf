//! The deadline of a request. One timer serves all requests of a client: it is set again only when it has fired and not
//! for each request, since nearly all requests end long before.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// A deadline that only moves to later times.
#[derive(Debug)]
pub(super) struct Deadline {
    at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    /// Returns a deadline that has passed already.
    pub(super) fn new() -> Self {
        Self { at: Instant::now(), timer: Box::pin(sleep(Duration::ZERO)) }
    }

    /// Moves it to that time.
    pub(super) fn set(&mut self, at: Instant) {
        self.at = at;
    }

    /// Returns the result of `work`; `None` if the deadline comes first. A result that is ready counts even if it is
    /// late.
    pub(super) async fn guard<F: Future>(&mut self, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll(context).map(|()| None),
        })
        .await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= self.at {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.at);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[test]
    fn deadline_ends_late_work_and_nothing_early() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut deadline = Deadline::new();
            for millis in [5, 30, 1] {
                let start = Instant::now();
                let wait = Duration::from_millis(millis);
                deadline.set(start + wait);
                assert_eq!(deadline.guard(async { 7 }).await, Some(7));
                assert_eq!(deadline.guard(pending::<()>()).await, None);
                assert!(start.elapsed() >= wait);
            }
        });
    }
}
