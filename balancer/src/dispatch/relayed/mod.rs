//! One client's connection, from accept to close: one flat future.
//!
//! It holds both streams itself and is spawned directly, since every nested future would hold its own copy of them: an
//! idle connection costs what this struct and two sockets cost. What is rare is boxed when it happens.

mod connect;
mod flow;
mod recover;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::time::Instant;

use connect::PolledSearch;
use flow::Flow;
use recover::Recovering;

use super::accept::Accepted;
use super::record::ConnectionRecord;
use super::shard::{ConnectionPermit, Shard};
use crate::config::ProxyProtocol;
use crate::net;
use crate::net::open_connections::{Registration, Scope, WakeReason};
use crate::net::preamble::Preamble;
use crate::net::proxy_header;
use crate::net::recovery::RecoveryBarrier;
use crate::net::relay::{ClientEnd, Delivery, Moved, PossibleOutcomes, Relay, RelayEnd, Sides, with_scratch};
use crate::net::stream::{Family, Stream};
use crate::rotation::{Lease, ProcessPhase};
use crate::stats::Outcome;
use crate::strategy::PickContext;

/// A client's connection as a task of its data thread.
pub(super) struct Connection {
    // In this order they are dropped: both ends are closed before the lease and the permit say so.
    client: Stream,
    upstream: Option<Stream>,
    lease: Option<Lease>,
    relay: Relay,
    /// Only of a worker that drains, and so not a part of every idle connection.
    flow: Option<Box<Flow>>,
    search: Option<Box<PolledSearch>>,
    recovering: Option<Box<Recovering>>,
    delivery: Option<Box<Delivery>>,
    connecting_since: Instant,
    registration: Registration,
    stage: Stage,
    record: ConnectionRecord,
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
    /// Begins to serve an accepted, non-blocking socket: picks a worker, connects, and passes on what the client has
    /// said so far. Never waits.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch the client's socket; the connection is closed then.
    pub(super) fn start(permit: ConnectionPermit, client: Accepted) -> io::Result<Self> {
        let accepted = Instant::now();
        let shard = permit.shard();
        let context = PickContext { client: client.peer.map(|peer| peer.ip()), ..Default::default() };
        let lease = shard.pool.picker.pick(&shard.pool.rotation, &context);
        // The connect comes first: meanwhile the client's first bytes arrive.
        let begun = lease.map(|lease| (net::connect::begin(lease.upstream(), &shard.pool, &shard.ephemeral), lease));
        let header = proxy_header(shard.pool.config().proxy_protocol, client.peer, &client.socket);
        let early = early_bytes(&client.socket, &header);
        let client = Stream::register(client.socket, client.family)?;
        let mut connection = Self {
            client,
            upstream: None,
            lease: None,
            relay: Relay::default(),
            flow: None,
            search: None,
            recovering: None,
            delivery: None,
            connecting_since: accepted,
            registration: Registration::new(permit.shard().index),
            stage: Stage::Searching,
            record: ConnectionRecord::begin(permit, accepted),
        };
        match (early, begun) {
            (Err(_), _) => connection.end(Outcome::ClientReset),
            (Ok(early), begun) => {
                if early.len() > header.len() {
                    connection.registration.moved(false);
                }
                connection.relay = Relay::with(early, Preamble::new(header));
                match begun {
                    Some((Ok(begun), lease)) => connection.adopt_socket(lease, begun),
                    Some((Err(error), lease)) => connection.failed(lease, error),
                    None => {}
                }
            }
        }
        Ok(connection)
    }

    fn shard(&self) -> &Shard {
        self.record.shard()
    }

