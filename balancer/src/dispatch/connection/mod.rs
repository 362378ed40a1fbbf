//! One client's connection, from accept to close: one flat future.
//!
//! It holds both streams itself and is spawned directly, since every nested future would hold its own copy of them: an idle
//! connection costs what this struct and two sockets cost. What is rare is boxed when it happens.
//!
//! Whatever its end, dropping it counts it exactly once.

mod flow;
mod placing;
mod recovering;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::time::Instant;
use tracing::debug;

use flow::Flow;
use placing::Search;
use recovering::Recovering;

use super::accept::Accepted;
use super::connect;
use super::lane::{Lane, Ticket};
use crate::config::ProxyProtocol;
use crate::net::conns::{Order, Place, Scope};
use crate::net::preface::Preface;
use crate::net::proxy_header;
use crate::net::recovery::Summons;
use crate::net::relay::{Delivery, Ending, Ends, Judged, Moved, Relay, Verdict, with_scratch};
use crate::net::stream::{Family, Stream};
use crate::rotation::{Lease, Life};
use crate::stats::Outcome;
use crate::strategy::PickContext;

/// A client's connection as a task of its data thread.
pub(super) struct Connection {
    // In this order they are dropped: both ends are closed before the lease and the ticket say so.
    client: Stream,
    upstream: Option<Stream>,
    lease: Option<Lease>,
    relay: Relay,
    flow: Flow,
    search: Option<Box<Search>>,
    recovering: Option<Box<Recovering>>,
    delivery: Option<Box<Delivery>>,
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
    /// Its worker died; what it was sent may be had back.
    Recovering,
    /// Its worker has ended its side; what it said is still on its way to the client.
    Delivering,
    Over,
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
        let context = PickContext { client: client.peer.map(|peer| peer.ip()), ..Default::default() };
        let lease = lane.pool.picker.pick(&lane.pool.rotation, &context);
        // The connect comes first: meanwhile the client's first bytes arrive.
        let begun = lease.map(|lease| (connect::begin(lease.upstream(), lane), lease));
        let header = proxy_header(lane.pool.config().proxy_protocol, client.peer, &client.socket);
        let early = early_bytes(&client.socket, &header);
        let client = Stream::register(client.socket, client.family)?;
        lane.pool.stats.active.add(1);
        let mut connection = Self {
            client,
            upstream: None,
            lease: None,
            relay: Relay::default(),
            flow: Flow::default(),
            search: None,
            recovering: None,
            delivery: None,
            accepted,
            connecting_since: accepted,
            place: Place::enter(ticket.lane().index),
            stage: Stage::Searching,
            outcome: Outcome::Cut,
            is_counted: false,
            ticket,
        };
        match (early, begun) {
            (Err(_), _) => connection.end(Outcome::ClientReset),
            (Ok(early), begun) => {
                if early.len() > header.len() {
                    connection.place.moved(false);
                }
                connection.relay = Relay::with(early, Preface::new(header));
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
        self.outcome = self.judged(outcome);
        self.stage = Stage::Over;
    }

    /// Tells a lost client from one that waited for nothing, where the worker or a drain ended the connection.
    fn judged(&self, outcome: Outcome) -> Outcome {
        let Some(lease) = &self.lease else { return outcome };
        let is_leaving = lease.upstream().is_draining();
        match outcome {
            Outcome::Cut | Outcome::UpstreamReset | Outcome::UpstreamClosed
                if self.relay.awaits_answer()
                    && (is_leaving || outcome == Outcome::Cut)
                    && !self.lane().pool.has_answered() =>
            {
                Outcome::Unanswered
            }
            Outcome::UpstreamReset if is_leaving && self.is_idle() => Outcome::Closed,
            outcome => outcome,
        }
    }

    /// True if the last bytes that moved were an answer, and it was not broken off, as far as a relay can tell.
    fn is_idle(&self) -> bool {
        !self.relay.awaits_answer() && !self.relay.owes() && !self.flow.is_broken_off()
    }

    /// Ends without a whole answer: the client sees a reset.
    fn give_up(&mut self, outcome: Outcome) {
        self.client.reset_at_close();
        self.end(outcome);
    }

    /// The worker's endpoint was reached.
    fn reached(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.connected();
        }
        let pool = &self.lane().pool;
        if let Some(lease) = &self.lease {
            pool.count_displaced(lease.upstream().slot, self.search.is_some(), || self.client.peer_ip());
        }
        pool.stats.connect.shard(self.lane().thread).record(self.connecting_since.elapsed());
        if self.relay.is_engaged() {
            self.place.moved(self.relay.owes());
        }
        self.place.due_when_silent(pool.config().idle_timeout);
        self.stage = Stage::Relaying;
    }

    fn poll_relay(&mut self, cx: &mut Context<'_>, order: Option<Order>) -> Poll<()> {
        if order == Some(Order::Reclaim) && self.is_reclaimed() {
            return Poll::Ready(());
        }
        // Held until this connection has done what the order means for it: then its socket may be told a tag.
        let has_summons = matches!(order, Some(Order::Orphaned | Order::Recalled));
        let summons = if has_summons { self.place.summons() } else { None };
        if order.is_some_and(|order| self.changes_worker(order, summons.as_deref())) {
            return Poll::Ready(());
        }
        let half_closed = self.lane().pool.config().half_closed_timeout;
        let (Some(upstream), Some(lease)) = (&mut self.upstream, &mut self.lease) else { return Poll::Ready(()) };
        let mut ends = Ends { client: &mut self.client, upstream, place: &self.place, lease, half_closed };
        let was_answered = self.relay.is_answered();
        let mut moved = Moved::default();
        let verdict = self.relay.poll(cx, &mut ends, order, &mut moved);
        if moved.any {
            self.place.moved(self.relay.owes());
            let stats = &lease.upstream().stats;
            stats.rx_bytes.add(moved.up);
            stats.tx_bytes.add(moved.down);
            lease.upstream().sent.add(moved.down);
        }
        if lease.upstream().is_draining() {
            self.flow.follow(moved.down > 0, verdict.is_ready() || self.relay.is_orphaned(), Instant::now);
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
            Verdict::Deliver(ending) => self.deliver(ending),
            Verdict::Untouched(error) => {
                let family = self.upstream.as_ref().map_or(Family::Tcp, Stream::family);
                self.upstream_failed(connect::classify(&error, family));
            }
        }
        Poll::Ready(())
    }

