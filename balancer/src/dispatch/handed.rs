//! Handing an accepted connection over to a worker: pick, give, and on a refusal the next one.
//!
//! Nothing is read from the socket here. Our copy stays open until the worker says that it has taken the connection;
//! what comes back untaken goes to another worker, and all tries together have one deadline, as in `relayed`. In the
//! common case nobody waits for anything: the accept loop picks and gives, and the channel's task does the rest.
//!
//! Whatever its end, dropping it counts it exactly once.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::accept::Accepted;
use super::shard::{ConnectionPermit, UpstreamReport};
use crate::config::PassedAs;
use crate::net::stream::{Family, reset_at_close};
use crate::rotation::{HandedConnection, Lease, SlotId};
use crate::stats::{ConnectError, Outcome, SlotStats};
use crate::strategy::PickContext;

/// When every worker has refused it, or has no room: how soon they are asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// A client's connection that is handed over.
pub(super) struct Handoff {
    // In this order they are dropped: our copy is closed before the lease and the permit say so.
    socket: Option<OwnedFd>,
    family: Family,
    peer: Option<SocketAddr>,
    listener_id: u32,
    lease: Option<Lease>,
    search: Option<Box<HandoffSearch>>,
    accepted: Instant,
    given: Instant,
    is_taken: bool,
    outcome: Outcome,
    permit: ConnectionPermit,
}

/// The state that is only needed when the first worker does not take the connection.
struct HandoffSearch {
    /// When it began, or was last held; the dispatch deadline counts from here.
    since: Instant,
    /// Refused since the snapshot changed or the last pause.
    tried: Vec<SlotId>,
    /// The processes the supervisor heard about from this connection.
    reported: Vec<(SlotId, u64)>,
    /// The slot whose worker refused last.
    refused_by: Option<Arc<SlotStats>>,
}

impl Handoff {
    /// Hands over a client accepted from that listener, or looks for a worker that takes it.
    pub(super) fn start(permit: ConnectionPermit, client: Accepted, listener_id: u32) {
        let now = Instant::now();
        permit.shard().pool.stats.active.add(1);
        let handoff = Box::new(Self {
            socket: Some(client.socket),
            family: client.family,
            peer: client.peer,
            listener_id,
            lease: None,
            search: None,
            accepted: now,
            given: now,
            is_taken: false,
            outcome: Outcome::Cut,
            permit,
        });
        match handoff.choose() {
            Some(lease) => handoff.give(lease, now),
            None => handoff.look_further(),
        }
    }

    /// A worker that may be given one more, and rather one that reads what it is given.
    fn choose(&self) -> Option<Lease> {
        let pool = &self.permit.shard().pool;
        let tried = self.search.as_ref().map(|search| search.tried.as_slice()).unwrap_or_default();
        let context = PickContext { client: self.peer.map(|peer| peer.ip()), key: None, tried };
        let first = pool.picker.pick(&pool.rotation, &context)?;
        if self.is_sticky() {
            // Full, it is waited for.
            return Some(first).filter(|lease| !lease.upstream().is_crowded());
        }
        // Its own lease is counted already.
        let is_full = |lease: &Lease| lease.upstream().is_crowded();
        if !first.upstream().is_stalled() && !is_full(&first) {
            return Some(first);
        }
        let mut passed = tried.to_vec();
        let mut second_best = Some(first).filter(|lease| !is_full(lease));
        if second_best.is_none() {
            passed.extend(pool.rotation.snapshot().upstreams.iter().filter(|u| !u.has_room()).map(|u| u.slot));
        }
        passed.extend(second_best.as_ref().map(|lease| lease.upstream().slot));
        while let Some(lease) = pool.picker.pick(&pool.rotation, &PickContext { tried: &passed, ..context }) {
            passed.push(lease.upstream().slot);
            match (lease.upstream().is_stalled(), is_full(&lease)) {
                (_, true) => {}
                (true, false) => drop(second_best.get_or_insert(lease)),
                (false, false) => return Some(lease),
            }
        }
        second_best
    }

    /// True if this client belongs to one worker.
    fn is_sticky(&self) -> bool {
        self.peer.is_some() && self.permit.shard().pool.is_sticky()
    }

    fn give(mut self: Box<Self>, mut lease: Lease, now: Instant) {
        let Some(handoff_sender) = lease.upstream().handoff_sender().cloned() else {
            return self.turned_down(lease, ConnectError::Refused);
        };
        // Untaken, it waits for the worker: load is what has not been taken yet.
        lease.set_waiting(true);
        self.given = now;
        self.lease = Some(lease);
        handoff_sender.give(self);
    }

    /// This worker would not have it: to the next one.
    fn turned_down(mut self: Box<Self>, lease: Lease, why: ConnectError) {
        let upstream = Arc::clone(lease.upstream());
        drop(lease);
        upstream.stats.connect_errors[why as usize].increment();
        let is_waited_for = why == ConnectError::Busy && self.is_sticky();
        let search = self.search.get_or_insert_with(HandoffSearch::new);
        if is_waited_for {
            // The kernel has no room for it at the moment.
            return self.look_further();
        }
        search.tried.push(upstream.slot);
        search.refused_by = Some(Arc::clone(&upstream.stats));
        let shard = self.permit.shard();
        let (pool, slot, incarnation) = (shard.index as usize, upstream.slot, upstream.incarnation);
        if why != ConnectError::Busy && !search.reported.contains(&(slot, incarnation)) {
            search.reported.push((slot, incarnation));
            // The supervisor may be gone already while the last connections end.
            let _ = shard.reports.send(UpstreamReport::ConnectFailed { pool, slot, incarnation, error: why });
        }
        match self.choose() {
            Some(lease) => self.move_on(lease),
            None => self.look_further(),
        }
    }

