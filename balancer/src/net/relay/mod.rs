//! The relay: both directions of one connection, and what to do when one of them breaks.
//!
//! Its promises:
//!
//! - A FIN is passed on after every byte before it, and the other direction stays open.
//! - A reset is passed on as a reset: a truncated answer never looks complete. The kernel sends FIN for a killed
//!   worker, too. So a FIN from a process that is exiting is held until its exit status is known, and becomes a reset
//!   if the process ended badly. (A killed child of the worker is not noticed. Rarely a complete answer, too, ends by a
//!   reset, if a slow client had not taken it before its worker died.)
//! - An answer given during an upload (`413` and close) arrives whole. A worker that closes with unread bytes resets,
//!   although its answer is complete; so a reset from the worker while the client uploads is an early close: the
//!   worker's bytes are delivered, then FIN, and the rest of the upload is discarded.
//! - Every byte that was read from the worker reaches the client before a reset does: [`Delivery`].
//! - Until the client's first byte or end has gone up, or the worker's down, the worker can be replaced;
//!   [`RelayEnd::Untouched`] reports that. A [`Preamble`] is ours, so a worker that was given only that is untouched.
//! - A worker that died without reading anything can be replaced even later, if its queue was recovered
//!   ([`crate::net::recovery`]).

mod delivery;
pub(crate) mod direction;
mod read_ahead;
mod scratch;
mod sides;
mod wake;

use std::io;
use std::task::{Context, Poll};

use crate::net::open_connections::WakeReason;
use crate::net::preamble::Preamble;
use crate::net::relay::direction::{Direction, Round, State};
use crate::rotation::ProcessPhase;
use crate::stats::Outcome;
use read_ahead::ReadAhead;
use sides::{RelayRound, reset_client, reset_upstream};
use wake::AFTER_EXIT;

pub(crate) use delivery::{ClientEnd, Delivery, PossibleOutcomes};
pub(crate) use read_ahead::Room;
pub(crate) use scratch::with_scratch;
pub(crate) use sides::{Moved, RelayEnd, Sides};

/// Reads each way a poll; then other connections of the thread get their turn.
const ROUNDS: usize = 16;

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
    awaiting_response: bool,
    /// The outcome if both sides end in order. It is known when the worker ends its side.
    at_fin: Option<Outcome>,
    /// Set once the worker's process has ended: the number of waits in which nothing moved although bytes were left to
    /// deliver.
    exit_waits: Option<u8>,
    ahead: ReadAhead,
}

impl Relay {
    /// Makes a relay that starts with bytes already read from the client, behind those of `preamble` if there is one.
    pub(crate) fn with(early: Vec<u8>, preamble: Option<Box<Preamble>>) -> Self {
        Self { up: Direction::with(early, preamble), ..Self::default() }
    }

    /// Returns the bytes that are to be written to the worker already.
    pub(crate) fn early(&self) -> &[u8] {
        self.up.kept()
    }

    /// Records that `n` of [`Relay::early`] were sent. Returns how many of them were the client's.
    pub(crate) fn sent_early(&mut self, n: usize) -> usize {
        let clients = self.up.written(n);
        self.is_engaged |= clients > 0;
        self.awaiting_response |= clients > 0;
        clients
    }

    /// Forgets a worker that was given nothing of the client's. The client's bytes are kept for the next one.
    pub(crate) fn start_over(&mut self) {
        self.up.start_over();
        *self = Self { up: std::mem::take(&mut self.up), ..Self::default() };
    }

    /// Drops the preamble, which no other worker will need. Called when the relay is engaged.
    pub(crate) fn forget_preamble(&mut self) {
        self.up.forget_preamble();
    }

    /// Sets the room of the connection to a worker.
    pub(crate) fn set_room(&mut self, room: Room) {
        self.ahead = ReadAhead::with(room);
    }

    /// Gives back the wide room of a worker that is gone.
    pub(crate) fn worker_is_gone(&mut self) {
        self.ahead = ReadAhead::default();
    }

