//! One direction of a relay: read from one side, write to the other at once, keep only the bytes that it did not take.
//!
//! While bytes are kept, no more are read from that side. That is the backpressure, and it bounds the memory of a
//! connection to one read.

use std::io;
use std::task::{Context, Poll};

use crate::net::preamble::Preamble;
use crate::net::stream::Stream;

/// The state of a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// Bytes may come.
    #[default]
    Open,
    /// The source sent FIN. The kept bytes still have to go out.
    Draining,
    /// FIN was sent on, after every byte.
    FinSent,
    /// The target takes no more bytes.
    Stopped,
}

/// The result of one round.
#[derive(Debug)]
pub(crate) enum Round {
    /// Nothing can be done until a socket wakes the task.
    Idle,
    /// Bytes moved: they were read from the source (or kept before), and this many of the source's were written to the
    /// target.
    Moved(usize),
    /// The source has sent FIN and every byte of it was written. Repeated until [`Direction::fin_sent`].
    Ended,
    /// The source broke. Everything read before was written.
    ReadFailed(io::Error),
    /// The target broke. The bytes that it did not take are still kept.
    WriteFailed(io::Error),
}

/// The state of one direction.
#[derive(Debug, Default)]
pub(crate) struct Direction {
    state: State,
    /// The number of bytes of `kept` that were written.
    start: u32,
    /// Read but not yet written. No allocation while empty.
    kept: Vec<u8>,
    /// The bytes that the target is sent before any of the source's. They stand at the front of `kept`, so reads that
    /// are written at once pay nothing for them.
    preamble: Option<Box<Preamble>>,
}

impl Direction {
    /// Makes a direction that starts with bytes to be written: the preamble, if there is one, then the bytes that were
    /// read already.
    pub(crate) fn with(kept: Vec<u8>, preamble: Option<Box<Preamble>>) -> Self {
        Self { kept, preamble, ..Self::default() }
    }

    /// Begins again towards another target, if the last one was given no more than the preamble.
    pub(crate) fn start_over(&mut self) {
        if let Some(mut preamble) = self.preamble.take() {
            *self = Self::with(preamble.renew(self.kept()), Some(preamble));
        }
    }

    /// Begins again towards another target, with `sent`: the bytes that the last target was sent and had not read, with
    /// `preamble` at the front if it was sent one. The kept bytes follow. An end of the source is still to be passed
    /// on.
    pub(crate) fn take_back(&mut self, mut sent: Vec<u8>, preamble: Option<Box<Preamble>>) {
        sent.extend_from_slice(self.kept());
        let state = if self.state == State::Open { State::Open } else { State::Draining };
        *self = Self { state, ..Self::with(sent, preamble) };
    }

    /// Drops the preamble if the target has it. Called when there will be no other target.
    pub(crate) fn forget_preamble(&mut self) {
        self.preamble.take_if(|preamble| preamble.is_sent());
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Returns true if bytes or an end may still go this way.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state, State::Open | State::Draining)
    }

    /// Returns the bytes to be written: read from the source, or the preamble.
    pub(crate) fn kept(&self) -> &[u8] {
        self.kept.get(self.start as usize..).unwrap_or_default()
    }

    /// Records that the first `n` kept bytes were written. Returns how many of them were the source's.
    pub(crate) fn written(&mut self, n: usize) -> usize {
        self.start += u32::try_from(n).unwrap_or(u32::MAX);
        if self.kept().is_empty() {
            self.start = 0;
            self.kept = Vec::new();
        }
        self.preamble.as_mut().map_or(n, |preamble| preamble.written(n))
    }

    /// Records that FIN was passed on.
    pub(crate) fn fin_sent(&mut self) {
        self.state = State::FinSent;
    }

    /// Gives up on the target. The kept bytes are dropped.
    pub(crate) fn stop(&mut self) {
        *self = Self { state: State::Stopped, ..Self::default() };
    }

    /// Does one read and one write at most. Called only while live. `heard` is called between the two, if the source
    /// sent bytes.
    pub(crate) fn round(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        scratch: &mut [u8],
        heard: impl FnOnce(),
    ) -> Round {
        if !self.kept().is_empty() {
            return match to.poll_write(cx, self.kept()) {
                Poll::Pending => Round::Idle,
                Poll::Ready(Err(error)) => Round::WriteFailed(error),
                Poll::Ready(Ok(n)) => Round::Moved(self.written(n)),
            };
        }
        if self.state == State::Draining {
            return Round::Ended;
        }
        let read = match from.poll_read(cx, scratch) {
            Poll::Pending => return Round::Idle,
            Poll::Ready(Err(error)) => return Round::ReadFailed(error),
            Poll::Ready(Ok(0)) => {
                self.state = State::Draining;
                return Round::Ended;
            }
            Poll::Ready(Ok(n)) => scratch.get(..n).unwrap_or_default(),
        };
        heard();
        match to.poll_write(cx, read) {
            Poll::Ready(Ok(n)) => {
                self.kept = read.get(n..).unwrap_or_default().to_vec();
                Round::Moved(n)
            }
            Poll::Pending => {
                self.kept = read.to_vec();
                Round::Moved(0)
            }
            Poll::Ready(Err(error)) => {
                // Kept, since a worker that took nothing may be replaced by another.
                self.kept = read.to_vec();
                Round::WriteFailed(error)
            }
        }
    }
}
