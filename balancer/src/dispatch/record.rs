//! The record of one connection: it counts the beginning and, exactly once, the end.
//!
//! Relayed and handed connections hold one from accept to close. It keeps the permit, and with it the count of the
//! client's address, so both are given back when the record is dropped: after the sockets and the lease.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::shard::{ConnectionPermit, Shard};
use crate::rotation::Lease;
use crate::stats::Outcome;

/// The record of one connection. Whatever ends the connection, its owner calls [`ConnectionRecord::count`] when it is
/// dropped, while it still holds its lease; a record that was not counted by then counts itself as one without a worker.
pub(super) struct ConnectionRecord {
    accepted: Instant,
    /// The end, once it is known.
    outcome: Option<Outcome>,
    /// True if it was counted as a connection of its worker's slot.
    is_given: bool,
    /// True if the end was counted.
    is_counted: bool,
    permit: ConnectionPermit,
}

impl ConnectionRecord {
    /// Counts one more open connection, accepted at `accepted`.
    pub(super) fn begin(permit: ConnectionPermit, accepted: Instant) -> Self {
        permit.shard().pool.stats.active.add(1);
        Self { accepted, outcome: None, is_given: false, is_counted: false, permit }
    }

    /// Returns the shard that accepted the connection.
    pub(super) fn shard(&self) -> &Shard {
        self.permit.shard()
    }

    /// Counts that the worker was reached, `took` after it was asked. `was_tried` is true if another worker was tried
    /// before; `client` is called where a client can belong to another worker.
    pub(super) fn reached(
        &self,
        lease: &mut Lease,
        took: Duration,
        was_tried: bool,
        client: impl FnOnce() -> Option<IpAddr>,
    ) {
        lease.connected();
        let shard = self.shard();
        shard.pool.count_displaced(lease.upstream().slot, was_tried, client);
        shard.pool.stats.connect.of_thread(shard.thread).record(took);
    }

    /// Counts it as a connection of its worker's slot. Returns false if that was done before.
    pub(super) fn given(&mut self, lease: &Lease) -> bool {
        let is_first = !std::mem::replace(&mut self.is_given, true);
        if is_first {
            lease.upstream().stats.connections.increment();
        }
        is_first
    }

    /// Counts that a dead worker had read nothing of it: the next worker's slot counts it, too.
    pub(super) fn recovered(&mut self) {
        self.is_given = false;
        self.shard().pool.stats.recovered.increment();
    }

    /// Records the time of the worker's first byte.
    pub(super) fn answered(&self) {
        let shard = self.shard();
        shard.pool.stats.first_byte.of_thread(shard.thread).record(self.accepted.elapsed());
    }

    /// Sets the outcome of the connection. A later call replaces it; the record counts it when it is dropped.
    pub(super) fn end(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }

    /// Returns true once the end is known.
    pub(super) fn has_ended(&self) -> bool {
        self.outcome.is_some()
    }

    /// Counts the end, the first time that it is called. It is the end of the worker that `lease` holds, if that was
    /// reached. A connection whose end is not known was cut: its task was dropped.
    pub(super) fn count(&mut self, lease: Option<&Lease>) {
        if std::mem::replace(&mut self.is_counted, true) {
            return;
        }
        let outcome = self.outcome.unwrap_or(Outcome::Cut);
        let lease = lease.filter(|lease| !lease.is_connecting());
        if let Some(lease) = lease {
            self.given(lease);
        }
        let shard = self.permit.shard();
        let (stats, life) = (&shard.pool.stats, self.accepted.elapsed());
        match lease {
            Some(lease) => {
                lease.upstream().stats.closes[outcome as usize].increment();
                if !lease.is_settled() {
                    lease.upstream().closes[outcome as usize].increment();
                }
            }
            None => stats.unassigned[outcome as usize].increment(),
        }
        if outcome != Outcome::HandedOver {
            stats.duration.of_thread(shard.thread).record(life);
        }
        stats.active.add(-1);
        shard.counters.ended.fetch_add(1, Ordering::SeqCst);
        match outcome {
            Outcome::Cut => drop(shard.counters.cut.fetch_add(1, Ordering::SeqCst)),
            Outcome::Closed => drop(shard.counters.closed.fetch_add(1, Ordering::SeqCst)),
            _ => {}
        }
        let slot = lease.map(|lease| lease.upstream().slot.0);
        debug!(pool = %shard.pool.name, slot, outcome = outcome.name(), ?life, "connection ended");
    }
}