    /// To another worker than the one that refused it.
    fn move_on(mut self: Box<Self>, lease: Lease) {
        if let Some(stats) = self.search.as_mut().and_then(|search| search.refused_by.take()) {
            stats.retries.increment();
        }
        self.give(lease, Instant::now());
    }

    /// Waits for a worker that takes the connection.
    fn look_further(self: Box<Self>) {
        // Outside of the data threads only while the master ends, and then it is dropped, which counts it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(self.search());
        }
    }

    async fn search(mut self: Box<Self>) {
        let pool = Arc::clone(&self.permit.shard().pool);
        let mut changes = pool.rotation.changes();
        loop {
            changes.mark_unchanged();
            if let Some(lease) = self.choose() {
                return self.move_on(lease);
            }
            let search = self.search.get_or_insert_with(HandoffSearch::new);
            // Those that did not refuse it have no room.
            let is_in_line =
                pool.rotation.snapshot().upstreams.iter().any(|upstream| !search.tried.contains(&upstream.slot));
            if pool.rotation.is_held() || is_in_line {
                // It waits with those in the backlog: for a worker at all, or for its turn.
                search.since = Instant::now();
            }
            let left = pool.config().dispatch_timeout.saturating_sub(search.since.elapsed());
            let is_stopped = pool.rotation.is_stopped() && pool.rotation.snapshot().upstreams.is_empty();
            if left.is_zero() || is_stopped || self.permit.shard().is_cut() {
                return self.give_up();
            }
            let pause = if search.tried.is_empty() && !is_in_line { left } else { left.min(AGAIN) };
            tokio::select! {
                _ = changes.changed() => {}
                () = sleep(pause) => {}
                () = self.permit.shard().cut() => {}
            }
            if let Some(search) = &mut self.search {
                search.tried.clear();
            }
        }
    }

    /// Ends without an answer: the client sees a reset.
    fn give_up(&mut self) {
        if let Some(socket) = self.socket.as_ref().filter(|_| self.family == Family::Tcp) {
            reset_at_close(socket.as_fd());
        }
        let was_refused = self.search.as_ref().is_some_and(|search| search.refused_by.is_some());
        self.outcome = match was_refused {
            // It came before the pool was stopped, or it would have been rejected.
            _ if self.permit.shard().is_cut() || self.permit.shard().pool.rotation.is_stopped() => Outcome::Cut,
            true => Outcome::Unreachable,
            false => Outcome::NoUpstream,
        };
    }
}

impl HandoffSearch {
    fn new() -> Box<Self> {
        Box::new(Self { since: Instant::now(), tried: Vec::new(), reported: Vec::new(), refused_by: None })
    }
}

impl HandedConnection for Handoff {
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    fn listener_id(&self) -> u32 {
        self.listener_id
    }

    fn taken(&mut self) {
        self.socket = None;
        let was_tried = self.search.take().is_some();
        self.is_taken = true;
        let Some(lease) = &mut self.lease else { return };
        lease.connected();
        lease.set_waiting(false);
        lease.upstream().stats.connections.increment();
        let shard = self.permit.shard();
        shard.pool.count_displaced(lease.upstream().slot, was_tried, || self.peer.map(|peer| peer.ip()));
        shard.pool.stats.connect.of_thread(shard.thread).record(self.given.elapsed());
        if shard.pool.config().passed_as() == PassedAs::Node {
            self.outcome = Outcome::HandedOver;
        }
    }

    fn ended(mut self: Box<Self>, outcome: Outcome) {
        self.outcome = outcome;
    }

    fn returned(mut self: Box<Self>, why: ConnectError) {
        if self.permit.shard().pool.rotation.is_stopped() {
            // No other worker is coming. It is counted before its lease is given back, and so with that worker's end.
            return self.give_up();
        }
        let Some(lease) = self.lease.take() else { return };
        // That worker did not read it in time, which is no refusal: the time that it lay there does not count, and each
        // of the others may be asked again.
        if let Some(search) = self.search.as_mut().filter(|_| why == ConnectError::Timeout) {
            search.since += self.given.elapsed();
            search.tried.clear();
        }
        self.turned_down(lease, why);
    }
}

impl Drop for Handoff {
    fn drop(&mut self) {
        let shard = self.permit.shard();
        let (stats, life) = (&shard.pool.stats, self.accepted.elapsed());
        let upstream = self.lease.as_ref().filter(|_| self.is_taken).map(|lease| lease.upstream());
        match upstream {
            Some(upstream) => {
                upstream.stats.closes[self.outcome as usize].increment();
                upstream.closes[self.outcome as usize].increment();
            }
            None => stats.unassigned[self.outcome as usize].increment(),
        }
        if self.outcome != Outcome::HandedOver {
            stats.duration.of_thread(shard.thread).record(life);
        }
        stats.active.add(-1);
        shard.counters.ended.fetch_add(1, Ordering::SeqCst);
        if self.outcome == Outcome::Cut {
            shard.counters.cut.fetch_add(1, Ordering::SeqCst);
        }
        let slot = upstream.map(|upstream| upstream.slot.0);
        debug!(pool = %shard.pool.name, slot, outcome = self.outcome.name(), ?life, "connection handed over");
    }
}
