//! One client's connection, from accept to close: one flat future.
//!
//! It holds both streams itself and is spawned directly, since every nested future would hold its own copy of them: an idle
//! connection costs what this struct and two sockets cost. What is rare is boxed when it happens.
//!
//! Whatever its end, dropping it counts it exactly once.

use std::future::{Future, pending};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::time::Instant;
use tracing::debug;

use super::accept::Accepted;
use super::connect::{self, Begun};
use super::lane::{Lane, Report, Ticket};
use crate::net::conns::{Order, Owner, Place};
use crate::net::relay::{Ends, Moved, Relay, Verdict, with_scratch};
use crate::net::stream::{Family, Stream};
use crate::rotation::{Lease, Rotation, SlotId};
use crate::stats::{ConnectError, Outcome, SlotStats};
use crate::strategy::PickContext;

/// When every worker in rotation was tried in vain: how soon they are tried again. A full queue empties without a word.
const AGAIN: Duration = Duration::from_millis(50);

/// A client's connection as a task of its data thread.
pub(super) struct Connection {
    // In this order they are dropped: both ends are closed before the lease and the ticket say so.
    client: Stream,
    upstream: Option<Stream>,
    lease: Option<Lease>,
    relay: Relay,
    search: Option<Box<Search>>,
    accepted: Instant,
    connecting_since: Instant,
    place: Place,
    stage: Stage,
    outcome: Outcome,
    /// Counted as a connection of its slot.
    is_counted: bool,
    ticket: Ticket,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No worker yet.
    Searching,
    /// A worker, and its endpoint was not reached yet.
    Connecting,
    Relaying,
    Over,
}

