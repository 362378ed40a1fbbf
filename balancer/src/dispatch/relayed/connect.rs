//! Finding a worker for a connection: pick, connect, and on a failure the next one that was not tried.
//!
//! As long as no client byte was written to a worker, another may be tried; all tries together have one deadline. A
//! PROXY header is no client byte: a worker that took it and then broke off did nothing that the client asked for, so
//! the next one is told the same and nobody sees the difference.

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::{Connection, Stage};
use crate::dispatch::search::UpstreamSearch;
use crate::net::connect::{self, Begun};
use crate::net::open_connections::{Owner, Scope, WakeReason};
use crate::net::stream::Stream;
use crate::rotation::{Lease, Rotation, Standing, Upstream};
use crate::stats::{ConnectError, Outcome};
use crate::strategy::PickContext;

/// A connection to a worker that was older than this had been one.
const SETTLED: Duration = Duration::from_secs(1);

/// A search that a poll drives: it wakes the connection when the rotation changes.
pub(super) struct PolledSearch {
    search: UpstreamSearch,
    /// The client's own worker has a full queue: it is waited for.
    waits_for_own: bool,
    changed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl PolledSearch {
    pub(super) fn new(rotation: &Rotation) -> Box<Self> {
        let (search, changed) = (UpstreamSearch::new(Instant::now()), next_change(rotation));
        Box::new(Self { search, waits_for_own: false, changed })
    }

    fn try_all_again(&mut self) {
        self.search.try_all_again();
        self.waits_for_own = false;
    }
}

fn next_change(rotation: &Rotation) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let mut changes = rotation.changes();
    Box::pin(async move {
        if changes.changed().await.is_err() {
            pending::<()>().await;
        }
    })
}

impl Connection {
    /// Looks for a worker that was not tried yet, and waits for a change if there is none.
    pub(super) fn poll_search(&mut self, cx: &mut Context<'_>, reason: Option<WakeReason>) -> Poll<()> {
        if matches!(reason, Some(WakeReason::Abort(_))) {
            self.give_up(Outcome::Cut);
            return Poll::Ready(());
        }
        if reason == Some(WakeReason::Reclaim) && self.is_reclaimed() {
            return Poll::Ready(());
        }
        let pool = Arc::clone(&self.shard().pool);
        // The wait for a change begins before the pick, so that no change falls between.
        let polled = self.search.get_or_insert_with(|| PolledSearch::new(&pool.rotation));
        if reason == Some(WakeReason::TimedOut) {
            polled.try_all_again();
        }
        loop {
            let polled = self.search.get_or_insert_with(|| PolledSearch::new(&pool.rotation));
            let PolledSearch { search, waits_for_own, changed } = &mut **polled;
            if pool.rotation.is_held() {
                search.restart(Instant::now());
            }
            let left = search.left(Instant::now(), pool.config().dispatch_timeout);
            if left.is_zero() {
                let outcome = search.outcome();
                self.give_up(outcome);
                return Poll::Ready(());
            }
            let context = PickContext { client: self.client.peer_ip(), key: None, tried: search.tried() };
            let is_pausing = *waits_for_own;
            let lease = (!is_pausing).then(|| pool.picker.pick(&pool.rotation, &context)).flatten();
            if let Some(lease) = lease {
                self.try_connect(lease);
                if self.stage != Stage::Searching {
                    return Poll::Ready(());
                }
            } else if pool.rotation.is_stopped() && pool.rotation.snapshot().upstreams.is_empty() {
                // It came before the stop, or it would have been rejected.
                self.give_up(Outcome::Cut);
                return Poll::Ready(());
            } else if changed.as_mut().poll(cx).is_ready() {
                *changed = next_change(&pool.rotation);
                polled.try_all_again();
            } else {
                self.registration.due_in(search.pause(left, is_pausing));
                return Poll::Pending;
            }
        }
    }

    fn try_connect(&mut self, lease: Lease) {
        if let Some(polled) = &mut self.search {
            polled.search.count_retry();
        }
        match connect::begin(lease.upstream(), &self.shard().pool, &self.shard().ephemeral) {
            Ok(begun) => self.adopt_socket(lease, begun),
            Err(error) => self.failed(lease, error),
        }
    }

    /// Sends what the worker is told first and what the client has said, and hands the socket to the runtime.
    pub(super) fn adopt_socket(&mut self, mut lease: Lease, begun: Begun) {
        let mut is_reached = begun.is_done;
        if !self.relay.early().is_empty() {
            match connect::send(&begun, self.relay.early()) {
                Ok(None) => {}
                Ok(Some(n)) => {
                    let clients = self.relay.sent_early(n);
                    lease.upstream().stats.rx_bytes.add(clients as u64);
                    lease.set_waiting(clients > 0);
                    is_reached = true;
                }
                Err(error) => return self.failed(lease, error),
            }
        }
        self.relay.set_room(begun.room);
        self.connecting_since = begun.at;
        match Stream::register(begun.socket.into(), begun.family) {
            Ok(stream) => self.upstream = Some(stream),
            Err(_) if self.relay.is_engaged() => {
                self.lease = Some(lease);
                self.reached();
                return self.give_up(Outcome::UpstreamReset);
            }
            Err(_) => return self.failed(lease, ConnectError::Other),
        }
        let (slot, incarnation) = (lease.upstream().slot, lease.upstream().incarnation);
        self.registration.belongs_to(Some(Owner { pool: self.shard().index, slot, incarnation }));
        self.lease = Some(lease);
        if is_reached {
            self.reached();
        } else {
            self.stage = Stage::Connecting;
            self.registration.due_in(self.shard().pool.config().connect_timeout);
        }
    }

