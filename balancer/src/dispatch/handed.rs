//! Handing an accepted connection over to a worker: pick, give, and on a refusal the next one.
//!
//! Nothing is read from the socket here. The master's copy stays open until the worker says that it has taken the
//! connection. A connection that comes back untaken goes to another worker, and all tries together have one deadline
//! ([`UpstreamSearch`]). In the common case no task waits: the accept loop picks and gives, and the channel's task does
//! the rest.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::accept::Accepted;
use super::record::ConnectionRecord;
use super::search::UpstreamSearch;
use super::shard::ConnectionPermit;
use crate::config::PassedAs;
use crate::net::stream::{Family, reset_at_close};
use crate::rotation::{HandedConnection, Lease};
use crate::stats::{ConnectError, Outcome};
use crate::strategy::PickContext;

/// A client's connection that is handed over.
pub(super) struct Handoff {
    // Dropped in this order: the master's copy is closed before the lease and the permit say so.
    socket: Option<OwnedFd>,
    family: Family,
    peer: Option<SocketAddr>,
    listener_id: u32,
    lease: Option<Lease>,
    /// Made when the first worker does not take the connection.
    search: Option<Box<UpstreamSearch>>,
    /// The time at which the worker of `lease` was given the connection.
    given: Instant,
    record: ConnectionRecord,
}

impl Handoff {
    /// Hands over a client accepted from that listener, or looks for a worker that takes it.
    pub(super) fn start(permit: ConnectionPermit, client: Accepted, listener_id: u32) {
        let now = Instant::now();
        let handoff = Box::new(Self {
            socket: Some(client.socket),
            family: client.family,
            peer: client.peer,
            listener_id,
            lease: None,
            search: None,
            given: now,
            record: ConnectionRecord::begin(permit, now),
        });
        match handoff.choose() {
            Some(lease) => handoff.give(lease, now),
            None => handoff.look_further(),
        }
    }

    /// Picks a worker that may be given one more connection. One that reads what it is given comes before one that is
    /// stalled.
    fn choose(&self) -> Option<Lease> {
        let pool = &self.record.shard().pool;
        let tried = self.search.as_ref().map(|search| search.tried()).unwrap_or_default();
        let context = PickContext { client: self.peer.map(|peer| peer.ip()), key: None, tried };
        let first = pool.picker.pick(&pool.rotation, &context)?;
        if self.is_sticky() {
            // If the client's own worker has no room, the client waits for it.
            return Some(first).filter(|lease| !lease.upstream().is_crowded());
        }
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

    /// Returns true if this client belongs to one worker.
    fn is_sticky(&self) -> bool {
        self.peer.is_some() && self.record.shard().pool.is_sticky()
    }

    fn give(mut self: Box<Self>, mut lease: Lease, now: Instant) {
        let Some(handoff_sender) = lease.upstream().handoff_sender().cloned() else {
            return self.turned_down(lease, ConnectError::Refused);
        };
        // The load of a worker is what it has not taken yet.
        lease.set_waiting(true);
        self.given = now;
        self.lease = Some(lease);
        handoff_sender.give(self);
    }

    /// Goes to the next worker: this one did not take the connection.
    fn turned_down(mut self: Box<Self>, lease: Lease, why: ConnectError) {
        let upstream = Arc::clone(lease.upstream());
        drop(lease);
        upstream.stats.connect_errors[why as usize].increment();
        let is_waited_for = why == ConnectError::Busy && self.is_sticky();
        let search = self.search.get_or_insert_with(|| Box::new(UpstreamSearch::new(Instant::now())));
        if is_waited_for {
            // The kernel has no room for it at the moment.
            return self.look_further();
        }
        if search.failed(&upstream, why != ConnectError::Busy) {
            self.record.shard().report_failure(&upstream, why);
        }
        match self.choose() {
            Some(lease) => self.move_on(lease),
            None => self.look_further(),
        }
    }

    /// Gives the connection to another worker than the one that refused it.
    fn move_on(mut self: Box<Self>, lease: Lease) {
        if let Some(search) = &mut self.search {
            search.count_retry();
        }
        self.give(lease, Instant::now());
    }

    /// Waits for a worker that takes the connection.
    fn look_further(self: Box<Self>) {
        // There is no runtime only while the master ends. Then the connection is dropped here, and counted as cut.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(self.search());
        }
    }

    async fn search(mut self: Box<Self>) {
        let pool = Arc::clone(&self.record.shard().pool);
        let mut changes = pool.rotation.changes();
        loop {
            changes.mark_unchanged();
            if let Some(lease) = self.choose() {
                return self.move_on(lease);
            }
            let search = self.search.get_or_insert_with(|| Box::new(UpstreamSearch::new(Instant::now())));
            // Workers in rotation that did not refuse it have no room.
            let is_any_full =
                pool.rotation.snapshot().upstreams.iter().any(|upstream| !search.tried().contains(&upstream.slot));
            if pool.rotation.is_held() || is_any_full {
                search.restart(Instant::now());
            }
            let left = search.left(Instant::now(), pool.config().dispatch_timeout);
            let is_stopped = pool.rotation.is_stopped() && pool.rotation.snapshot().upstreams.is_empty();
            if left.is_zero() || is_stopped || self.record.shard().is_cut() {
                return self.give_up();
            }
            let pause = search.pause(left, is_any_full);
            tokio::select! {
                _ = changes.changed() => {}
                () = sleep(pause) => {}
                () = self.record.shard().cut() => {}
            }
            if let Some(search) = &mut self.search {
                search.try_all_again();
            }
        }
    }

    /// Ends without an answer: the client sees a reset.
    fn give_up(&mut self) {
        if let Some(socket) = self.socket.as_ref().filter(|_| self.family == Family::Tcp) {
            reset_at_close(socket.as_fd());
        }
        let shard = self.record.shard();
        // It came before the pool was stopped, or it would have been rejected.
        let is_cut = shard.is_cut() || shard.pool.rotation.is_stopped();
        let not_found = self.search.as_ref().map_or(Outcome::NoUpstream, |search| search.outcome());
        self.record.end(if is_cut { Outcome::Cut } else { not_found });
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
        let Some(lease) = &mut self.lease else { return };
        lease.set_waiting(false);
        self.record.given(lease);
        self.record.reached(lease, self.given.elapsed(), was_tried, || self.peer.map(|peer| peer.ip()));
        if self.record.shard().pool.config().passed_as() == PassedAs::Node {
            self.record.end(Outcome::HandedOver);
        }
    }

    fn ended(mut self: Box<Self>, outcome: Outcome) {
        self.record.end(outcome);
    }

    fn returned(mut self: Box<Self>, why: ConnectError) {
        if self.record.shard().pool.rotation.is_stopped() {
            // No other worker is coming. The end is counted before the lease is given back, and so with that worker's.
            return self.give_up();
        }
        let Some(lease) = self.lease.take() else { return };
        // The worker did not read it in time, which is no refusal: the time in its queue does not count, and every
        // other worker may be asked again.
        if let Some(search) = self.search.as_mut().filter(|_| why == ConnectError::Timeout) {
            search.extend(self.given.elapsed());
            search.try_all_again();
        }
        self.turned_down(lease, why);
    }
}

impl Drop for Handoff {
    fn drop(&mut self) {
        self.record.count(self.lease.as_ref());
    }
}