/// What is only needed when the first worker was not the right one.
struct Search {
    /// Tried in vain since the snapshot changed or the last pause.
    tried: Vec<SlotId>,
    /// The processes the supervisor heard about from this connection.
    reported: Vec<(SlotId, u64)>,
    /// The slot whose worker failed last.
    failed: Option<Arc<SlotStats>>,
    changed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Search {
    fn new(rotation: &Rotation) -> Box<Self> {
        Box::new(Self { tried: Vec::new(), reported: Vec::new(), failed: None, changed: next_change(rotation) })
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
    /// Begins to serve an accepted, non-blocking socket: picks a worker, connects, and passes on what the client has said
    /// so far. Never waits.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch the client's socket; the connection is closed then.
    pub(super) fn start(ticket: Ticket, client: Accepted) -> io::Result<Self> {
        let accepted = Instant::now();
        let lane = ticket.lane();
        let context = PickContext { client: client.ip, ..Default::default() };
        let lease = lane.pool.picker.pick(&lane.pool.rotation, &context);
        // The connect comes first: meanwhile the client's first bytes arrive.
        let begun = lease.map(|lease| (connect::begin(&lease.upstream().endpoint, &lane.ephemeral), lease));
        let early = early_bytes(&client.socket);
        let client = Stream::register(client.socket, client.family)?;
        lane.pool.stats.active.add(1);
        let mut connection = Self {
            client,
            upstream: None,
            lease: None,
            relay: Relay::default(),
            search: None,
            accepted,
            connecting_since: accepted,
            place: Place::enter(),
            stage: Stage::Searching,
            outcome: Outcome::Cut,
            is_counted: false,
            ticket,
        };
        match (early, begun) {
            (Err(_), _) => connection.end(Outcome::ClientReset),
            (Ok(early), begun) => {
                connection.relay = Relay::with(early);
                match begun {
                    Some((Ok(begun), lease)) => connection.follow(lease, begun),
                    Some((Err(error), lease)) => connection.failed(lease, error),
                    None => {}
                }
            }
        }
        Ok(connection)
    }

    fn lane(&self) -> &Lane {
        self.ticket.lane()
    }

    fn end(&mut self, outcome: Outcome) {
        self.outcome = outcome;
        self.stage = Stage::Over;
    }

    /// Ends without a whole answer: the client sees a reset.
    fn give_up(&mut self, outcome: Outcome) {
        self.client.reset_at_close();
        self.end(outcome);
    }

    /// Looks for a worker that was not tried yet, and waits for a change if there is none.
    fn poll_search(&mut self, cx: &mut Context<'_>, order: Option<Order>) -> Poll<()> {
        if order == Some(Order::Cut) {
            self.give_up(Outcome::Cut);
            return Poll::Ready(());
        }
        let pool = Arc::clone(&self.lane().pool);
        // The wait for a change begins before the pick, so that no change falls between.
        self.search.get_or_insert_with(|| Search::new(&pool.rotation));
        if order == Some(Order::Due) {
            self.try_all_again();
        }
        loop {
            let Some(search) = &mut self.search else { return Poll::Pending };
            let left = pool.config.assignment_timeout.saturating_sub(self.accepted.elapsed());
            if left.is_zero() {
                let has_failed = search.failed.is_some();
                self.give_up(if has_failed { Outcome::Unreachable } else { Outcome::NoUpstream });
                return Poll::Ready(());
            }
            let context = PickContext { client: self.client.peer_ip(), key: None, tried: &search.tried };
            if let Some(lease) = pool.picker.pick(&pool.rotation, &context) {
                self.attempt(lease);
                if self.stage != Stage::Searching {
                    return Poll::Ready(());
                }
            } else if search.changed.as_mut().poll(cx).is_ready() {
                search.changed = next_change(&pool.rotation);
                self.try_all_again();
            } else {
                let pause = if search.tried.is_empty() { left } else { left.min(AGAIN) };
                self.place.due_in(pause);
                return Poll::Pending;
            }
        }
    }

    fn try_all_again(&mut self) {
        if let Some(search) = &mut self.search {
            search.tried.clear();
        }
    }

    fn attempt(&mut self, lease: Lease) {
        if let Some(failed) = self.search.as_ref().and_then(|search| search.failed.as_ref()) {
            failed.retries.increment();
        }
        match connect::begin(&lease.upstream().endpoint, &self.lane().ephemeral) {
            Ok(begun) => self.follow(lease, begun),
            Err(error) => self.failed(lease, error),
        }
    }

    /// Sends what the client has said and hands the socket to the runtime.
    fn follow(&mut self, lease: Lease, begun: Begun) {
        if !self.relay.early().is_empty() {
            match connect::send(&begun, self.relay.early()) {
                Ok(None) => {}
                Ok(Some(n)) => {
                    self.relay.sent_early(n);
                    lease.upstream().stats.rx_bytes.add(n as u64);
                }
                Err(error) => return self.failed(lease, error),
            }
        }
        let is_reached = begun.is_done || self.relay.is_engaged();
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
        self.place.belongs_to(Owner { pool: self.lane().index, slot, incarnation });
        self.lease = Some(lease);
        if is_reached {
            self.reached();
        } else {
            self.stage = Stage::Connecting;
            self.place.due_in(self.lane().pool.config.connect_timeout);
        }
    }

    fn poll_connect(&mut self, cx: &mut Context<'_>, order: Option<Order>) -> Poll<()> {
        let (Some(upstream), Some(lease)) = (&self.upstream, &self.lease) else { return Poll::Ready(()) };
        let error = match order {
            Some(Order::Cut) => {
                self.give_up(Outcome::Cut);
                return Poll::Ready(());
            }
            Some(Order::Orphaned) => Some(ConnectError::Reset),
            order => match (upstream.poll_write_ready(cx), order) {
                (Poll::Pending, None | Some(Order::Quiet)) => return Poll::Pending,
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

    /// The worker's endpoint was reached.
    fn reached(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.connected();
        }
        let pool = &self.lane().pool;
        pool.stats.connect.shard(self.lane().thread).record(self.connecting_since.elapsed());
        self.place.due_when_silent(pool.config.idle_timeout);
        self.stage = Stage::Relaying;
    }

    fn poll_relay(&mut self, cx: &mut Context<'_>, order: Option<Order>) -> Poll<()> {
        let half_closed = self.lane().pool.config.half_closed_timeout;
        let (Some(upstream), Some(lease)) = (&mut self.upstream, &self.lease) else { return Poll::Ready(()) };
        let mut ends = Ends { client: &mut self.client, upstream, place: &self.place, half_closed };
        let was_answered = self.relay.is_answered();
        let mut moved = Moved::default();
        let verdict = self.relay.poll(cx, &mut ends, order, &mut moved);
        if moved.any {
            self.place.moved();
            let stats = &lease.upstream().stats;
            stats.rx_bytes.add(moved.up);
            stats.tx_bytes.add(moved.down);
        }
        if self.relay.is_answered() && !was_answered {
            let lane = self.ticket.lane();
            lane.pool.stats.first_byte.shard(lane.thread).record(self.accepted.elapsed());
        }
        if self.relay.is_engaged() {
            self.count();
        }
        match ready!(verdict) {
            Verdict::Ended(outcome) => self.end(outcome),
            Verdict::Untouched(error) => {
                let family = self.upstream.as_ref().map_or(Family::Tcp, Stream::family);
                self.upstream_failed(connect::classify(&error, family));
            }
        }
        Poll::Ready(())
    }

    /// Counts it as a connection of its slot, once.
    fn count(&mut self) {
        if let Some(lease) = self.lease.as_ref().filter(|_| !self.is_counted) {
            lease.upstream().stats.connections.increment();
            self.is_counted = true;
        }
    }

    fn upstream_failed(&mut self, error: ConnectError) {
        self.upstream = None;
        if let Some(lease) = self.lease.take() {
            self.failed(lease, error);
        }
    }

    /// The worker was given nothing and gave nothing: back to the search, without it.
    fn failed(&mut self, lease: Lease, error: ConnectError) {
        let upstream = Arc::clone(lease.upstream());
        drop(lease);
        upstream.stats.connect_errors[error as usize].increment();
        self.relay.start_over();
        let (pool, reports) = (self.lane().index as usize, self.lane().reports.clone());
        let rotation = &self.ticket.lane().pool.rotation;
        let search = self.search.get_or_insert_with(|| Search::new(rotation));
        search.failed = Some(Arc::clone(&upstream.stats));
        search.tried.push(upstream.slot);
        let (slot, incarnation) = (upstream.slot, upstream.incarnation);
        if !search.reported.contains(&(slot, incarnation)) {
            search.reported.push((slot, incarnation));
            // The supervisor may be gone already while the last connections end.
            let _ = reports.send(Report::ConnectFailed { pool, slot, incarnation, error });
        }
        self.stage = Stage::Searching;
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let mut order = this.place.order(cx);
        loop {
            match this.stage {
                Stage::Searching => ready!(this.poll_search(cx, order.take())),
                Stage::Connecting => ready!(this.poll_connect(cx, order.take())),
                Stage::Relaying => ready!(this.poll_relay(cx, order.take())),
                Stage::Over => return Poll::Ready(()),
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let is_assigned = self.lease.as_ref().is_some_and(|lease| !lease.is_connecting());
        if is_assigned {
            self.count();
        }
        let lane = self.ticket.lane();
        let (stats, life) = (&lane.pool.stats, self.accepted.elapsed());
        let slot = self.lease.as_ref().filter(|_| is_assigned).map(|lease| lease.upstream());
        match slot {
            Some(upstream) => upstream.stats.closes[self.outcome as usize].increment(),
            None => stats.unassigned[self.outcome as usize].increment(),
        }
        stats.duration.shard(lane.thread).record(life);
        stats.active.add(-1);
        lane.tally.ended.fetch_add(1, Ordering::SeqCst);
        if self.outcome == Outcome::Cut {
            lane.tally.cut.fetch_add(1, Ordering::SeqCst);
        }
        let slot = slot.map(|upstream| upstream.slot.0);
        debug!(pool = %lane.pool.config.name, slot, outcome = self.outcome.name(), ?life, "connection ended");
    }
}

/// What the client has said so far; empty if nothing, or if it only ended its side.
fn early_bytes(client: &OwnedFd) -> io::Result<Vec<u8>> {
    with_scratch(|scratch| match io::Read::read(&mut &*SockRef::from(client), scratch) {
        Ok(n) => Ok(scratch.get(..n).unwrap_or_default().to_vec()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Vec::new()),
        Err(error) => Err(error),
    })
}

/// Whether a connect that has come to an end has failed. Success has nothing to read yet, and then no system call is
/// needed to know.
fn failure(upstream: &Stream, ready: io::Result<()>, cx: &mut Context<'_>) -> Option<io::Error> {
    match (ready, upstream.poll_read_ready(cx)) {
        (Err(error), _) | (_, Poll::Ready(Err(error))) => Some(error),
        (Ok(()), Poll::Ready(Ok(()))) => upstream.take_error().unwrap_or_else(Some),
        (Ok(()), Poll::Pending) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        let size = size_of::<Connection>();
        println!("{size} bytes");
        assert!(size <= 320, "{size} bytes");
    }
}