    pub(super) fn poll_connect(&mut self, cx: &mut Context<'_>, reason: Option<WakeReason>) -> Poll<()> {
        if reason == Some(WakeReason::Reclaim) && self.is_reclaimed() {
            return Poll::Ready(());
        }
        if reason == Some(WakeReason::Recalled) {
            // It is not in the queue yet, and must not hold up those that are.
            drop(self.registration.barrier());
        }
        if reason == Some(WakeReason::Abort(Scope::Worker)) && self.switch_upstream() {
            return Poll::Ready(());
        }
        let (Some(upstream), Some(lease)) = (&self.upstream, &self.lease) else { return Poll::Ready(()) };
        let error = match reason {
            Some(WakeReason::Abort(_)) => {
                self.give_up(Outcome::Cut);
                return Poll::Ready(());
            }
            Some(WakeReason::WorkerExited) => Some(ConnectError::Reset),
            reason => match (upstream.poll_write_ready(cx), reason) {
                (
                    Poll::Pending,
                    None | Some(WakeReason::CloseIfIdle(_) | WakeReason::Recalled | WakeReason::Reclaim),
                ) => {
                    return Poll::Pending;
                }
                (Poll::Pending, Some(_)) => Some(ConnectError::Timeout),
                (Poll::Ready(result), _) => {
                    let family = upstream.family();
                    failure(upstream, result, cx).map(|error| connect::classify(&error, family))
                }
            },
        };
        debug_assert!(lease.is_connecting());
        match error {
            None => self.reached(),
            Some(error) => self.upstream_failed(error),
        }
        Poll::Ready(())
    }

    /// Leaves a worker that drains for another one, as long as it was given nothing of the client's. False if there is
    /// no other in rotation.
    pub(super) fn switch_upstream(&mut self) -> bool {
        let Some(left) = self.lease.as_ref().map(|lease| Arc::clone(lease.upstream())) else { return false };
        let rotation = &self.record.shard().pool.rotation;
        let is_other = |other: &Arc<Upstream>| !Arc::ptr_eq(other, &left) && other.standing() == Standing::Up;
        if !rotation.snapshot().upstreams.iter().any(is_other) {
            return false;
        }
        self.search.insert(PolledSearch::new(rotation)).search.left_slot(&left.stats);
        self.upstream = None;
        self.lease = None;
        self.relay.start_over();
        self.registration.belongs_to(None);
        self.stage = Stage::Searching;
        true
    }

    pub(super) fn upstream_failed(&mut self, error: ConnectError) {
        self.upstream = None;
        // It had a worker for a while and was silent: another search has the whole deadline again. One that fails at
        // once goes on with the old one, or a worker that resets everybody would be tried without end.
        if self.stage == Stage::Relaying && self.connecting_since.elapsed() > SETTLED {
            self.search = None;
        }
        if let Some(lease) = self.lease.take() {
            self.failed(lease, error);
        }
    }

    /// The worker was given nothing of the client's and gave nothing: back to the search, without it.
    pub(super) fn failed(&mut self, lease: Lease, error: ConnectError) {
        let upstream = Arc::clone(lease.upstream());
        drop(lease);
        upstream.stats.connect_errors[error as usize].increment();
        self.relay.start_over();
        self.registration.belongs_to(None);
        self.stage = Stage::Searching;
        let shard = self.record.shard();
        let polled = self.search.get_or_insert_with(|| PolledSearch::new(&shard.pool.rotation));
        let is_own = error == ConnectError::Busy && shard.pool.is_sticky();
        if is_own && self.client.peer_ip().is_some() {
            polled.search.left_slot(&upstream.stats);
            polled.waits_for_own = true;
            return;
        }
        // A lack of source ports is no fault of the worker's.
        if polled.search.failed(&upstream, error != ConnectError::NoPort) {
            shard.report_failure(&upstream, error);
        }
    }
}

/// Returns the error if a finished connect has failed. Success has nothing to read yet, and then no system call is
/// needed to know.
fn failure(upstream: &Stream, ready: io::Result<()>, cx: &mut Context<'_>) -> Option<io::Error> {
    match (ready, upstream.poll_read_ready(cx)) {
        (Err(error), _) | (_, Poll::Ready(Err(error))) => Some(error),
        (Ok(()), Poll::Ready(Ok(()))) => upstream.take_error().unwrap_or_else(Some),
        (Ok(()), Poll::Pending) => None,
    }
}
