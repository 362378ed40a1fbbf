//! A shard: one pool on one data thread, and the permits of its open connections.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::per_source::{SourceCounts, SourcePermit};
use super::permits::ConnectionLimit;
use crate::pool::Pool;
use crate::rotation::{SlotId, Upstream};
use crate::stats::{AcceptLimit, ConnectError};

/// An event that a data thread reports to the supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamReport {
    /// A connect to this worker failed and no client byte was given to it; another worker is tried. Sent once for a
    /// connection and a process, however often the connection tries it.
    ConnectFailed {
        /// The pool, by its index in the list given to [`super::DataThreads::start`].
        pool: usize,
        /// The slot in the pool.
        slot: SlotId,
        /// The process in that slot.
        incarnation: u64,
        /// The reason.
        error: ConnectError,
    },
}

/// Passes reports on to the supervisors, on the data thread itself: it must not block.
#[derive(Clone)]
pub(super) struct ReportUpstream(Arc<dyn Fn(UpstreamReport) + Send + Sync>);

impl ReportUpstream {
    pub(super) fn new(report: impl Fn(UpstreamReport) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }
}

impl std::fmt::Debug for ReportUpstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReportUpstream").finish_non_exhaustive()
    }
}

/// One pool on one data thread.
pub(super) struct Shard {
    pub(super) pool: Arc<Pool>,
    /// The pool's index in the list of pools.
    pub(super) index: u32,
    pub(super) thread: usize,
    /// The pool's bound and the master's.
    pub(super) limits: [Arc<ConnectionLimit>; 2],
    /// The pool's connections by source address, where that is bounded.
    pub(super) sources: Arc<SourceCounts>,
    /// The source of the master's limit.
    pub(super) set_by: AcceptLimit,
    pub(super) counters: Arc<DrainCounters>,
    pub(super) report: ReportUpstream,
    /// Cancelled when what is open is to end at once.
    pub(super) stop: CancellationToken,
    /// The ports that the kernel gives to outgoing connections. Only a connect to one of them can reach itself.
    pub(super) ephemeral: RangeInclusive<u16>,
}

/// The counters of a drain, over all threads.
#[derive(Debug, Default)]
pub(super) struct DrainCounters {
    /// Accept loops running.
    pub(super) loops: AtomicUsize,
    /// Connections open.
    pub(super) open: AtomicUsize,
    /// Connections ended since start.
    pub(super) ended: AtomicU64,
    /// Those of them that awaited no response and were closed since something drained.
    pub(super) closed: AtomicU64,
    /// Those of them that were cut.
    pub(super) cut: AtomicU64,
    changed: Notify,
}

impl DrainCounters {
    /// Counts one less in `number`, and wakes the tasks that wait for zero.
    pub(super) fn decrement(&self, number: &AtomicUsize) {
        if number.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.changed.notify_waiters();
        }
    }

    /// Resolves when no accept loop runs. Cancel safe.
    pub(super) async fn closed(&self) {
        self.until(|| self.loops.load(Ordering::SeqCst) == 0).await;
    }

    /// Resolves when no accept loop runs and no connection is open. Cancel safe.
    pub(super) async fn idle(&self) {
        self.until(|| self.loops.load(Ordering::SeqCst) == 0 && self.open.load(Ordering::SeqCst) == 0).await;
    }

    async fn until(&self, is_so: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if is_so() {
                return;
            }
            changed.await;
        }
    }
}

/// The right to one open connection, taken before accept and given back when dropped.
pub(super) struct ConnectionPermit {
    shard: Arc<Shard>,
    source: Option<Box<SourcePermit>>,
}

impl ConnectionPermit {
    /// Takes a permit. Returns `None` while the pool or the master is at its limit.
    pub(super) fn take(shard: &Arc<Shard>) -> Option<Self> {
        let [pool, all] = &shard.limits;
        if !pool.try_take() {
            return None;
        }
        if !all.try_take() {
            pool.give_back();
            return None;
        }
        shard.counters.open.fetch_add(1, Ordering::SeqCst);
        Some(Self { shard: Arc::clone(shard), source: None })
    }

    pub(super) fn shard(&self) -> &Shard {
        &self.shard
    }

    /// Counts the connection as one of its client's address, where the pool bounds those. Returns false if that address
    /// has too many.
    pub(super) fn admits(&mut self, client: Option<IpAddr>) -> bool {
        let most = self.shard.pool.config().max_connections_per_source;
        let (Some(most), Some(client)) = (most, client) else { return true };
        self.source = self.shard.sources.take(client, most).map(Box::new);
        self.source.is_some()
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.source = None;
        self.shard.limits.iter().for_each(|limit| limit.give_back());
        self.shard.counters.decrement(&self.shard.counters.open);
    }
}

impl Shard {
    /// Tells the supervisor that a connect to this worker failed.
    pub(super) fn report_failure(&self, upstream: &Upstream, error: ConnectError) {
        let (pool, slot, incarnation) = (self.index as usize, upstream.slot, upstream.incarnation);
        (self.report.0)(UpstreamReport::ConnectFailed { pool, slot, incarnation, error });
    }

    /// Returns true if open connections must end at once.
    pub(super) fn is_cut(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Resolves when open connections must end at once. Cancel safe.
    pub(super) async fn cut(&self) {
        self.stop.cancelled().await;
    }

    /// Returns the limit that leaves no permit; the master's if both leave none.
    pub(super) fn limit(&self) -> AcceptLimit {
        let [_, all] = &self.limits;
        if all.has_room() { AcceptLimit::MaxConnections } else { self.set_by }
    }

    /// Returns the pool whose connections count at the limit that is reached; `None` if those of all pools count.
    pub(super) fn limited_pool(&self) -> Option<u32> {
        let [_, all] = &self.limits;
        all.has_room().then_some(self.index)
    }

    /// Resolves when a permit may be free. Cancel safe.
    pub(super) async fn room(&self) {
        let [pool, all] = &self.limits;
        loop {
            let (a, b) = (pool.freed(), all.freed());
            tokio::pin!(a, b);
            a.as_mut().enable();
            b.as_mut().enable();
            if pool.has_room() && all.has_room() {
                return;
            }
            tokio::select! {
                () = a => {}
                () = b => {}
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::{PoolConfig, Program};

    /// Makes the shard of a pool without listeners, with room for 100 connections.
    pub(in crate::dispatch) fn shard() -> Arc<Shard> {
        let pool = Pool::new(PoolConfig::new("test", Program::Demo), 1, 1, Vec::new());
        Arc::new(Shard {
            pool: Arc::new(pool),
            index: 0,
            thread: 0,
            limits: [(); 2].map(|()| Arc::new(ConnectionLimit::new(100))),
            sources: Arc::default(),
            set_by: AcceptLimit::MasterMaxConnections,
            counters: Arc::default(),
            report: ReportUpstream::new(drop),
            stop: CancellationToken::new(),
            ephemeral: 0..=0,
        })
    }
}
