//! A connection whose worker died before it read anything, or is too busy to, takes its bytes back and goes to another.
//!
//! [`crate::net::recovery`] says which it is. It stays one connection: accepted, lasting and ending once, on the permit
//! it has. What it was sent is read back to the last byte, a PROXY header among it (which the next worker gets just so,
//! and not a second time), and its end if the client had ended its side. Its bytes and its start count for both
//! workers, since they were given to both; its end counts for the last.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;

use super::{Connection, Stage, proxy_header};
use crate::net::open_connections::WakeReason;
use crate::net::preamble::Preamble;
use crate::net::recovery::{Found, Recovery, TAG};
use crate::net::relay::with_scratch;
use crate::net::stream::Stream;
use crate::stats::Outcome;

/// The time limit of waiting for bytes that are there already.
const PATIENCE: Duration = Duration::from_secs(1);

/// The progress of a recovery.
pub(super) enum Recovering {
    /// The worker's socket may tell which worker's end is its own; it is all that is expected of it. If it does not,
    /// the connection goes on with this reason: its worker has ended, or lives and has it.
    Asked(Arc<Recovery>, WakeReason),
    /// The worker's end has taken the place of the worker's socket. What it has said so far, which is what the worker
    /// was sent.
    Reading(Vec<u8>),
}

impl Connection {
    /// Its worker has died, or its queue was emptied by us. True if what that one was sent is to be had back, or may
    /// be.
    pub(super) fn recover(&mut self, recovery: &Arc<Recovery>, reason: WakeReason) -> bool {
        let Some(upstream) = &self.upstream else { return false };
        if !self.relay.is_unheard() || !upstream.is_silent() {
            return false;
        }
        match recovery.find(upstream) {
            Found::Nothing => return false,
            Found::Far(far) => self.turn_round(far),
            Found::Wait => {
                self.recovering = Some(Box::new(Recovering::Asked(Arc::clone(recovery), reason)));
                self.registration.due_in(PATIENCE);
                self.stage = Stage::Recovering;
            }
        }
        true
    }

    pub(super) fn poll_recovering(&mut self, cx: &mut Context<'_>, reason: Option<WakeReason>) -> Poll<()> {
        if matches!(reason, Some(WakeReason::Abort(_))) {
            self.give_up(Outcome::Cut);
            return Poll::Ready(());
        }
        let is_late = reason == Some(WakeReason::TimedOut);
        match self.recovering.as_deref_mut() {
            Some(Recovering::Asked(recovery, _)) => {
                let recovery = Arc::clone(recovery);
                self.poll_asked(cx, &recovery, is_late)
            }
            Some(Recovering::Reading(_)) => self.poll_reading(cx, is_late),
            None => self.not_found(cx),
        }
    }

    fn poll_asked(&mut self, cx: &mut Context<'_>, recovery: &Recovery, is_late: bool) -> Poll<()> {
        let Some(upstream) = &mut self.upstream else { return self.not_found(cx) };
        // Asked before the socket is: a tag that was sent by then is there, and one that was not may still come.
        let is_over = recovery.is_tagged();
        let mut said = [0; TAG];
        match upstream.poll_read(cx, &mut said) {
            Poll::Pending if is_late && !is_over => {
                self.registration.due_in(PATIENCE);
                Poll::Pending
            }
            Poll::Pending if !is_late => Poll::Pending,
            Poll::Ready(Ok(n)) if n > 0 => {
                let said = said.get(..n).unwrap_or_default();
                if let Some(far) = recovery.find_tagged(said) {
                    self.turn_round(far);
                    return Poll::Ready(());
                }
                // Another holder of that socket goes on where the worker ended.
                self.relay.heard(said);
                self.lease.iter_mut().for_each(|lease| lease.set_waiting(false));
                self.not_found(cx)
            }
            Poll::Pending | Poll::Ready(_) => self.not_found(cx),
        }
    }

    /// It was not in the queue: it goes on as any other connection of that worker.
    fn not_found(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reason = match self.recovering.take().map(|recovering| *recovering) {
            Some(Recovering::Asked(_, reason)) => reason,
            _ => WakeReason::WorkerExited,
        };
        if reason == WakeReason::Recalled {
            self.registration.due_when_silent(self.shard().pool.config().idle_timeout);
        }
        self.stage = Stage::Relaying;
        self.poll_relay(cx, Some(reason))
    }

    /// Reads from the other side of the connection to the dead worker. Closing this side marks the end of what was
    /// sent.
    fn turn_round(&mut self, far: OwnedFd) {
        let family = self.upstream.as_ref().map(Stream::family);
        self.upstream = family.and_then(|family| Stream::register(far, family).ok());
        self.registration.belongs_to(None);
        self.registration.due_in(PATIENCE);
        self.recovering = Some(Box::new(Recovering::Reading(Vec::new())));
        self.stage = Stage::Recovering;
    }

    fn poll_reading(&mut self, cx: &mut Context<'_>, is_late: bool) -> Poll<()> {
        let end = match (&mut self.upstream, self.recovering.as_deref_mut()) {
            (Some(far), Some(Recovering::Reading(sent))) => read_back(far, sent, cx),
            _ => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        if end.is_pending() && !is_late {
            return Poll::Pending;
        }
        self.upstream = None;
        match (end, self.recovering.take().map(|recovering| *recovering)) {
            (Poll::Ready(Ok(())), Some(Recovering::Reading(sent))) => self.begin_again(sent),
            _ => self.give_up(Outcome::UpstreamReset),
        }
        Poll::Ready(())
    }

    fn begin_again(&mut self, sent: Vec<u8>) {
        let pool = Arc::clone(&self.shard().pool);
        if pool.rotation.is_stopped() {
            // No other worker is coming, and nobody has read what it said: it is lost whatever its protocol is. While
            // it holds its lease the loss is counted with that worker's end.
            self.client.reset_at_close();
            self.record.end(Outcome::Cut);
            self.stage = Stage::Over;
            return;
        }
        let peer = SockRef::from(&self.client).peer_addr().ok().and_then(|peer| peer.as_socket());
        // The header is known again, so that a worker that was given no more than that may be replaced, too.
        let header = proxy_header(pool.config().proxy_protocol, peer, &self.client);
        let preamble = if sent.starts_with(&header) { Preamble::new(header) } else { None };
        self.relay.take_back(sent, preamble);
        self.record.recovered();
        // Only now: when the last lease on the dead worker is gone, what became of its connections is counted.
        self.lease = None;
        self.search = None;
        self.stage = Stage::Searching;
    }
}

/// Reads to the end.
fn read_back(far: &mut Stream, sent: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    with_scratch(|scratch| {
        loop {
            match ready!(far.poll_read(cx, scratch))? {
                0 => return Poll::Ready(Ok(())),
                n => sent.extend_from_slice(scratch.get(..n).unwrap_or_default()),
            }
        }
    })
}
