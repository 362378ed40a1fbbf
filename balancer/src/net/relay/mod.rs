//! The relay: both directions of one connection, and what to do when one of them breaks.
//!
//! Its promises:
//!
//! - A FIN is handed on after every byte before it, and the other direction stays open.
//! - A reset is handed on as a reset: a truncated answer never looks complete. Nor does that of a killed worker, for which
//!   the kernel says FIN: a FIN from a process that is exiting is held until it is known how it ended, and becomes a reset
//!   if that was badly. (A child of the worker's own that is killed is not known of. And so ends, rarely, a complete answer that a slow client had not taken before its worker died.)
//! - An answer given during an upload (`413` and close) arrives whole. A worker that closes with unread bytes resets,
//!   although its answer is complete; so a reset from the worker while the client uploads is an early close: what the
//!   worker said is delivered, then FIN, and the rest of the upload is discarded.
//! - Every byte that was read from the worker reaches the client before a reset does: [`Delivery`].
//! - Until the client's first byte or end has gone up, or the worker's down, the worker can be replaced; then
//!   [`Verdict::Untouched`] says so. A [`Preface`] is ours, so a worker that was given no more than that is untouched.
//! - One that died without reading anything can be replaced later still, if its queue was recovered ([`crate::net::recovery`]).

mod delivery;
mod orders;

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::net::conns::{Order, Place};
use crate::net::direction::{Direction, Round, State};
use crate::net::preface::Preface;
use crate::net::stream::Stream;
use crate::rotation::{Lease, Life};
use crate::stats::Outcome;
use orders::ORPHAN;

pub(crate) use delivery::{Delivery, Ending, Judged};

/// The size of the one read buffer of a thread. 64 KiB is slower: it falls out of the L1 and L2 caches.
const SCRATCH: usize = 32 * 1024;
/// Reads each way a poll; then other connections of the thread get their turn.
const ROUNDS: usize = 16;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Lends this thread's read buffer. What it holds before a read is another connection's: use only what was read.
pub(crate) fn with_scratch<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| read(buffer))
}

/// How a relay is over.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The connection has ended. Close both sides: those that must see a reset will.
    Ended(Outcome),
    /// The worker's side has ended, and all that it said was written to the client's socket: a [`Delivery`] does the rest.
    Deliver(Ending),
    /// The upstream broke before a byte or an end went either way: another may be tried.
    Untouched(io::Error),
}

/// The two sides of a relay and their place among the thread's connections.
pub(crate) struct Ends<'a> {
    pub(crate) client: &'a mut Stream,
    pub(crate) upstream: &'a mut Stream,
    pub(crate) place: &'a Place,
    /// The hold on whose end the upstream is. It counts while the client waits for that worker.
    pub(crate) lease: &'a mut Lease,
    /// Silence allowed once one direction has ended.
    pub(crate) half_closed: Duration,
}

/// Bytes written in one poll, a preface not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// To the worker.
    pub(crate) up: u64,
    /// To the client.
    pub(crate) down: u64,
    /// Whether anything was read or written at all.
    pub(crate) any: bool,
}

enum Turn {
    Idle,
    Again,
    Over(Verdict),
}

/// The state of one connection's relay; the streams are lent to each poll.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    up: Direction,
    down: Direction,
    /// The client has ended its side of an upload that is discarded.
    client_ended: bool,
    /// A byte or an end has gone one way or the other.
    is_engaged: bool,
    /// A byte came from the worker.
    is_answered: bool,
    /// Bytes went up and none came down since.
    owes: bool,
    /// Outcome if both sides end in order, known when the worker ends its side.
    at_fin: Option<Outcome>,
    /// The worker's process has ended, and this often nothing has moved since although there was something to deliver.
    orphaned: Option<u8>,
}

impl Relay {
    /// A relay that starts with bytes already read from the client, behind those of `preface` if there is one.
    pub(crate) fn with(early: Vec<u8>, preface: Option<Box<Preface>>) -> Self {
        Self { up: Direction::with(early, preface), ..Self::default() }
    }

    /// What is to be written to the worker already.
    pub(crate) fn early(&self) -> &[u8] {
        self.up.kept()
    }

    /// Says that `n` of [`Relay::early`] were sent; returns how many of them were the client's.
    pub(crate) fn sent_early(&mut self, n: usize) -> usize {
        let clients = self.up.written(n);
        self.is_engaged |= clients > 0;
        self.owes |= clients > 0;
        clients
    }

    /// Forgets a worker that was given nothing of the client's; what the client has said is kept for the next one.
    pub(crate) fn start_over(&mut self) {
        self.up.start_over();
        *self = Self { up: std::mem::take(&mut self.up), ..Self::default() };
    }