    pub(crate) fn is_engaged(&self) -> bool {
        self.is_engaged
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Returns true if the client awaits a response, judged by the bytes that have moved.
    pub(crate) fn awaiting_response(&self) -> bool {
        self.awaiting_response || !self.down.kept().is_empty()
    }

    /// Returns true if the client's bytes were the last to move, or did not reach the worker.
    pub(crate) fn awaits_answer(&self) -> bool {
        self.awaiting_response || self.up.state() == State::Stopped || !self.up.kept().is_empty()
    }

    /// Returns true once the worker's process is known to have ended, or its FIN came while it was ending.
    pub(crate) fn is_orphaned(&self) -> bool {
        self.exit_waits.is_some()
    }

    /// Returns the outcome of a connection that its worker has ended in order.
    pub(crate) fn at_fin(&self) -> Outcome {
        self.at_fin.unwrap_or(Outcome::Finished)
    }

    /// Returns true if the client has sent something (or ended its side) and the worker has sent nothing.
    pub(crate) fn is_unheard(&self) -> bool {
        self.is_engaged && !self.is_answered && self.up.state() != State::Stopped && self.down.state() == State::Open
    }

    /// Begins again with `sent`, the bytes that a worker was sent and did not read, with `preamble` at the front if
    /// there was one. The bytes that were still to be sent follow, then the client's end if it has ended its side.
    pub(crate) fn take_back(&mut self, sent: Vec<u8>, preamble: Option<Box<Preamble>>) {
        self.up.take_back(sent, preamble);
        *self = Self { up: std::mem::take(&mut self.up), ..Self::default() };
    }

    /// Takes over bytes that were read from the worker elsewhere.
    pub(crate) fn heard(&mut self, said: &[u8]) {
        self.is_answered |= !said.is_empty();
        self.down = Direction::with(said.to_vec(), None);
    }

    /// Copies until nothing more can be done now or the budget of a poll is used.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        sides: &mut Sides<'_>,
        reason: Option<WakeReason>,
        moved: &mut Moved,
    ) -> Poll<RelayEnd> {
        if let Some(end) = reason.and_then(|reason| self.on_wake(reason, sides)) {
            return Poll::Ready(end);
        }
        with_scratch(|scratch| {
            for _ in 0..ROUNDS {
                let round_result = self.copy(cx, sides, scratch, moved);
                let is_at_rest = matches!(round_result, RelayRound::Idle);
                let is_idle = is_at_rest && !self.awaiting_response && self.is_answered && self.down.kept().is_empty();
                self.ahead.adjust(is_at_rest, is_idle, sides.upstream);
                match round_result {
                    RelayRound::Idle => return Poll::Pending,
                    RelayRound::Again => {}
                    RelayRound::Over(end) => return Poll::Ready(end),
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    /// One round each way.
    fn copy(
        &mut self,
        cx: &mut Context<'_>,
        sides: &mut Sides<'_>,
        scratch: &mut [u8],
        moved: &mut Moved,
    ) -> RelayRound {
        let mut round_result = RelayRound::Idle;
        if self.up.is_live() {
            let round = self.up.round(cx, sides.client, sides.upstream, scratch, || {});
            if matches!(round, Round::Moved(1..)) && self.down.is_live() {
                sides.lease.set_waiting(true);
            }
            round_result = self.after_up(round, sides, moved);
        } else if self.up.state() == State::Stopped && !self.client_ended {
            round_result = self.discard(cx, sides, scratch);
        }
        if self.down.is_live() && !matches!(round_result, RelayRound::Over(_)) {
            // Called before the client can see the answer, so that its next request finds the worker free.
            let heard = || sides.lease.set_waiting(false);
            let round = self.down.round(cx, sides.upstream, sides.client, scratch, heard);
            match self.after_down(round, sides, moved) {
                RelayRound::Idle => {}
                other => round_result = other,
            }
        }
        if !self.down.is_live() {
            sides.lease.set_waiting(false);
        }
        round_result
    }

    /// Reads an upload that the worker does not want: a client that looks for the answer only when it has sent
    /// everything gets as far as that.
    fn discard(&mut self, cx: &mut Context<'_>, sides: &mut Sides<'_>, scratch: &mut [u8]) -> RelayRound {
        match sides.client.poll_read(cx, scratch) {
            Poll::Pending => RelayRound::Idle,
            Poll::Ready(Ok(0)) => {
                self.client_ended = true;
                RelayRound::Idle
            }
            Poll::Ready(Ok(_)) => RelayRound::Again,
            Poll::Ready(Err(_)) => RelayRound::Over(reset_upstream(sides)),
        }
    }

    fn after_up(&mut self, round: Round, sides: &Sides<'_>, moved: &mut Moved) -> RelayRound {
        match round {
            Round::Idle => return RelayRound::Idle,
            Round::Moved(n) => {
                moved.any = true;
                moved.up += n as u64;
                self.ahead.moved(n);
                self.awaiting_response |= n > 0;
                self.is_engaged |= n > 0;
                return RelayRound::Again;
            }
            Round::ReadFailed(_) => return RelayRound::Over(reset_upstream(sides)),
            Round::WriteFailed(error) if !self.is_engaged => return RelayRound::Over(RelayEnd::Untouched(error)),
            // The worker reads no more. It may have answered, so its bytes are still delivered.
            Round::WriteFailed(_) => self.up.stop(),
            Round::Ended => {
                if self.down.is_live() {
                    sides.upstream.finish();
                }
                self.up.fin_sent();
            }
        }
        self.settle(sides)
    }

    fn after_down(&mut self, round: Round, sides: &Sides<'_>, moved: &mut Moved) -> RelayRound {
        match round {
            Round::Idle => return RelayRound::Idle,
            Round::Moved(n) => {
                moved.any = true;
                moved.down += n as u64;
                self.ahead.moved(n);
                self.exit_waits = self.exit_waits.map(|_| 0);
                self.awaiting_response &= n == 0;
                self.is_answered = true;
                self.is_engaged = true;
                return RelayRound::Again;
            }
            Round::ReadFailed(error) if !self.is_engaged => return RelayRound::Over(RelayEnd::Untouched(error)),
            Round::ReadFailed(_) => return RelayRound::Over(self.upstream_reset(sides)),
            // The client is gone, or at least reads no more. Its last bytes are delivered before the worker's socket is
            // closed.
            Round::WriteFailed(_) => self.down.stop(),
            Round::Ended if self.up.state() == State::Stopped && !self.is_answered => {
                return RelayRound::Over(reset_client(sides));
            }
            Round::Ended => match sides.lease.upstream().process_phase() {
                // The kernel sends FIN for a killed process, too. Its exit status comes in a moment; if none comes,
                // only a thread of it has ended.
                ProcessPhase::Exiting if self.exit_waits.is_none_or(|waits| waits == 0) => {
                    self.exit_waits.get_or_insert(0);
                    sides.registration.due_in(AFTER_EXIT);
                    return RelayRound::Idle;
                }
                ProcessPhase::EndedBadly if !self.is_engaged => {
                    return RelayRound::Over(RelayEnd::Untouched(io::ErrorKind::ConnectionReset.into()));
                }
                ProcessPhase::EndedBadly => return RelayRound::Over(self.broken(sides)),
                phase @ (ProcessPhase::Exiting | ProcessPhase::Running | ProcessPhase::EndedWell) => {
                    if self.up.state() != State::FinSent {
                        sides.client.finish();
                    }
                    self.at_fin = Some(match self.up.state() {
                        _ if !self.awaiting_response => Outcome::Finished,
                        State::Open => Outcome::UpstreamClosed,
                        _ => Outcome::ClientLeft,
                    });
                    self.down.fin_sent();
                    self.exit_waits = None;
                    if phase == ProcessPhase::EndedWell && self.up.state() != State::FinSent {
                        return RelayRound::Over(RelayEnd::Deliver(ClientEnd::Fin));
                    }
                }
            },
        }
        self.settle(sides)
    }

    /// Decides if the connection is over, after a direction has ended.
    fn settle(&mut self, sides: &Sides<'_>) -> RelayRound {
        self.is_engaged = true;
        match (self.up.state(), self.down.state()) {
            (State::FinSent, State::FinSent) => {
                return RelayRound::Over(RelayEnd::Ended(self.at_fin()));
            }
            (State::FinSent | State::Stopped, State::Stopped) => return RelayRound::Over(reset_upstream(sides)),
            (State::Stopped, State::FinSent) => return RelayRound::Over(RelayEnd::Deliver(ClientEnd::Fin)),
            _ if self.exit_waits.is_some() => {}
            // `half-closed-timeout` is off. The idle timeout goes on.
            _ if sides.half_closed.is_zero() => {}
            _ => sides.registration.due_when_silent(sides.half_closed),
        }
        RelayRound::Again
    }

    /// Decides what a reset from the worker was: an early close on an upload, or an answer that was broken off.
    fn upstream_reset(&self, sides: &Sides<'_>) -> RelayEnd {
        // A dying process resets connections with unread bytes, too, which is no early close.
        let has_died =
            matches!(sides.lease.upstream().process_phase(), ProcessPhase::Exiting | ProcessPhase::EndedBadly);
        let is_uploading = self.up.state() == State::Stopped || !self.up.kept().is_empty();
        match self.up.state() {
            _ if has_died || !self.is_answered => self.broken(sides),
            _ if is_uploading => RelayEnd::Deliver(ClientEnd::Fin),
            // All bytes of the client had been passed on before the reset came.
            State::Open => RelayEnd::Deliver(ClientEnd::Unknown),
            _ => self.broken(sides),
        }
    }

    /// The worker broke off its answer: the client gets a reset after the bytes that came before.
    fn broken(&self, sides: &Sides<'_>) -> RelayEnd {
        if self.is_answered { RelayEnd::Deliver(ClientEnd::Reset) } else { reset_client(sides) }
    }
}
