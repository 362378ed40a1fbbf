//! A connection's hold on the worker it was given to.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Standing, Upstream};

/// Counts a connection on its upstream from the pick until it is dropped.
///
/// It begins as *connecting*; [`Lease::connected`] ends that part.
#[derive(Debug)]
pub struct Lease {
    upstream: Arc<Upstream>,
    connecting: bool,
}

impl Lease {
    /// Counts first, then reads the standing; `None` if the upstream is not in rotation, and then nothing is counted.
    pub fn take(upstream: &Arc<Upstream>) -> Option<Self> {
        upstream.active.fetch_add(1, Ordering::SeqCst);
        upstream.connecting.fetch_add(1, Ordering::SeqCst);
        let lease = Self { upstream: Arc::clone(upstream), connecting: true };
        (upstream.standing() == Standing::Up).then_some(lease)
    }

    /// The worker it holds.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Says that the worker's endpoint was reached. Calling it again changes nothing.
    pub fn connected(&mut self) {
        if std::mem::take(&mut self.connecting) {
            self.upstream.connecting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether the endpoint has not been reached yet.
    pub fn is_connecting(&self) -> bool {
        self.connecting
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.connected();
        let last = self.upstream.active.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.upstream.standing() != Standing::Up {
            self.upstream.idle.notify_waiters();
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
    fn an_upstream_out_of_rotation_gives_no_lease_and_counts_nothing() {
        let upstream = upstream();
        assert!(Lease::take(&upstream).is_none());
        assert_eq!((upstream.active(), upstream.connecting()), (0, 0));
    }

    #[test]
    fn a_lease_is_active_until_dropped_and_connecting_until_connected() {
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
    fn the_dead_do_not_come_back() {
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