    /// Gives back the preface that no other worker will need. For when the relay is engaged.
    pub(crate) fn forget_preface(&mut self) {
        self.up.forget_preface();
    }

    pub(crate) fn is_engaged(&self) -> bool {
        self.is_engaged
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Whether the client is owed something, as far as bytes have moved.
    pub(crate) fn owes(&self) -> bool {
        self.owes || !self.down.kept().is_empty()
    }

    /// True if the client's bytes were the last to move, or did not get as far as the worker.
    pub(crate) fn awaits_answer(&self) -> bool {
        self.owes || self.up.state() == State::Stopped || !self.up.kept().is_empty()
    }

    /// True once the worker's process is known to have ended, or its end was seen while it was ending.
    pub(crate) fn is_orphaned(&self) -> bool {
        self.orphaned.is_some()
    }

    /// Outcome of a connection that its worker has ended in order.
    pub(crate) fn at_fin(&self) -> Outcome {
        self.at_fin.unwrap_or(Outcome::Finished)
    }

    /// Whether the client has said something (or ended its side) and the worker nothing.
    pub(crate) fn is_unheard(&self) -> bool {
        self.is_engaged && !self.is_answered && self.up.state() != State::Stopped && self.down.state() == State::Open
    }

    /// Begins again with what had been sent to a worker that read none of it: `sent`, `preface` at its front if one was.
    /// What was still to be sent follows, and the client's end if it has ended its side.
    pub(crate) fn take_back(&mut self, sent: Vec<u8>, preface: Option<Box<Preface>>) {
        self.up.take_back(sent, preface);
        *self = Self { up: std::mem::take(&mut self.up), ..Self::default() };
    }

    /// Takes up what was read from the worker elsewhere.
    pub(crate) fn heard(&mut self, said: &[u8]) {
        self.is_answered |= !said.is_empty();
        self.down = Direction::with(said.to_vec(), None);
    }

    /// Copies until nothing more can be done now or the budget of a poll is used.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        ends: &mut Ends<'_>,
        order: Option<Order>,
        moved: &mut Moved,
    ) -> Poll<Verdict> {
        if let Some(verdict) = order.and_then(|order| self.on_order(order, ends)) {
            return Poll::Ready(verdict);
        }
        with_scratch(|scratch| {
            for _ in 0..ROUNDS {
                match self.copy(cx, ends, scratch, moved) {
                    Turn::Idle => return Poll::Pending,
                    Turn::Again => {}
                    Turn::Over(verdict) => return Poll::Ready(verdict),
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    /// One round each way.
    fn copy(&mut self, cx: &mut Context<'_>, ends: &mut Ends<'_>, scratch: &mut [u8], moved: &mut Moved) -> Turn {
        let mut turn = Turn::Idle;
        if self.up.is_live() {
            let round = self.up.round(cx, ends.client, ends.upstream, scratch, || {});
            if matches!(round, Round::Moved(1..)) && self.down.is_live() {
                ends.lease.set_waiting(true);
            }
            turn = self.after_up(round, ends, moved);
        } else if self.up.state() == State::Stopped && !self.client_ended {
            turn = self.discard(cx, ends, scratch);
        }
        if self.down.is_live() && !matches!(turn, Turn::Over(_)) {
            // Before the client can see the answer and come again: then it finds the worker free.
            let heard = || ends.lease.set_waiting(false);
            let round = self.down.round(cx, ends.upstream, ends.client, scratch, heard);
            match self.after_down(round, ends, moved) {
                Turn::Idle => {}
                other => turn = other,
            }
        }
        if !self.down.is_live() {
            ends.lease.set_waiting(false);
        }
        turn
    }

    /// Reads an upload that the worker does not want: a client that looks for the answer only when it has sent everything
    /// gets as far as that.
    fn discard(&mut self, cx: &mut Context<'_>, ends: &mut Ends<'_>, scratch: &mut [u8]) -> Turn {
        match ends.client.poll_read(cx, scratch) {
            Poll::Pending => Turn::Idle,
            Poll::Ready(Ok(0)) => {
                self.client_ended = true;
                Turn::Idle
            }
            Poll::Ready(Ok(_)) => Turn::Again,
            Poll::Ready(Err(_)) => Turn::Over(reset_upstream(ends)),
        }
    }

    fn after_up(&mut self, round: Round, ends: &Ends<'_>, moved: &mut Moved) -> Turn {
        match round {
            Round::Idle => return Turn::Idle,
            Round::Moved(n) => {
                moved.any = true;
                moved.up += n as u64;
                self.owes |= n > 0;
                self.is_engaged |= n > 0;
                return Turn::Again;
            }
            Round::ReadFailed(_) => return Turn::Over(reset_upstream(ends)),
            Round::WriteFailed(error) if !self.is_engaged => return Turn::Over(Verdict::Untouched(error)),
            // The worker reads no more. It may have answered: what it said is still delivered.
            Round::WriteFailed(_) => self.up.stop(),
            Round::Ended => {
                if self.down.is_live() {
                    ends.upstream.finish();
                }
                self.up.fin_sent();
            }
        }
        self.settle(ends)
    }

    fn after_down(&mut self, round: Round, ends: &Ends<'_>, moved: &mut Moved) -> Turn {
        match round {
            Round::Idle => return Turn::Idle,
            Round::Moved(n) => {
                moved.any = true;
                moved.down += n as u64;
                self.orphaned = self.orphaned.map(|_| 0);
                self.owes &= n == 0;
                self.is_answered = true;
                self.is_engaged = true;
                return Turn::Again;
            }
            Round::ReadFailed(error) if !self.is_engaged => return Turn::Over(Verdict::Untouched(error)),
            Round::ReadFailed(_) => return Turn::Over(self.upstream_reset(ends)),
            // The client is gone, or at least reads no more. What it still sends is delivered before the worker
            // hears of it.
            Round::WriteFailed(_) => self.down.stop(),
            Round::Ended if self.up.state() == State::Stopped && !self.is_answered => {
                return Turn::Over(reset_client(ends));
            }
            Round::Ended => match ends.lease.upstream().life() {
                // The kernel says FIN for a killed process, too. How it ended is told in a moment; if not, only a thread
                // of it has ended.
                Life::Exiting if self.orphaned.is_none_or(|waits| waits == 0) => {
                    self.orphaned.get_or_insert(0);
                    ends.place.due_in(ORPHAN);
                    return Turn::Idle;
                }
                Life::EndedBadly if !self.is_engaged => {
                    return Turn::Over(Verdict::Untouched(io::ErrorKind::ConnectionReset.into()));
                }
                Life::EndedBadly => return Turn::Over(self.broken(ends)),
                life @ (Life::Exiting | Life::Running | Life::EndedWell) => {
                    if self.up.state() != State::FinSent {
                        ends.client.finish();
                    }
                    self.at_fin = Some(match self.up.state() {
                        _ if !self.owes => Outcome::Finished,
                        State::Open => Outcome::UpstreamClosed,
                        _ => Outcome::ClientLeft,
                    });
                    self.down.fin_sent();
                    self.orphaned = None;
                    if life == Life::EndedWell && self.up.state() != State::FinSent {
                        return Turn::Over(Verdict::Deliver(Ending::Fin));
                    }
                }
            },
        }
        self.settle(ends)
    }

    /// After a direction ended: is the connection over?
    fn settle(&mut self, ends: &Ends<'_>) -> Turn {
        self.is_engaged = true;
        match (self.up.state(), self.down.state()) {
            (State::FinSent, State::FinSent) => {
                return Turn::Over(Verdict::Ended(self.at_fin()));
            }
            (State::FinSent | State::Stopped, State::Stopped) => return Turn::Over(reset_upstream(ends)),
            (State::Stopped, State::FinSent) => return Turn::Over(Verdict::Deliver(Ending::Fin)),
            _ if self.orphaned.is_some() => {}
            // Never, on its own account: the idle timeout goes on.
            _ if ends.half_closed.is_zero() => {}
            _ => ends.place.due_when_silent(ends.half_closed),
        }
        Turn::Again
    }

    /// The worker reset the connection: did it close early on an upload, or did it break off its answer?
    fn upstream_reset(&self, ends: &Ends<'_>) -> Verdict {
        // A process that dies resets what it had not read, too: that is no early close.
        let has_died = matches!(ends.lease.upstream().life(), Life::Exiting | Life::EndedBadly);
        let is_uploading = self.up.state() == State::Stopped || !self.up.kept().is_empty();
        match self.up.state() {
            _ if has_died || !self.is_answered => self.broken(ends),
            _ if is_uploading => Verdict::Deliver(Ending::Fin),
            // Everything that the client had sent was passed on before the reset came.
            State::Open => Verdict::Deliver(Ending::Unknown),
            _ => self.broken(ends),
        }
    }

    /// The worker broke off: a reset for the client, behind what it was told.
    fn broken(&self, ends: &Ends<'_>) -> Verdict {
        if self.is_answered { Verdict::Deliver(Ending::Reset) } else { reset_client(ends) }
    }
}

fn reset_client(ends: &Ends<'_>) -> Verdict {
    ends.client.reset_at_close();
    Verdict::Ended(Outcome::UpstreamReset)
}

fn reset_upstream(ends: &Ends<'_>) -> Verdict {
    ends.upstream.reset_at_close();
    Verdict::Ended(Outcome::ClientReset)
}
