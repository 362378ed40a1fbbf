//! One client's connection, from accept to close: one flat future.
//!
//! It holds both streams itself and is spawned directly, since every nested future would hold its own copy of them: an
//! idle connection costs what this struct and two sockets cost. What is rare is boxed when it happens.
//!
//! The connection goes from [`Stage`] to stage. A stage owns what it needs of a worker, a stage's poll takes it by value
//! and returns the next one: `connect` has the first two, `relaying` those in which the worker has the connection, and
//! `recover` those in which a dead worker's bytes are taken back.

mod connect;
mod flow;
mod recover;
mod relaying;

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
use recover::{AwaitingTag, ReadingBack};

use super::accept::Accepted;
use super::record::ConnectionRecord;
use super::shard::{ConnectionPermit, Shard};
use crate::config::ProxyProtocol;
use crate::net;
use crate::net::open_connections::Registration;
use crate::net::preamble::Preamble;
use crate::net::proxy_header;
use crate::net::relay::{Delivery, Relay, with_scratch};
use crate::net::stream::Stream;
use crate::rotation::Lease;
use crate::stats::Outcome;
use crate::strategy::PickContext;

/// A client's connection as a task of its data thread.
pub(super) struct Connection {
    // Dropped in this order: both ends are closed before the lease and the permit say so.
    client: Stream,
    stage: Stage,
    relay: Relay,
    /// Made when the first worker could not be connected to, or none was in rotation.
    search: Option<Box<PolledSearch>>,
    registration: Registration,
    record: ConnectionRecord,
}

/// The stage of a connection. Once the end of the connection is known, the stage does not change any more.
#[derive(Default)]
enum Stage {
    /// It has no worker.
    #[default]
    Searching,
    /// The worker's endpoint was not reached yet.
    Connecting(UpstreamSide),
    /// The worker was reached.
    Relaying(UpstreamSide),
    /// The worker died or its queue was emptied. A tag tells if that gave the connection's bytes back.
    AwaitingTag(Box<AwaitingTag>),
    /// The bytes that the worker had not read are read back.
    ReadingBack(Box<ReadingBack>),
    /// The worker has ended its side. What it said is still on its way to the client.
    Delivering(Lease, Box<Delivery>),
}

/// The worker's side of a connection.
struct UpstreamSide {
    // Dropped in this order: the socket is closed before the lease says so.
    stream: Stream,
    lease: Lease,
    /// Made when the worker drains, and so not a part of every idle connection.
    flow: Option<Box<Flow>>,
    /// The time at which the connect began.
    since: Instant,
}

/// The result of a stage's poll: the stage afterwards, and `Pending` if it waits.
type Step = (Stage, Poll<()>);

impl Stage {
    /// Returns the hold on the worker that has the connection.
    fn lease(&self) -> Option<&Lease> {
        match self {
            Stage::Searching => None,
            Stage::Connecting(side) | Stage::Relaying(side) => Some(&side.lease),
            Stage::AwaitingTag(awaiting) => Some(awaiting.lease()),
            Stage::ReadingBack(reading) => Some(reading.lease()),
            Stage::Delivering(lease, _) => Some(lease),
        }
    }
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
            stage: Stage::Searching,
            relay: Relay::default(),
            search: None,
            registration: Registration::new(shard.index),
            record: ConnectionRecord::begin(permit, accepted),
        };
        match (early, begun) {
            (Err(_), _) => connection.record.end(Outcome::ClientReset),
            (Ok(early), begun) => {
                if early.len() > header.len() {
                    connection.registration.moved(false);
                }
                connection.relay = Relay::with(early, Preamble::new(header));
                connection.stage = match begun {
                    Some((Ok(begun), lease)) => connection.adopt_socket(lease, begun),
                    Some((Err(error), lease)) => connection.failed(lease, error),
                    None => Stage::Searching,
                };
            }
        }
        Ok(connection)
    }

    fn shard(&self) -> &Shard {
        self.record.shard()
    }

    /// Ends without a whole answer: the client sees a reset.
    fn give_up(&mut self, outcome: Outcome) {
        self.client.reset_at_close();
        self.record.end(outcome);
    }

    /// Returns the outcome for the counters, where the worker or a drain ended the connection: it tells a lost client
    /// from one that waited for nothing.
    fn judged(&self, outcome: Outcome, lease: &Lease, flow: Option<&Flow>) -> Outcome {
        let is_draining = lease.upstream().is_draining();
        match outcome {
            Outcome::Cut | Outcome::UpstreamReset | Outcome::UpstreamClosed
                if self.relay.awaits_answer()
                    && (is_draining || outcome == Outcome::Cut)
                    && !self.shard().pool.has_answered() =>
            {
                Outcome::Unanswered
            }
            Outcome::UpstreamReset if is_draining && self.is_idle(flow) => Outcome::Closed,
            outcome => outcome,
        }
    }

    /// Returns true if the last bytes that moved were an answer, and it was not broken off, as far as a relay can tell.
    fn is_idle(&self, flow: Option<&Flow>) -> bool {
        !self.relay.awaits_answer() && !self.relay.awaiting_response() && !flow.is_some_and(|flow| flow.is_broken_off())
    }

    /// Ends for a new client if no byte has gone either way; what the client has just said counts.
    fn is_reclaimed(&mut self, upstream: Option<&Stream>) -> bool {
        let is_unused = !self.relay.is_engaged() && self.client.is_silent() && upstream.is_none_or(Stream::is_silent);
        if is_unused {
            self.record.end(Outcome::Reclaimed);
        }
        is_unused
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let mut reason = this.registration.wake_reason(cx);
        while !this.record.has_ended() {
            let (stage, progress) = match std::mem::take(&mut this.stage) {
                Stage::Searching => this.poll_search(cx, reason.take()),
                Stage::Connecting(side) => this.poll_connect(side, cx, reason.take()),
                Stage::Relaying(side) => this.poll_relay(side, cx, reason.take()),
                Stage::AwaitingTag(awaiting) => awaiting.poll(this, cx, reason.take()),
                Stage::ReadingBack(reading) => reading.poll(this, cx, reason.take()),
                Stage::Delivering(lease, delivery) => this.poll_delivering(lease, delivery, cx, reason.take()),
            };
            this.stage = stage;
            ready!(progress);
        }
        Poll::Ready(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.record.count(self.stage.lease());
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