impl Drop for ConnectionRecord {
    fn drop(&mut self) {
        self.count(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::Arc;

    use crate::dispatch::shard::tests::shard;
    use crate::rotation::{Endpoint, SlotId, Standing, Upstream};
    use crate::stats::Counter;

    fn record(shard: &Arc<Shard>) -> ConnectionRecord {
        ConnectionRecord::begin(ConnectionPermit::take(shard).unwrap(), Instant::now())
    }

    fn lease() -> Lease {
        let upstream = Arc::new(Upstream::new(SlotId(0), 1, Endpoint::Channel, Arc::default()));
        upstream.set_standing(Standing::Up);
        Lease::take(&upstream).unwrap()
    }

    fn sum(counters: &[Counter]) -> u64 {
        counters.iter().map(Counter::get).sum()
    }

    /// Returns (open by the gauge, open by permits, ended, durations).
    fn counts(shard: &Shard) -> (i64, usize, u64, u64) {
        let stats = &shard.pool.stats;
        let (open, ended) = (shard.counters.open.load(Ordering::SeqCst), shard.counters.ended.load(Ordering::SeqCst));
        (stats.active.get(), open, ended, stats.duration.snapshot().count)
    }

    #[test]
    fn end_is_counted_once_for_the_worker_that_was_reached() {
        let (shard, mut lease) = (shard(), lease());
        let mut record = record(&shard);
        assert_eq!(counts(&shard), (1, 1, 0, 0));
        record.reached(&mut lease, Duration::ZERO, false, || None);
        assert!(record.given(&lease) && !record.given(&lease));
        record.end(Outcome::Finished);
        record.count(Some(&lease));
        record.count(Some(&lease));
        drop(record);
        assert_eq!(counts(&shard), (0, 0, 1, 1));
        let upstream = lease.upstream();
        assert_eq!((upstream.stats.connections.get(), sum(&upstream.stats.closes), sum(&upstream.closes)), (1, 1, 1));
        assert_eq!(upstream.closes[Outcome::Finished as usize].get(), 1);
        assert_eq!(sum(&shard.pool.stats.unassigned), 0);
    }

    #[test]
    fn dropped_record_without_an_end_counts_as_cut() {
        let shard = shard();
        drop(record(&shard));
        assert_eq!(counts(&shard), (0, 0, 1, 1));
        assert_eq!(shard.pool.stats.unassigned[Outcome::Cut as usize].get(), 1);
        assert_eq!(sum(&shard.pool.stats.unassigned), 1);
        assert_eq!(shard.counters.cut.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn worker_that_was_not_reached_gets_no_end() {
        let (shard, lease) = (shard(), lease());
        let mut record = record(&shard);
        record.end(Outcome::Unreachable);
        record.count(Some(&lease));
        assert_eq!(shard.pool.stats.unassigned[Outcome::Unreachable as usize].get(), 1);
        let upstream = lease.upstream();
        assert_eq!((upstream.stats.connections.get(), sum(&upstream.stats.closes)), (0, 0));
    }

    #[test]
    fn settled_lease_counts_for_its_slot_alone() {
        let (shard, mut lease) = (shard(), lease());
        lease.connected();
        lease.release(true);
        let mut record = record(&shard);
        record.end(Outcome::Closed);
        record.count(Some(&lease));
        let upstream = lease.upstream();
        assert_eq!((sum(&upstream.stats.closes), sum(&upstream.closes)), (1, 0), "its own end was counted before");
        assert_eq!(shard.counters.closed.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn recovered_connection_counts_for_both_workers() {
        let (shard, [first, second]) = (shard(), [(); 2].map(|()| lease()));
        let mut record = record(&shard);
        assert!(record.given(&first));
        record.recovered();
        assert!(record.given(&second));
        assert_eq!(shard.pool.stats.recovered.get(), 1);
        assert_eq!([&first, &second].map(|lease| lease.upstream().stats.connections.get()), [1, 1]);
    }

    #[test]
    fn handed_over_connection_has_no_duration() {
        let (shard, mut lease) = (shard(), lease());
        lease.connected();
        let mut record = record(&shard);
        record.end(Outcome::HandedOver);
        record.count(Some(&lease));
        drop(record);
        assert_eq!(counts(&shard), (0, 0, 1, 0));
    }
}
