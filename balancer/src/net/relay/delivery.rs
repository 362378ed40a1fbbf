//! The end of a connection whose worker is gone: every byte that was read from the worker reaches the client, then FIN
//! or a reset does.
//!
//! A close with SO_LINGER 0 drops what the client's socket has not sent yet, and a close with unread bytes makes the
//! kernel send a reset, which may overtake the answer on the client's side. So neither happens before the client's
//! kernel has everything (`SIOCOUTQ` is 0). The worker does not wait for that: its lease has ended.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::with_scratch;
use crate::net::open_connections::{Registration, WakeReason};
use crate::net::stream::{Family, Stream};
use crate::os::socket_buffers::unsent;
use crate::stats::Outcome;

/// The interval of looks at the bytes that have not arrived, if a reset may follow.
const LOOK: Duration = Duration::from_millis(50);
/// The interval if FIN was sent and the client's upload is discarded.
const PATIENT_LOOK: Duration = Duration::from_secs(1);
/// The total time for which an upload is discarded once the client has everything.
const DISCARD: Duration = Duration::from_secs(60);
/// The time for which nothing may arrive if `idle-timeout` is off.
const STALLED: Duration = Duration::from_secs(60);
/// The number of reads in one poll. Then other connections of the thread run.
const ROUNDS: usize = 16;

/// The way in which the client's connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientEnd {
    /// The worker closed early on an upload, and its answer is complete: FIN, then the rest of the upload is discarded.
    Fin,
    /// The worker broke off its answer: a reset.
    Reset,
    /// Either of them. FIN if the client sends more, so that it is uploading; a reset if it does not.
    Unknown,
}

/// The possible outcomes, judged when the worker ends its part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PossibleOutcomes {
    /// If it ended its side in order, or closed early on an upload.
    pub(crate) fin: Outcome,
    /// If it broke off its answer.
    pub(crate) reset: Outcome,
}

/// The last part of a connection's life.
#[derive(Debug)]
pub(crate) struct Delivery {
    progress: Progress,
    outcomes: PossibleOutcomes,
    client_ended: bool,
    /// True if the client has sent something since the last look of a drain.
    is_heard: bool,
}

/// The progress of a delivery. Pure.
#[derive(Debug)]
struct Progress {
    client_end: ClientEnd,
    /// Bytes that had not arrived at the last look.
    unsent: usize,
    begun: Instant,
    /// The time of the look at which `unsent` had last fallen.
    fell: Instant,
    /// The time for which `unsent` may stay the same.
    stalled: Duration,
}

/// A look's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Wait,
    Arrived,
    Stalled,
}

impl Progress {
    /// Takes in the number of bytes that have not arrived at `now`.
    fn look(&mut self, unsent: usize, now: Instant) -> Look {
        let before = std::mem::replace(&mut self.unsent, unsent);
        if unsent < before {
            self.fell = now;
        }
        match self.client_end {
            _ if unsent > 0 && now - self.fell >= self.stalled => Look::Stalled,
            _ if unsent > 0 => Look::Wait,
            ClientEnd::Fin if now - self.begun < DISCARD => Look::Wait,
            // A second look follows: meanwhile the client may show that it is uploading.
            ClientEnd::Unknown if before > 0 => Look::Wait,
            ClientEnd::Fin | ClientEnd::Reset | ClientEnd::Unknown => Look::Arrived,
        }
    }
}

impl Delivery {
    /// Begins at the worker's end. `idle` is the pool's `idle-timeout`, zero if it is off.
    pub(crate) fn begin(
        client_end: ClientEnd,
        outcomes: PossibleOutcomes,
        client: &Stream,
        registration: &Registration,
        idle: Duration,
    ) -> Self {
        let now = Instant::now();
        let stalled = if idle.is_zero() { STALLED } else { idle };
        let progress = Progress { client_end, unsent: left(client), begun: now, fell: now, stalled };
        let mut delivery = Self { progress, outcomes, client_ended: false, is_heard: false };
        delivery.set_client_end(client_end, client, registration);
        delivery
    }

    fn set_client_end(&mut self, client_end: ClientEnd, client: &Stream, registration: &Registration) {
        self.progress.client_end = client_end;
        if client_end == ClientEnd::Fin {
            client.finish();
        }
        self.look_soon(registration);
    }

    fn look_soon(&self, registration: &Registration) {
        match self.progress.client_end {
            ClientEnd::Fin => registration.due_when_silent(PATIENT_LOOK),
            ClientEnd::Reset | ClientEnd::Unknown => registration.due_in(LOOK),
        }
    }

