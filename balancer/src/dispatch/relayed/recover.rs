//! The stages of a recovery: a connection whose worker died before it read anything, or is too busy to, takes its bytes
//! back and goes to another worker.
//!
//! [`crate::net::recovery`] says which connections those are. Each stays one connection: accepted, lasting and ending
//! once, on the permit it has. What it was sent is read back to the last byte, a PROXY header among it (which the next
//! worker gets just so, and not a second time), and its end if the client had ended its side. Its bytes and its start
//! count for both workers, since they were given to both; its end counts for the last.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;

use super::{Connection, Stage, Step, UpstreamSide, proxy_header};
use crate::net::open_connections::WakeReason;
use crate::net::preamble::Preamble;
use crate::net::recovery::{Recovery, TAG};
use crate::net::relay::with_scratch;
use crate::net::stream::Stream;
use crate::rotation::Lease;
use crate::stats::Outcome;

/// The time limit of waiting for bytes that are there already.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection whose socket may be sent a tag that names its worker's end. No other bytes are expected of it.
pub(super) struct AwaitingTag {
    side: UpstreamSide,
    recovery: Arc<Recovery>,
    /// The reason with which the connection goes on if no tag comes: its worker has ended, or lives and has it.
    reason: WakeReason,
}

/// A connection that reads from its worker's end, which holds what the worker was sent.
pub(super) struct ReadingBack {
    worker_end: Stream,
    sent: Vec<u8>,
    lease: Lease,
}

impl AwaitingTag {
    /// Waits for a tag, which comes once all connections that may be meant wait.
    pub(super) fn begin(
        connection: &Connection,
        side: UpstreamSide,
        recovery: &Arc<Recovery>,
        reason: WakeReason,
    ) -> Stage {
        connection.registration.due_in(PATIENCE);
        Stage::AwaitingTag(Box::new(Self { side, recovery: Arc::clone(recovery), reason }))
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.side.lease
    }

    /// Reads the tag, or learns that none comes.
    pub(super) fn poll(
        mut self: Box<Self>,
        connection: &mut Connection,
        cx: &mut Context<'_>,
        reason: Option<WakeReason>,
    ) -> Step {
        if matches!(reason, Some(WakeReason::Abort(_))) {
            connection.give_up(connection.judged(Outcome::Cut, self.lease(), None));
            return (Stage::AwaitingTag(self), Poll::Ready(()));
        }
        let is_late = reason == Some(WakeReason::TimedOut);
        // Asked before the socket is: a tag that was sent by then is there, and one that was not may still come.
        let is_over = self.recovery.is_tagged();
        let mut said = [0; TAG];
        match self.side.stream.poll_read(cx, &mut said) {
            Poll::Pending if is_late && !is_over => {
                connection.registration.due_in(PATIENCE);
                (Stage::AwaitingTag(self), Poll::Pending)
            }
            Poll::Pending if !is_late => (Stage::AwaitingTag(self), Poll::Pending),
            Poll::Ready(Ok(n)) if n > 0 => {
                let said = said.get(..n).unwrap_or_default();
                if let Some(worker_end) = self.recovery.find_tagged(said) {
                    return (ReadingBack::begin(connection, self.side, worker_end), Poll::Ready(()));
                }
                // Another holder of that socket goes on where the worker ended.
                connection.relay.heard(said);
                self.side.lease.set_waiting(false);
                self.not_found(connection, cx)
            }
            Poll::Pending | Poll::Ready(_) => self.not_found(connection, cx),
        }
    }

    /// Goes on as any other connection of that worker: this one was not in the queue.
    fn not_found(self, connection: &mut Connection, cx: &mut Context<'_>) -> Step {
        if self.reason == WakeReason::Recalled {
            connection.registration.due_when_silent(connection.shard().pool.config().idle_timeout);
        }
        connection.poll_relay(self.side, cx, Some(self.reason))
    }
}

impl ReadingBack {
    /// Reads from the worker's end from now on. The near end is closed, which marks the end of what was sent.
    pub(super) fn begin(connection: &mut Connection, side: UpstreamSide, worker_end: OwnedFd) -> Stage {
        match Stream::register(worker_end, side.stream.family()) {
            Ok(worker_end) => {
                let UpstreamSide { stream, lease, .. } = side;
                drop(stream);
                connection.registration.belongs_to(None);
                connection.registration.due_in(PATIENCE);
                Stage::ReadingBack(Box::new(Self { worker_end, sent: Vec::new(), lease }))
            }
            Err(_) => {
                connection.give_up(connection.judged(Outcome::UpstreamReset, &side.lease, None));
                Stage::Relaying(side)
            }
        }
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Reads the bytes back to their end.
    pub(super) fn poll(
        mut self: Box<Self>,
        connection: &mut Connection,
        cx: &mut Context<'_>,
        reason: Option<WakeReason>,
    ) -> Step {
        if matches!(reason, Some(WakeReason::Abort(_))) {
            connection.give_up(connection.judged(Outcome::Cut, self.lease(), None));
            return (Stage::ReadingBack(self), Poll::Ready(()));
        }
        let is_late = reason == Some(WakeReason::TimedOut);
        let stage = match read_back(&mut self.worker_end, &mut self.sent, cx) {
            Poll::Pending if !is_late => return (Stage::ReadingBack(self), Poll::Pending),
            Poll::Ready(Ok(())) if connection.shard().pool.rotation.is_stopped() => {
                // No other worker is coming, and no worker has read the client's bytes: the connection is lost whatever
                // its protocol is. Since the stage holds the lease, the loss is counted with that worker's end.
                connection.give_up(Outcome::Cut);
                Stage::ReadingBack(self)
            }
            Poll::Ready(Ok(())) => self.begin_again(connection),
            Poll::Pending | Poll::Ready(Err(_)) => {
                connection.give_up(connection.judged(Outcome::UpstreamReset, self.lease(), None));
                Stage::ReadingBack(self)
            }
        };
        (stage, Poll::Ready(()))
    }

    /// Gives the bytes back to the connection, which searches another worker for them.
    fn begin_again(self, connection: &mut Connection) -> Stage {
        let ReadingBack { worker_end, sent, lease } = self;
        drop(worker_end);
        let peer = SockRef::from(&connection.client).peer_addr().ok().and_then(|peer| peer.as_socket());
        // The header is known again, so that a worker that was given no more than that may be replaced, too.
        let header = proxy_header(connection.shard().pool.config().proxy_protocol, peer, &connection.client);
        let preamble = if sent.starts_with(&header) { Preamble::new(header) } else { None };
        connection.relay.take_back(sent, preamble);
        connection.record.recovered();
        // Only now: when the last lease on the dead worker is gone, the outcomes of its connections are counted.
        drop(lease);
        connection.search = None;
        Stage::Searching
    }
}

/// Reads to the end.
fn read_back(worker_end: &mut Stream, sent: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    with_scratch(|scratch| {
        loop {
            match ready!(worker_end.poll_read(cx, scratch))? {
                0 => return Poll::Ready(Ok(())),
                n => sent.extend_from_slice(scratch.get(..n).unwrap_or_default()),
            }
        }
    })
}
