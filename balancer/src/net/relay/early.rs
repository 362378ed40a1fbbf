//! A worker that answers during an upload and closes: its answer arrives whole, though the kernel resets.

use std::task::{Context, Poll};
use std::time::Duration;

use super::{Ends, Phase, Relay, Turn, Verdict, reset_client};
use crate::net::direction::State;
use crate::rotation::Life;
use crate::stats::Outcome;

/// How long and how much of an upload is discarded after its early answer. Closing at once would reset the answer away.
pub(super) const LINGER: Duration = Duration::from_secs(2);
pub(super) const LINGER_BYTES: usize = 256 * 1024;
/// After an answer that ended in a reset: how long the client may take to show that it is uploading.
const DOUBT: Duration = Duration::from_millis(50);

impl Relay {
    /// The worker reset the connection: did it close early on an upload, or did it break off its answer?
    pub(super) fn upstream_reset(&mut self, ends: &Ends<'_>) -> Turn {
        let is_uploading = self.up.state() == State::Stopped || !self.up.kept().is_empty();
        let may_upload = self.up.state() == State::Open;
        // A process that dies resets what it had not read, too: that is no early close.
        if has_died(ends) || !self.is_answered || !(is_uploading || may_upload) {
            return Turn::Over(reset_client(ends));
        }
        self.up.stop();
        if is_uploading {
            self.close_early(ends, LINGER_BYTES);
        } else {
            self.phase = Phase::InDoubt;
            ends.place.due_in(DOUBT);
        }
        Turn::Again
    }

    /// Everything the client had sent was passed on before the reset came. If it sends more now, it is uploading.
    pub(super) fn look_for_upload(&mut self, cx: &mut Context<'_>, ends: &mut Ends<'_>, scratch: &mut [u8]) -> Turn {
        match ends.client.poll_read(cx, scratch) {
            Poll::Pending => Turn::Idle,
            Poll::Ready(Ok(0)) => Turn::Over(reset_client(ends)),
            Poll::Ready(Ok(_)) if has_died(ends) => Turn::Over(reset_client(ends)),
            Poll::Ready(Ok(n)) => {
                self.close_early(ends, LINGER_BYTES.saturating_sub(n));
                Turn::Again
            }
            Poll::Ready(Err(_)) => Turn::Over(Verdict::Ended(Outcome::ClientReset)),
        }
    }

    fn close_early(&mut self, ends: &Ends<'_>, left: usize) {
        ends.client.finish();
        self.down.fin_sent();
        self.linger(ends, left);
    }

    pub(super) fn linger(&mut self, ends: &Ends<'_>, left: usize) {
        self.phase = Phase::Lingering { left };
        ends.place.due_in(LINGER);
    }

    /// Reads an upload that nobody wants, so that closing does not reset the answer before the client has read it.
    pub(super) fn discard(
        &mut self,
        cx: &mut Context<'_>,
        ends: &mut Ends<'_>,
        scratch: &mut [u8],
        left: usize,
    ) -> Turn {
        match ends.client.poll_read(cx, scratch) {
            Poll::Pending => Turn::Idle,
            Poll::Ready(Ok(n)) if n > 0 && n < left => {
                self.phase = Phase::Lingering { left: left - n };
                Turn::Again
            }
            Poll::Ready(_) => Turn::Over(Verdict::Ended(Outcome::Finished)),
        }
    }
}

fn has_died(ends: &Ends<'_>) -> bool {
    matches!(ends.lease.upstream().life(), Life::Exiting | Life::EndedBadly)
}
