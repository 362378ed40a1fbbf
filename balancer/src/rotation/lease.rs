//! A connection's hold on the worker it was given to.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Standing, Upstream};

/// Counts a connection on its upstream from the pick until it is dropped.
///
/// It begins as *connecting*; [`Lease::connected`] ends that part. While its client waits for an answer, the lease also
/// counts as waiting. The drop gives back all that the lease counted, so every end of a connection does, a panic too.
#[derive(Debug)]
pub struct Lease {
    upstream: Arc<Upstream>,
    connecting: bool,
    waiting: bool,
    hold: Hold,
}

/// The count that a lease is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// The worker has the connection.
    Active,
    /// The worker has the connection no more, and its end is not known yet.
    Unsettled,
    /// Nothing.
    Settled,
}

impl Lease {
    /// Counts the connection first, then reads the standing. If the upstream is not in rotation, returns `None` and
    /// takes the count back.
    pub fn take(upstream: &Arc<Upstream>) -> Option<Self> {
        upstream.active.fetch_add(1, Ordering::SeqCst);
        upstream.connecting.fetch_add(1, Ordering::SeqCst);
        let lease = Self { upstream: Arc::clone(upstream), connecting: true, waiting: false, hold: Hold::Active };
        (upstream.standing() == Standing::Up).then_some(lease)
    }

    /// Returns the worker that the lease holds.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Records that the worker's endpoint was reached. Calling it again changes nothing.
    pub fn connected(&mut self) {
        if std::mem::take(&mut self.connecting) {
            self.upstream.connecting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Records if the client waits for an answer. A relaxed atomic is enough, since the count only decides which worker
    /// is picked. A call that changes nothing costs nothing.
    pub fn set_waiting(&mut self, waiting: bool) {
        if std::mem::replace(&mut self.waiting, waiting) == waiting {
            return;
        }
        if waiting {
            self.upstream.waiting.fetch_add(1, Ordering::Relaxed);
        } else {
            self.upstream.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Gives the worker back at once: its part of the connection is over. If `settled` is false, [`Upstream::settled`]
    /// still waits for the drop, so that the end can be counted as that worker's.
    pub fn release(&mut self, settled: bool) {
        self.connected();
        self.set_waiting(false);
        if self.hold == Hold::Active {
            self.hold = if settled { Hold::Settled } else { Hold::Unsettled };
            if !settled {
                self.upstream.unsettled.fetch_add(1, Ordering::SeqCst);
            }
            self.leave();
        }
    }

    /// Returns true if the lease was released as settled: the end of the connection was counted as the worker's.
    pub fn is_settled(&self) -> bool {
        self.hold == Hold::Settled
    }

    fn leave(&self) {
        let last = self.upstream.active.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.upstream.standing() != Standing::Up {
            self.upstream.idle.notify_waiters();
        }
    }

    /// Returns true until the endpoint has been reached.
    pub fn is_connecting(&self) -> bool {
        self.connecting
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.connected();
        self.set_waiting(false);
        match self.hold {
            Hold::Active => self.leave(),
            Hold::Unsettled => {
                if self.upstream.unsettled.fetch_sub(1, Ordering::SeqCst) == 1 {
                    self.upstream.idle.notify_waiters();
                }
            }
            Hold::Settled => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::{Endpoint, SlotId};

    fn upstream() -> Arc<Upstream> {
        Arc::new(Upstream::new(SlotId(0), 1, Endpoint::Unix("/nowhere".into()), Arc::default()))
    }

    #[test]
    fn upstream_out_of_rotation_gives_no_lease_and_counts_nothing() {
        let upstream = upstream();
        assert!(Lease::take(&upstream).is_none());
        assert_eq!((upstream.active(), upstream.connecting()), (0, 0));
    }

    #[test]
    fn lease_is_connecting_until_connected_and_active_until_dropped() {
        let upstream = upstream();
        upstream.set_standing(Standing::Up);
        let mut lease = Lease::take(&upstream).unwrap();
        assert_eq!((upstream.active(), upstream.connecting()), (1, 1));
        lease.connected();
        lease.connected();
        assert_eq!((upstream.active(), upstream.connecting()), (1, 0));
        drop(lease);
        assert_eq!((upstream.active(), upstream.connecting()), (0, 0));
    }

    #[test]
    fn waiting_lease_counts_once_until_answered_or_dropped() {
        let upstream = upstream();
        upstream.set_standing(Standing::Up);
        let [mut one, mut other] = [(); 2].map(|()| Lease::take(&upstream).unwrap());
        assert_eq!(upstream.waiting(), 0);
        one.set_waiting(true);
        one.set_waiting(true);
        other.set_waiting(true);
        assert_eq!(upstream.waiting(), 2);
        other.set_waiting(false);
        other.set_waiting(false);
        drop(other);
        assert_eq!(upstream.waiting(), 1);
        // A panic drops it as well.
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = one;
            std::panic::resume_unwind(Box::new("the connection's task panics"));
        }));
        assert!(end.is_err());
        assert_eq!((upstream.waiting(), upstream.active(), upstream.connecting()), (0, 0, 0));
    }

    #[tokio::test]
    async fn released_lease_frees_the_worker_and_settles_when_dropped() {
        let upstream = upstream();
        upstream.set_standing(Standing::Up);
        let [mut known, mut unknown] = [(); 2].map(|()| Lease::take(&upstream).unwrap());
        upstream.set_standing(Standing::Down);
        known.release(true);
        unknown.release(false);
        assert_eq!((upstream.active(), upstream.connecting()), (0, 0));
        upstream.drained().await;
        assert_eq!((known.is_settled(), unknown.is_settled()), (true, false));
        let mut settled = std::pin::pin!(upstream.settled());
        assert!(futures_poll(settled.as_mut()).is_pending());
        drop(unknown);
        settled.await;
        drop(known);
        assert_eq!(upstream.active(), 0);
    }

    fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn dead_upstream_stays_dead() {
        let upstream = upstream();
        upstream.set_standing(Standing::Dead);
        upstream.set_standing(Standing::Up);
        assert_eq!(upstream.standing(), Standing::Dead);
    }

    #[tokio::test]
    async fn drained_waits_for_the_last_lease() {
        let upstream = upstream();
        upstream.set_standing(Standing::Up);
        let lease = Lease::take(&upstream).unwrap();
        upstream.set_standing(Standing::Down);
        let waiting = tokio::spawn({
            let upstream = Arc::clone(&upstream);
            async move { upstream.drained().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(lease);
        waiting.await.unwrap();
    }
}