    /// The worker's part is over, and the client's is not: the worker is given back at once.
    fn deliver(&mut self, ending: Ending) {
        self.count();
        // Now: later it has been silent in any case.
        let [fin, reset] = [self.relay.at_fin(), Outcome::UpstreamReset].map(|outcome| self.judged(outcome));
        self.upstream = None;
        if let Some(lease) = &mut self.lease {
            // Whatever becomes of the client, the worker's part is known.
            let is_settled = ending == Ending::Fin;
            if is_settled {
                lease.upstream().closes[fin as usize].increment();
            }
            lease.release(is_settled);
        }
        self.place.belongs_to(None);
        let idle = self.lane().pool.config().idle_timeout;
        self.delivery = Some(Box::new(Delivery::begin(ending, Judged { fin, reset }, &self.client, &self.place, idle)));
        self.stage = Stage::Delivering;
    }

    fn poll_delivering(&mut self, cx: &mut Context<'_>, order: Option<Order>) -> Poll<()> {
        let Some(delivery) = &mut self.delivery else { return Poll::Ready(()) };
        let lease = &self.lease;
        let life = || lease.as_ref().map(|lease| lease.upstream().life());
        let has_died = || matches!(life(), Some(Life::Exiting | Life::EndedBadly));
        self.outcome = ready!(delivery.poll(cx, &mut self.client, &self.place, order, has_died));
        self.stage = Stage::Over;
        Poll::Ready(())
    }

    /// Ends for a new client if no byte has gone either way; what the client has just said counts.
    fn is_reclaimed(&mut self) -> bool {
        let is_unused =
            !self.relay.is_engaged() && self.client.is_silent() && self.upstream.as_ref().is_none_or(Stream::is_silent);
        if is_unused {
            self.end(Outcome::Reclaimed);
        }
        is_unused
    }

    /// Whether an order is the end of its time with this worker, and not of its own.
    fn changes_worker(&mut self, order: Order, summons: Option<&Summons>) -> bool {
        match order {
            Order::Orphaned => summons.is_some_and(|summons| self.seek(summons.recovery(), Order::Orphaned)),
            Order::Recalled => summons.is_some_and(|summons| self.seek(summons.recovery(), Order::Recalled)),
            Order::Quiet(Scope::Worker) | Order::Cut(Scope::Worker) => {
                let is_silent = self.upstream.as_ref().is_some_and(Stream::is_silent);
                is_silent && !self.relay.is_engaged() && self.leave()
            }
            Order::Quiet(Scope::All) | Order::Cut(Scope::All) | Order::Due | Order::Reclaim => false,
        }
    }

    /// Counts it as a connection of its slot, once.
    fn count(&mut self) {
        if let Some(lease) = self.lease.as_ref().filter(|_| !self.is_counted) {
            lease.upstream().stats.connections.increment();
            self.is_counted = true;
            self.relay.forget_preface();
        }
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
                Stage::Recovering => ready!(this.poll_recovering(cx, order.take())),
                Stage::Delivering => ready!(this.poll_delivering(cx, order.take())),
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
        let lease = self.lease.as_ref().filter(|_| is_assigned);
        match lease {
            Some(lease) => {
                lease.upstream().stats.closes[self.outcome as usize].increment();
                if !lease.is_settled() {
                    lease.upstream().closes[self.outcome as usize].increment();
                }
            }
            None => stats.unassigned[self.outcome as usize].increment(),
        }
        stats.duration.shard(lane.thread).record(life);
        stats.active.add(-1);
        lane.tally.ended.fetch_add(1, Ordering::SeqCst);
        match self.outcome {
            Outcome::Cut => drop(lane.tally.cut.fetch_add(1, Ordering::SeqCst)),
            Outcome::Closed => drop(lane.tally.closed.fetch_add(1, Ordering::SeqCst)),
            _ => {}
        }
        let slot = lease.map(|lease| lease.upstream().slot.0);
        debug!(pool = %lane.pool.name, slot, outcome = self.outcome.name(), ?life, "connection ended");
    }
}

/// What its worker is told of the client first; empty if nothing.
fn proxy_header(version: ProxyProtocol, peer: Option<SocketAddr>, client: &impl AsFd) -> Vec<u8> {
    if version == ProxyProtocol::Off {
        return Vec::new();
    }
    // Asked of the socket, since a listener on all addresses does not know which one it was.
    let local = SockRef::from(client).local_addr().ok().and_then(|local| local.as_socket());
    proxy_header::of_client(version, peer, local)
}

/// What the client has said so far, behind `header`: nothing more if it said nothing, or if it only ended its side.
fn early_bytes(client: &OwnedFd, header: &[u8]) -> io::Result<Vec<u8>> {
    with_scratch(|scratch| match io::Read::read(&mut &*SockRef::from(client), scratch) {
        Ok(n) => Ok([header, scratch.get(..n).unwrap_or_default()].concat()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(header.to_vec()),
        Err(error) => Err(error),
    })
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
