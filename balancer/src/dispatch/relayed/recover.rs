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
use crate::net::recovery::{Found, Recovery, TAG};
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
    pub(super) fn lease(&self) -> &Lease {
        &self.side.lease
    }
}

impl ReadingBack {
    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl Connection {
    /// Returns the result of a recovery for this connection: the worker's end of it, if the worker had read nothing.
    pub(super) fn find(&self, side: &UpstreamSide, recovery: &Recovery) -> Found {
        if !self.relay.is_unheard() || !side.stream.is_silent() {
            return Found::Nothing;
        }
        recovery.find(&side.stream)
    }

    /// Waits for a tag, which comes once all connections that may be meant wait.
    pub(super) fn await_tag(&self, side: UpstreamSide, recovery: &Arc<Recovery>, reason: WakeReason) -> Stage {
        self.registration.due_in(PATIENCE);
        Stage::AwaitingTag(Box::new(AwaitingTag { side, recovery: Arc::clone(recovery), reason }))
    }

    /// Reads the tag, or learns that none comes.
    pub(super) fn poll_tag(
        &mut self,
        mut awaiting: Box<AwaitingTag>,
        cx: &mut Context<'_>,
        reason: Option<WakeReason>,
    ) -> Step {
        if matches!(reason, Some(WakeReason::Abort(_))) {
            self.give_up(self.judged(Outcome::Cut, awaiting.lease(), None));
            return (Stage::AwaitingTag(awaiting), Poll::Ready(()));
        }
        let is_late = reason == Some(WakeReason::TimedOut);
        // Asked before the socket is: a tag that was sent by then is there, and one that was not may still come.
        let is_over = awaiting.recovery.is_tagged();
        let mut said = [0; TAG];
        match awaiting.side.stream.poll_read(cx, &mut said) {
            Poll::Pending if is_late && !is_over => {
                self.registration.due_in(PATIENCE);
                (Stage::AwaitingTag(awaiting), Poll::Pending)
            }
            Poll::Pending if !is_late => (Stage::AwaitingTag(awaiting), Poll::Pending),
            Poll::Ready(Ok(n)) if n > 0 => {
                let said = said.get(..n).unwrap_or_default();
                if let Some(worker_end) = awaiting.recovery.find_tagged(said) {
                    return (self.turn_round(awaiting.side, worker_end), Poll::Ready(()));
                }
                // Another holder of that socket goes on where the worker ended.
                self.relay.heard(said);
                awaiting.side.lease.set_waiting(false);
                self.not_found(*awaiting, cx)
            }
            Poll::Pending | Poll::Ready(_) => self.not_found(*awaiting, cx),
        }
    }

    /// Goes on as any other connection of that worker: this one was not in the queue.
    fn not_found(&mut self, awaiting: AwaitingTag, cx: &mut Context<'_>) -> Step {
        if awaiting.reason == WakeReason::Recalled {
            self.registration.due_when_silent(self.shard().pool.config().idle_timeout);
        }
        self.poll_relay(awaiting.side, cx, Some(awaiting.reason))
    }

    /// Reads from the worker's end from now on. The near end is closed, which marks the end of what was sent.
    pub(super) fn turn_round(&mut self, side: UpstreamSide, worker_end: OwnedFd) -> Stage {
        match Stream::register(worker_end, side.stream.family()) {
            Ok(worker_end) => {
                let UpstreamSide { stream, lease, .. } = side;
                drop(stream);
                self.registration.belongs_to(None);
                self.registration.due_in(PATIENCE);
                Stage::ReadingBack(Box::new(ReadingBack { worker_end, sent: Vec::new(), lease }))
            }
            Err(_) => {
                self.give_up(self.judged(Outcome::UpstreamReset, &side.lease, None));
                Stage::Relaying(side)
            }
        }
    }

    /// Reads the bytes back to their end.
    pub(super) fn poll_reading(
        &mut self,
        mut reading: Box<ReadingBack>,
        cx: &mut Context<'_>,
        reason: Option<WakeReason>,
    ) -> Step {
        if matches!(reason, Some(WakeReason::Abort(_))) {
            self.give_up(self.judged(Outcome::Cut, reading.lease(), None));
            return (Stage::ReadingBack(reading), Poll::Ready(()));
        }
        let is_late = reason == Some(WakeReason::TimedOut);
        let stage = match read_back(&mut reading.worker_end, &mut reading.sent, cx) {
            Poll::Pending if !is_late => return (Stage::ReadingBack(reading), Poll::Pending),
            Poll::Ready(Ok(())) if self.shard().pool.rotation.is_stopped() => {
                // No other worker is coming, and no worker has read what the client said: it is lost whatever its
                // protocol is. Since the stage holds the lease, the loss is counted with that worker's end.
                self.give_up(Outcome::Cut);
                Stage::ReadingBack(reading)
            }
            Poll::Ready(Ok(())) => self.begin_again(*reading),
            Poll::Pending | Poll::Ready(Err(_)) => {
                self.give_up(self.judged(Outcome::UpstreamReset, reading.lease(), None));
                Stage::ReadingBack(reading)
            }
        };
        (stage, Poll::Ready(()))
    }

    /// Searches another worker for what was read back.
    fn begin_again(&mut self, reading: ReadingBack) -> Stage {
        let ReadingBack { worker_end, sent, lease } = reading;
        drop(worker_end);
        let peer = SockRef::from(&self.client).peer_addr().ok().and_then(|peer| peer.as_socket());
        // The header is known again, so that a worker that was given no more than that may be replaced, too.
        let header = proxy_header(self.shard().pool.config().proxy_protocol, peer, &self.client);
        let preamble = if sent.starts_with(&header) { Preamble::new(header) } else { None };
        self.relay.take_back(sent, preamble);
        self.record.recovered();
        // Only now: when the last lease on the dead worker is gone, what became of its connections is counted.
        drop(lease);
        self.search = None;
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
