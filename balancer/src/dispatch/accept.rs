//! The accept loop: one for each public listener on each data thread.
//!
//! It waits until the listener has something, takes a permit and *then* accepts. So no idle loop sits on a permit that
//! another needs, and what is over the limit stays in the kernel's backlog.

mod batch;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::shard::{DrainCounters, Shard};
use crate::config::Address;
use crate::mode::Inherits;
use crate::net::listeners::Listener;
use crate::net::open_connections;
use crate::net::stream::Family;
use crate::pool::Limited;
use crate::rotation::AcceptState;
use crate::stats::{AcceptLimit, Rejection};
use batch::{AcceptAction, BatchResult};

pub(super) use batch::Accepted;

/// The interval after which workers without room for another connection are checked again.
const CROWDED: Duration = Duration::from_millis(5);
/// The interval after which another connection is asked to make room, if the last one could not.
const RECLAIM: Duration = Duration::from_millis(50);
/// The pause in accepting after descriptors or memory have run out.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts from one listener for one shard.
pub(super) struct AcceptLoop {
    shard: Arc<Shard>,
    listener: AsyncFd<Listener>,
    family: Family,
    stop: CancellationToken,
    handle: ListenerHandle,
    is_handed_over: bool,
    /// Dropped last: the listener is closed when a drain hears of it.
    _running: Running,
}

/// The number of a listener, and the signal to close it, which its loops share.
#[derive(Clone)]
pub(super) struct ListenerHandle {
    /// Its number among the pool's public listeners; all that the configuration name have the same.
    pub(super) number: u32,
    /// Cancelled when the listener is to be emptied and closed.
    pub(super) retired: CancellationToken,
    /// Reports that the listener is closed, when the last loop drops it.
    pub(super) _closed: Arc<DropGuard>,
}

impl AcceptLoop {
    /// Registers the listener with the current runtime. `stop` ends the loop at once; `handle` ends it when the queue
    /// is empty.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch the listener.
    pub(super) fn new(
        shard: Arc<Shard>,
        listener: Listener,
        stop: CancellationToken,
        handle: ListenerHandle,
    ) -> io::Result<Self> {
        let running = Running::begin(&shard);
        let family = match listener.address() {
            Address::Tcp(_) | Address::Passed(_) => Family::Tcp,
            Address::Unix(_) => Family::Unix,
        };
        // tokio's own listeners register each accepted socket at once. Here its first bytes are read before that.
        #[expect(deprecated, reason = "its successor is unsafe for types that change their descriptor; ours keeps one")]
        let listener = AsyncFd::with_interest(listener, tokio::io::Interest::READABLE)?;
        let is_handed_over = shard.pool.mode.inherits() == Inherits::Channel;
        Ok(Self { shard, listener, family, stop, handle, is_handed_over, _running: running })
    }

    /// Accepts until the state is `Closing` or the listener is retired, and the queue is empty, or until it is stopped;
    /// then closes the listener. While the listeners hold, a retired one with clients in its queue waits, too: its
    /// clients wait for a worker.
    pub(super) async fn run(self) {
        let mut accept_state = self.shard.pool.rotation.accept_state();
        let mut last = BatchResult::More;
        let mut limited: Option<Limited> = None;
        loop {
            let now = *accept_state.borrow_and_update();
            let action = match now {
                AcceptState::Open => Some(AcceptAction::Serve),
                AcceptState::Reject => Some(AcceptAction::Reject(Rejection::NoWorker)),
                AcceptState::Hold => None,
                AcceptState::Closing => return self.close().await,
            };
            let is_retired = self.handle.retired.is_cancelled();
            if is_retired {
                self.listener.get_ref().unlink();
                // No client waits, and no more shall come. A worker may never be ready, so the listener is closed now.
                if action.is_none() && !self.listener.get_ref().has_queue() {
                    return;
                }
            }
            let is_full = last == BatchResult::Full && action == Some(AcceptAction::Serve);
            last = tokio::select! {
                biased;
                () = self.stop.cancelled() => return self.reject_rest(),
                // Never an error: the pool, which holds the sender, outlives its loops.
                _ = accept_state.changed() => BatchResult::More,
                () = self.handle.retired.cancelled(), if !is_retired => BatchResult::More,
                () = self.shard.room(), if is_full => BatchResult::More,
                () = self.client_waits(), if is_full && limited.is_none() => BatchResult::Full,
                () = sleep(RECLAIM), if is_full && limited.is_some() => BatchResult::Full,
                result = self.next_batch(action.unwrap_or(AcceptAction::Serve), is_retired), if action.is_some() && !is_full => result,
            };
            if last == BatchResult::Full && self.listener.get_ref().has_queue() {
                // Silent clients do not lock the others out.
                open_connections::reclaim(self.shard.limited_pool());
            }
            let limit = match last {
                BatchResult::Exhausted => Some(AcceptLimit::Exhausted),
                BatchResult::Full if self.listener.get_ref().has_queue() => Some(self.shard.limit()),
                // One client may have taken the place of another that left. The next batch shows if the limit still
                // holds.
                BatchResult::More if action == Some(AcceptAction::Serve) => {
                    limited.as_ref().map(|limited| limited.limit)
                }
                _ => None,
            };
            if limit != limited.as_ref().map(|limited| limited.limit) {
                // The new wait begins before the old one ends.
                limited = limit.map(|limit| Limited::begin(&self.shard.pool, limit));
            }
            match last {
                BatchResult::Empty if is_retired => return,
                BatchResult::More => tokio::task::yield_now().await,
                BatchResult::Exhausted => sleep(PAUSE).await,
                BatchResult::Crowded => sleep(CROWDED).await,
                BatchResult::Empty | BatchResult::Full => {}
            }
        }
    }

    /// Resolves when a client waits in the queue. Cancel safe.
    async fn client_waits(&self) {
        while let Ok(mut ready) = self.listener.readable().await {
            if self.listener.get_ref().has_queue() {
                return;
            }
            ready.clear_ready();
        }
    }

    /// Serves the waiting clients, then closes. Clients that cannot be served, since no worker is left, are rejected at
    /// once.
    async fn close(self) {
        // From now on no client finds a unix listener. A TCP port takes clients until it is closed.
        self.listener.get_ref().unlink();
        while !self.stop.is_cancelled() {
            let is_empty = self.shard.pool.rotation.snapshot().upstreams.is_empty();
            let result =
                self.batch(if is_empty { AcceptAction::Reject(Rejection::Shutdown) } else { AcceptAction::Serve });
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = async {
                    match result {
                        BatchResult::Empty => {}
                        BatchResult::More => tokio::task::yield_now().await,
                        BatchResult::Full => self.shard.room().await,
                        BatchResult::Crowded => sleep(CROWDED).await,
                        BatchResult::Exhausted => sleep(PAUSE).await,
                    }
                } => {}
            }
            if result == BatchResult::Empty {
                return;
            }
        }
        self.reject_rest();
    }

    fn reject_rest(&self) {
        while self.batch(AcceptAction::Reject(Rejection::Shutdown)) == BatchResult::More {}
    }
}

/// Counts a loop as running until the guard is dropped.
struct Running(Arc<DrainCounters>);

impl Running {
    fn begin(shard: &Shard) -> Self {
        shard.counters.loops.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&shard.counters))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.decrement(&self.0.loops);
    }
}