    fn end(&mut self, outcome: Outcome) {
        self.record.end(self.judged(outcome));
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
                    && !self.shard().pool.has_answered() =>
            {
                Outcome::Unanswered
            }
            Outcome::UpstreamReset if is_leaving && self.is_idle() => Outcome::Closed,
            outcome => outcome,
        }
    }

    /// True if the last bytes that moved were an answer, and it was not broken off, as far as a relay can tell.
    fn is_idle(&self) -> bool {
        !self.relay.awaits_answer()
            && !self.relay.awaiting_response()
            && !self.flow.as_ref().is_some_and(|flow| flow.is_broken_off())
    }

    /// Ends without a whole answer: the client sees a reset.
    fn give_up(&mut self, outcome: Outcome) {
        self.client.reset_at_close();
        self.end(outcome);
    }

    /// The worker's endpoint was reached.
    fn reached(&mut self) {
        if let Some(lease) = &mut self.lease {
            let (took, was_tried) = (self.connecting_since.elapsed(), self.search.is_some());
            self.record.reached(lease, took, was_tried, || self.client.peer_ip());
        }
        if self.relay.is_engaged() {
            self.registration.moved(self.relay.awaiting_response());
        }
        self.registration.due_when_silent(self.shard().pool.config().idle_timeout);
        self.stage = Stage::Relaying;
    }

    fn poll_relay(&mut self, cx: &mut Context<'_>, reason: Option<WakeReason>) -> Poll<()> {
        if reason == Some(WakeReason::Reclaim) && self.is_reclaimed() {
            return Poll::Ready(());
        }
        // Held until this connection has done what the reason asks for it: then its socket may be told a tag.
        let has_barrier = matches!(reason, Some(WakeReason::WorkerExited | WakeReason::Recalled));
        let barrier = if has_barrier { self.registration.barrier() } else { None };
        if reason.is_some_and(|reason| self.changes_worker(reason, barrier.as_deref())) {
            return Poll::Ready(());
        }
        let half_closed = self.shard().pool.config().half_closed_timeout;
        let (Some(upstream), Some(lease)) = (&mut self.upstream, &mut self.lease) else { return Poll::Ready(()) };
        let mut sides =
            Sides { client: &mut self.client, upstream, registration: &self.registration, lease, half_closed };
        let was_answered = self.relay.is_answered();
        let mut moved = Moved::default();
        let end = self.relay.poll(cx, &mut sides, reason, &mut moved);
        if moved.any {
            self.registration.moved(self.relay.awaiting_response());
            let stats = &lease.upstream().stats;
            stats.rx_bytes.add(moved.up);
            stats.tx_bytes.add(moved.down);
            lease.upstream().sent.add(moved.down);
        }
        if lease.upstream().is_draining() {
            self.flow.get_or_insert_default().observe(
                moved.down > 0,
                end.is_ready() || self.relay.is_orphaned(),
                Instant::now,
            );
        }
        if self.relay.is_answered() && !was_answered {
            self.record.answered();
        }
        if self.relay.is_engaged() {
            self.count();
        }
        match ready!(end) {
            RelayEnd::Ended(outcome) => self.end(outcome),
            RelayEnd::Deliver(client_end) => self.deliver(client_end),
            RelayEnd::Untouched(error) => {
                let family = self.upstream.as_ref().map_or(Family::Tcp, Stream::family);
                self.upstream_failed(net::connect::classify(&error, family));
            }
        }
        Poll::Ready(())
    }

    /// The worker's part is over, and the client's is not: the worker is given back at once.
    fn deliver(&mut self, client_end: ClientEnd) {
        self.count();
        // Now: later it has been silent in any case.
        let [fin, reset] = [self.relay.at_fin(), Outcome::UpstreamReset].map(|outcome| self.judged(outcome));
        self.upstream = None;
        self.relay.worker_is_gone();
        if let Some(lease) = &mut self.lease {
            // Whatever becomes of the client, the worker's part is known.
            let is_settled = client_end == ClientEnd::Fin;
            if is_settled {
                lease.upstream().closes[fin as usize].increment();
            }
            lease.release(is_settled);
        }
        self.registration.belongs_to(None);
        let idle = self.shard().pool.config().idle_timeout;
        self.delivery = Some(Box::new(Delivery::begin(
            client_end,
            PossibleOutcomes { fin, reset },
            &self.client,
            &self.registration,
            idle,
        )));
        self.stage = Stage::Delivering;
    }

    fn poll_delivering(&mut self, cx: &mut Context<'_>, reason: Option<WakeReason>) -> Poll<()> {
        let Some(delivery) = &mut self.delivery else { return Poll::Ready(()) };
        let lease = &self.lease;
        let phase = || lease.as_ref().map(|lease| lease.upstream().process_phase());
        let has_died = || matches!(phase(), Some(ProcessPhase::Exiting | ProcessPhase::EndedBadly));
        self.record.end(ready!(delivery.poll(cx, &mut self.client, &self.registration, reason, has_died)));
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

    /// Returns true if a reason ends the connection's time with this worker, and not the connection.
    fn changes_worker(&mut self, reason: WakeReason, barrier: Option<&RecoveryBarrier>) -> bool {
        match reason {
            WakeReason::WorkerExited => {
                barrier.is_some_and(|barrier| self.recover(barrier.recovery(), WakeReason::WorkerExited))
            }
            WakeReason::Recalled => {
                barrier.is_some_and(|barrier| self.recover(barrier.recovery(), WakeReason::Recalled))
            }
            WakeReason::CloseIfIdle(Scope::Worker) | WakeReason::Abort(Scope::Worker) => {
                let is_silent = self.upstream.as_ref().is_some_and(Stream::is_silent);
                is_silent && !self.relay.is_engaged() && self.switch_upstream()
            }
            WakeReason::CloseIfIdle(Scope::All)
            | WakeReason::Abort(Scope::All)
            | WakeReason::TimedOut
            | WakeReason::Reclaim => false,
        }
    }

    /// Counts it as a connection of its slot, once.
    fn count(&mut self) {
        if let Some(lease) = &self.lease
            && self.record.given(lease)
        {
            self.relay.forget_preamble();
        }
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let mut reason = this.registration.wake_reason(cx);
        loop {
            match this.stage {
                Stage::Searching => ready!(this.poll_search(cx, reason.take())),
                Stage::Connecting => ready!(this.poll_connect(cx, reason.take())),
                Stage::Relaying => ready!(this.poll_relay(cx, reason.take())),
                Stage::Recovering => ready!(this.poll_recovering(cx, reason.take())),
                Stage::Delivering => ready!(this.poll_delivering(cx, reason.take())),
                Stage::Over => return Poll::Ready(()),
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.record.count(self.lease.as_ref());
    }
}

/// Returns the PROXY header that the worker is sent first; empty if nothing.
fn proxy_header(version: ProxyProtocol, peer: Option<SocketAddr>, client: &impl AsFd) -> Vec<u8> {
    if version == ProxyProtocol::Off {
        return Vec::new();
    }
    // Asked of the socket, since a listener on all addresses does not know which one it was.
    let local = SockRef::from(client).local_addr().ok().and_then(|local| local.as_socket());
    proxy_header::of_client(version, peer, local)
}

/// Returns the bytes that the client has sent so far, behind `header`: nothing more if it said nothing, or if it only
/// ended its side.
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
    fn idle_connection_is_small() {
        let size = size_of::<Connection>();
        println!("{size} bytes");
        assert!(size <= 304, "{size} bytes");
    }
}
