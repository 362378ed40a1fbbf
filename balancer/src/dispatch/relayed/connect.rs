//! The stages without a worker: the search for one, and the connect to it. On a failure the next one is tried.
//!
//! As long as no client byte was written to a worker, another may be tried; all tries together have one deadline. A
//! PROXY header is no client byte: a worker that took it and then broke off did nothing that the client asked for, so
//! the next worker gets the same header, and neither it nor the client sees the difference.

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::{Connection, Stage, Step, UpstreamSide};
use crate::dispatch::search::UpstreamSearch;
use crate::net::connect::{self, Begun};
use crate::net::open_connections::{Owner, Scope, WakeReason};
use crate::net::stream::Stream;
use crate::rotation::{Lease, Rotation, Standing, Upstream};
use crate::stats::{ConnectError, Outcome};
use crate::strategy::PickContext;

/// A search that a poll drives: it wakes the connection when the rotation changes.
pub(super) struct PolledSearch {
    search: UpstreamSearch,
    /// True if the client's own worker has a full queue: the client waits for it.
    waits_for_own: bool,
    changed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl PolledSearch {
    fn new(rotation: &Rotation) -> Box<Self> {
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
    pub(super) fn poll_search(&mut self, cx: &mut Context<'_>, reason: Option<WakeReason>) -> Step {
        if matches!(reason, Some(WakeReason::Abort(_))) {
            self.give_up(Outcome::Cut);
            return (Stage::Searching, Poll::Ready(()));
        }
        if reason == Some(WakeReason::Reclaim) && self.is_reclaimed(None) {
            return (Stage::Searching, Poll::Ready(()));
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
                // The client waits as those in the backlog do, which are told when holding ends.
                search.restart(Instant::now());
            }
            let left = search.left(Instant::now(), pool.config().dispatch_timeout);
            if left.is_zero() {
                let outcome = search.outcome();
                self.give_up(outcome);
                return (Stage::Searching, Poll::Ready(()));
            }
            let context = PickContext { client: self.client.peer_ip(), key: None, tried: search.tried() };
            let is_pausing = *waits_for_own;
            let lease = (!is_pausing).then(|| pool.picker.pick(&pool.rotation, &context)).flatten();
            if let Some(lease) = lease {
                let stage = self.try_connect(lease);
                if self.record.has_ended() || !matches!(stage, Stage::Searching) {
                    return (stage, Poll::Ready(()));
                }
            } else if pool.rotation.is_stopped() && pool.rotation.snapshot().upstreams.is_empty() {
                // It came before the stop, or it would have been rejected.
                self.give_up(Outcome::Cut);
                return (Stage::Searching, Poll::Ready(()));
            } else if changed.as_mut().poll(cx).is_ready() {
                *changed = next_change(&pool.rotation);
                polled.try_all_again();
            } else {
                self.registration.due_in(search.pause(left, is_pausing));
                return (Stage::Searching, Poll::Pending);
            }
        }
    }

    fn try_connect(&mut self, lease: Lease) -> Stage {
        if let Some(polled) = &mut self.search {
            polled.search.count_retry();
        }
        match connect::begin(lease.upstream(), &self.shard().pool, &self.shard().ephemeral) {
            Ok(begun) => self.adopt_socket(lease, begun),
            Err(error) => self.failed(lease, error),
        }
    }

    /// Sends the preamble and what the client has said, and hands the socket to the runtime.
    pub(super) fn adopt_socket(&mut self, mut lease: Lease, begun: Begun) -> Stage {
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
        let stream = match Stream::register(begun.socket.into(), begun.family) {
            Ok(stream) => stream,
            Err(_) if self.relay.is_engaged() => {
                // The worker has bytes of the client, so no other may get them. Counted here, where the lease ends.
                self.count_reached(&mut lease, begun.at);
                self.give_up(self.judged(Outcome::UpstreamReset, &lease, None));
                self.record.count(Some(&lease));
                return Stage::Searching;
            }
            Err(_) => return self.failed(lease, ConnectError::Other),
        };
        let (slot, incarnation) = (lease.upstream().slot, lease.upstream().incarnation);
        self.registration.belongs_to(Some(Owner { pool: self.shard().index, slot, incarnation }));
        let side = UpstreamSide { stream, lease, flow: None, since: begun.at };
        if is_reached {
            self.reached(side)
        } else {
            self.registration.due_in(self.shard().pool.config().connect_timeout);
            Stage::Connecting(side)
        }
    }

    /// Waits until the worker's endpoint is reached, within `connect-timeout`.
    pub(super) fn poll_connect(
        &mut self,
        side: UpstreamSide,
        cx: &mut Context<'_>,
        reason: Option<WakeReason>,
    ) -> Step {
        if reason == Some(WakeReason::Reclaim) && self.is_reclaimed(Some(&side.stream)) {
            return (Stage::Connecting(side), Poll::Ready(()));
        }
        if reason == Some(WakeReason::Recalled) {
            // It is not in the queue yet, and must not hold up the connections that are.
            drop(self.registration.barrier());
        }
        if reason == Some(WakeReason::Abort(Scope::Worker)) && self.has_alternative(&side.lease) {
            return (self.switch_upstream(side), Poll::Ready(()));
        }
        let error = match reason {
            Some(WakeReason::Abort(_)) => {
                self.give_up(self.judged(Outcome::Cut, &side.lease, None));
                return (Stage::Connecting(side), Poll::Ready(()));
            }
            Some(WakeReason::WorkerExited) => Some(ConnectError::Reset),
            reason => match (side.stream.poll_write_ready(cx), reason) {
                (
                    Poll::Pending,
                    None | Some(WakeReason::CloseIfIdle(_) | WakeReason::Recalled | WakeReason::Reclaim),
                ) => {
                    return (Stage::Connecting(side), Poll::Pending);
                }
                (Poll::Pending, Some(_)) => Some(ConnectError::Timeout),
                (Poll::Ready(result), _) => {
                    let family = side.stream.family();
                    failure(&side.stream, result, cx).map(|error| connect::classify(&error, family))
                }
            },
        };
        let stage = match error {
            None => self.reached(side),
            Some(error) => self.upstream_failed(side, error),
        };
        (stage, Poll::Ready(()))
    }

    /// Begins to relay: the worker's endpoint was reached.
    fn reached(&mut self, mut side: UpstreamSide) -> Stage {
        self.count_reached(&mut side.lease, side.since);
        if self.relay.is_engaged() {
            self.registration.moved(self.relay.awaiting_response());
        }
        self.registration.due_when_silent(self.shard().pool.config().idle_timeout);
        Stage::Relaying(side)
    }

    fn count_reached(&self, lease: &mut Lease, since: Instant) {
        self.record.reached(lease, since.elapsed(), self.search.is_some(), || self.client.peer_ip());
    }

    /// Returns true if another worker than that of `lease` is in rotation.
    pub(super) fn has_alternative(&self, lease: &Lease) -> bool {
        let is_other =
            |other: &Arc<Upstream>| !Arc::ptr_eq(other, lease.upstream()) && other.standing() == Standing::Up;
        self.shard().pool.rotation.snapshot().upstreams.iter().any(is_other)
    }

    /// Leaves a worker that drains, and was given nothing of the client's, for another one.
    pub(super) fn switch_upstream(&mut self, side: UpstreamSide) -> Stage {
        let search = PolledSearch::new(&self.shard().pool.rotation);
        self.search.insert(search).search.left_slot(&side.lease.upstream().stats);
        drop(side);
        self.relay.start_over();
        self.registration.belongs_to(None);
        Stage::Searching
    }

    /// Closes the connection to a worker that was given nothing of the client's and gave nothing, and goes back to the
    /// search.
    pub(super) fn upstream_failed(&mut self, side: UpstreamSide, error: ConnectError) -> Stage {
        drop(side.stream);
        self.failed(side.lease, error)
    }

    /// Goes back to the search, without this worker.
    pub(super) fn failed(&mut self, lease: Lease, error: ConnectError) -> Stage {
        let upstream = Arc::clone(lease.upstream());
        drop(lease);
        upstream.stats.connect_errors[error as usize].increment();
        self.relay.start_over();
        self.registration.belongs_to(None);
        let shard = self.record.shard();
        let polled = self.search.get_or_insert_with(|| PolledSearch::new(&shard.pool.rotation));
        let is_own = error == ConnectError::Busy && shard.pool.is_sticky();
        if is_own && self.client.peer_ip().is_some() {
            polled.search.left_slot(&upstream.stats);
            polled.waits_for_own = true;
        // A lack of source ports is no fault of the worker's.
        } else if polled.search.failed(&upstream, error != ConnectError::NoPort) {
            shard.report_failure(&upstream, error);
        }
        Stage::Searching
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
