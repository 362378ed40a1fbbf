//! The stages in which a worker has the connection: the relay, and the delivery of what the worker said last.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::recover::{AwaitingTag, ReadingBack};
use super::{Connection, Stage, Step, UpstreamSide};
use crate::net::connect;
use crate::net::open_connections::{Scope, WakeReason};
use crate::net::recovery::{Found, RecoveryBarrier};
use crate::net::relay::{ClientEnd, Delivery, Moved, PossibleOutcomes, RelayEnd, Sides};
use crate::rotation::{Lease, ProcessPhase, Upstream};
use crate::stats::Outcome;

/// The age from which a connect counts as a success, even if the worker then ends it without a byte.
const SETTLED: Duration = Duration::from_secs(1);

impl Connection {
    /// Copies both ways, unless the reason takes the connection away from its worker.
    pub(super) fn poll_relay(
        &mut self,
        mut side: UpstreamSide,
        cx: &mut Context<'_>,
        reason: Option<WakeReason>,
    ) -> Step {
        if reason == Some(WakeReason::Reclaim) && self.is_reclaimed(Some(&side.stream)) {
            return (Stage::Relaying(side), Poll::Ready(()));
        }
        // Held until this connection has done what the reason asks for. Then its socket may be sent a tag.
        let has_barrier = matches!(reason, Some(WakeReason::WorkerExited | WakeReason::Recalled));
        let barrier = if has_barrier { self.registration.barrier() } else { None };
        if let Some(reason) = reason {
            side = match self.change_worker(side, reason, barrier.as_deref()) {
                Ok(stage) => return (stage, Poll::Ready(())),
                Err(side) => side,
            };
        }
        let half_closed = self.shard().pool.config().half_closed_timeout;
        let UpstreamSide { stream, lease, flow, .. } = &mut side;
        let mut sides =
            Sides { client: &mut self.client, upstream: stream, registration: &self.registration, lease, half_closed };
        let was_answered = self.relay.is_answered();
        let mut moved = Moved::default();
        let end = self.relay.poll(cx, &mut sides, reason, &mut moved);
        if moved.any {
            self.count_moved(lease.upstream(), moved);
        }
        if lease.upstream().is_draining() {
            let has_ended = end.is_ready() || self.relay.is_orphaned();
            flow.get_or_insert_default().observe(moved.down > 0, has_ended, Instant::now);
        }
        if self.relay.is_answered() && !was_answered {
            self.record.answered();
        }
        if self.relay.is_engaged() {
            self.given(&side.lease);
        }
        let Poll::Ready(end) = end else { return (Stage::Relaying(side), Poll::Pending) };
        let stage = match end {
            RelayEnd::Ended(outcome) => {
                self.record.end(self.judged(outcome, &side.lease, side.flow.as_deref()));
                Stage::Relaying(side)
            }
            RelayEnd::Deliver(client_end) => self.deliver(side, client_end),
            RelayEnd::Untouched(error) => {
                // The worker had it for a while, so the next search has the whole deadline again. One that fails at
                // once goes on with the old search: a worker that resets every client would be tried without end.
                if side.since.elapsed() > SETTLED {
                    self.search = None;
                }
                let error = connect::classify(&error, side.stream.family());
                self.upstream_failed(side, error)
            }
        };
        (stage, Poll::Ready(()))
    }

    /// Ends the connection's time with its worker, and not the connection, if the reason asks for that. Gives the
    /// worker's side back if not.
    fn change_worker(
        &mut self,
        side: UpstreamSide,
        reason: WakeReason,
        barrier: Option<&RecoveryBarrier>,
    ) -> Result<Stage, UpstreamSide> {
        match reason {
            WakeReason::WorkerExited | WakeReason::Recalled => {
                let Some(recovery) = barrier.map(RecoveryBarrier::recovery) else { return Err(side) };
                // Only a connection of which the worker has read nothing can be in its queue.
                let is_unread = self.relay.is_unheard() && side.stream.is_silent();
                match if is_unread { recovery.find(&side.stream) } else { Found::Nothing } {
                    Found::Far(worker_end) => Ok(ReadingBack::begin(self, side, worker_end)),
                    Found::Wait => Ok(AwaitingTag::begin(self, side, recovery, reason)),
                    Found::Nothing => Err(side),
                }
            }
            WakeReason::CloseIfIdle(Scope::Worker) | WakeReason::Abort(Scope::Worker) => {
                let is_untouched = side.stream.is_silent() && !self.relay.is_engaged();
                if is_untouched && self.has_alternative(&side.lease) {
                    Ok(self.switch_upstream(side))
                } else {
                    Err(side)
                }
            }
            WakeReason::CloseIfIdle(Scope::All)
            | WakeReason::Abort(Scope::All)
            | WakeReason::TimedOut
            | WakeReason::Reclaim => Err(side),
        }
    }

    fn count_moved(&self, upstream: &Upstream, moved: Moved) {
        self.registration.moved(self.relay.awaiting_response());
        upstream.stats.rx_bytes.add(moved.up);
        upstream.stats.tx_bytes.add(moved.down);
        upstream.sent.add(moved.down);
    }

    /// Counts the connection as one of its worker's slot. From then on it is not given to another worker, unless
    /// a recovery does so, which makes the preamble anew.
    fn given(&mut self, lease: &Lease) {
        if self.record.given(lease) {
            self.relay.forget_preamble();
        }
    }

    /// Gives the worker back at once: its part is over, and the client's is not.
    fn deliver(&mut self, side: UpstreamSide, client_end: ClientEnd) -> Stage {
        self.given(&side.lease);
        // Judged now: later the worker has been silent in any case.
        let [fin, reset] = [self.relay.at_fin(), Outcome::UpstreamReset]
            .map(|outcome| self.judged(outcome, &side.lease, side.flow.as_deref()));
        let UpstreamSide { stream, mut lease, .. } = side;
        drop(stream);
        self.relay.worker_is_gone();
        // However the client's part ends, the worker's is known.
        let is_settled = client_end == ClientEnd::Fin;
        if is_settled {
            lease.upstream().closes[fin as usize].increment();
        }
        lease.release(is_settled);
        self.registration.belongs_to(None);
        let idle = self.shard().pool.config().idle_timeout;
        let outcomes = PossibleOutcomes { fin, reset };
        let delivery = Delivery::begin(client_end, outcomes, &self.client, &self.registration, idle);
        Stage::Delivering(lease, Box::new(delivery))
    }

    /// Delivers the worker's last bytes, until the client has them or is gone.
    pub(super) fn poll_delivering(
        &mut self,
        lease: Lease,
        mut delivery: Box<Delivery>,
        cx: &mut Context<'_>,
        reason: Option<WakeReason>,
    ) -> Step {
        let phase = || lease.upstream().process_phase();
        let has_died = || matches!(phase(), ProcessPhase::Exiting | ProcessPhase::EndedBadly);
        let progress = delivery.poll(cx, &mut self.client, &self.registration, reason, has_died);
        let progress = progress.map(|outcome| self.record.end(outcome));
        (Stage::Delivering(lease, delivery), progress)
    }
}