    /// Delivers, and returns the outcome. `has_died` returns true if the worker's process has ended badly, or is
    /// ending: then its end was no early close.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Stream,
        registration: &Registration,
        reason: Option<WakeReason>,
        has_died: impl Fn() -> bool,
    ) -> Poll<Outcome> {
        if let Some(outcome) = self.on_wake(reason, client, registration, &has_died) {
            return Poll::Ready(outcome);
        }
        for _ in 0..ROUNDS {
            if self.is_over(client) {
                return Poll::Ready(self.end(Look::Arrived, client));
            }
            if self.client_ended {
                return Poll::Pending;
            }
            match with_scratch(|scratch| client.poll_read(cx, scratch)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    self.client_ended = true;
                    if self.progress.client_end == ClientEnd::Fin {
                        // Both sides have ended: the kernel delivers the rest.
                        return Poll::Ready(self.outcomes.fin);
                    }
                    self.set_client_end(ClientEnd::Reset, client, registration);
                }
                Poll::Ready(Ok(_)) => {
                    self.is_heard = true;
                    if self.progress.client_end == ClientEnd::Unknown {
                        let client_end = if has_died() { ClientEnd::Reset } else { ClientEnd::Fin };
                        self.set_client_end(client_end, client, registration);
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready(self.client_reset(client)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Returns true if there is nothing more to wait for. A unix socket has no reset, and its close drops nothing.
    fn is_over(&self, client: &Stream) -> bool {
        match self.progress.client_end {
            ClientEnd::Fin => false,
            ClientEnd::Reset => client.family() == Family::Unix || left(client) == 0,
            ClientEnd::Unknown => client.family() == Family::Unix,
        }
    }

    fn on_wake(
        &mut self,
        reason: Option<WakeReason>,
        client: &Stream,
        registration: &Registration,
        has_died: &impl Fn() -> bool,
    ) -> Option<Outcome> {
        match reason? {
            WakeReason::TimedOut => {
                // If the client has ended its side, no read shows that it is gone.
                if client.take_error().is_ok_and(|error| error.is_some()) {
                    return Some(self.client_reset(client));
                }
                if self.progress.client_end == ClientEnd::Unknown && has_died() {
                    self.progress.client_end = ClientEnd::Reset;
                }
                match self.progress.look(left(client), Instant::now()) {
                    Look::Wait => {
                        self.look_soon(registration);
                        None
                    }
                    look => Some(self.end(look, client)),
                }
            }
            WakeReason::Abort(_) if left(client) > 0 => {
                client.reset_at_close();
                Some(Outcome::Cut)
            }
            WakeReason::Abort(_) => Some(self.end(Look::Arrived, client)),
            // The client has everything and sends nothing.
            WakeReason::CloseIfIdle(_) if self.progress.client_end == ClientEnd::Fin && left(client) == 0 => {
                let is_silent = client.is_silent() && !std::mem::take(&mut self.is_heard);
                is_silent.then_some(self.outcomes.fin)
            }
            // The delivery does not depend on the worker any more.
            WakeReason::CloseIfIdle(_) | WakeReason::WorkerExited | WakeReason::Recalled | WakeReason::Reclaim => None,
        }
    }

    fn end(&self, look: Look, client: &Stream) -> Outcome {
        match (self.progress.client_end, look) {
            (ClientEnd::Fin, Look::Arrived | Look::Wait) => return self.outcomes.fin,
            (ClientEnd::Fin, Look::Stalled) => client.reset_at_close(),
            (ClientEnd::Reset | ClientEnd::Unknown, _) => {
                client.reset_at_close();
                return self.outcomes.reset;
            }
        }
        Outcome::Idle
    }

    /// Returns the outcome for a client that went away. It may have had everything; the FIN counts as one byte.
    fn client_reset(&self, client: &Stream) -> Outcome {
        let has_all = self.progress.client_end == ClientEnd::Fin && left(client) <= 1;
        if has_all { self.outcomes.fin } else { Outcome::ClientReset }
    }
}

/// Returns the number of bytes that have not arrived; 0 if the kernel does not tell.
fn left(client: &Stream) -> usize {
    unsent(client).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(client_end: ClientEnd, unsent: usize) -> (Progress, Instant) {
        let begun = Instant::now();
        let stalled = Duration::from_secs(10);
        (Progress { client_end, unsent, begun, fell: begun, stalled }, begun)
    }

    #[test]
    fn unknown_ending_has_arrived_after_two_looks_at_zero() {
        let (mut progress, begun) = progress(ClientEnd::Unknown, 100);
        let looks = [100, 40, 0, 0].map(|unsent| progress.look(unsent, begun));
        assert_eq!(looks, [Look::Wait, Look::Wait, Look::Wait, Look::Arrived]);
    }

    #[test]
    fn broken_answer_is_over_once_it_has_arrived() {
        let (mut progress, begun) = progress(ClientEnd::Reset, 100);
        assert_eq!([1, 0].map(|unsent| progress.look(unsent, begun)), [Look::Wait, Look::Arrived]);
    }

    #[test]
    fn every_ending_is_over_when_nothing_arrives_for_long() {
        for client_end in [ClientEnd::Fin, ClientEnd::Reset, ClientEnd::Unknown] {
            let (mut progress, begun) = progress(client_end, 100);
            let at = |seconds| begun + Duration::from_secs(seconds);
            let looks = [(100, 9), (99, 9), (99, 18), (98, 19), (98, 28), (98, 29)];
            let looks = looks.map(|(unsent, seconds)| progress.look(unsent, at(seconds)));
            assert_eq!(looks[..5], [Look::Wait; 5]);
            assert_eq!(looks[5], Look::Stalled);
        }
    }

    #[test]
    fn upload_is_discarded_for_a_minute_or_while_it_is_read() {
        let (mut progress, begun) = progress(ClientEnd::Fin, 100);
        let looks = [(50, 8), (0, 16), (0, 59), (0, 60)];
        let at = |seconds| begun + Duration::from_secs(seconds);
        let looks = looks.map(|(unsent, seconds)| progress.look(unsent, at(seconds)));
        assert_eq!(looks, [Look::Wait, Look::Wait, Look::Wait, Look::Arrived]);
        let (mut slow, begun) = self::progress(ClientEnd::Fin, 100);
        for second in 1..=99 {
            assert_eq!(slow.look(100 - second, begun + Duration::from_secs(second as u64)), Look::Wait);
        }
        assert_eq!(slow.look(0, begun + Duration::from_secs(100)), Look::Arrived);
    }
}
