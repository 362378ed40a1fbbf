//! Runs the operations on a pool: reload, scale, restart, stop, start. One at a time, each with a ledger.

pub(super) mod ledger;
pub(super) mod message;
pub(super) mod outcome;
mod progress;
mod roll;
pub(super) mod startup;
pub(super) mod stop_report;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::slot::Event;
use super::workers::{FIRST_GENERATION, Workers};
use crate::config::MOST_WORKERS;
use crate::mode::{Acceptor, Inherits};
use crate::pool::SlotState;
use crate::pool::operation::{OperationKind, OperationRequest, OperationStep, Progress, Report, SlotRange};
use ledger::{Closes, Totals};
use outcome::WorkerOutcome;
use progress::{Operation, OperationPhase};

/// The operations of one pool: at most one at a time.
#[derive(Default)]
pub(super) struct Operations {
    /// The operation in progress, and what is needed to report its end.
    current: Option<Current>,
    /// The number of reloads that were begun, also of those that failed: each attempt has a generation of its own.
    reloads: u64,
    last_report: Option<Arc<Report>>,
}

/// An operation in progress.
struct Current {
    verb: OperationKind,
    reply: mpsc::UnboundedSender<Progress>,
    begun: Instant,
    before: Totals,
    operation: Operation,
}

impl Operations {
    /// Returns true if no operation is in progress.
    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none()
    }

    /// The kind of the operation in progress.
    pub(super) fn verb(&self) -> Option<OperationKind> {
        self.current.as_ref().map(|current| current.verb)
    }

    /// The report of the last operation that ended.
    pub(super) fn last_report(&self) -> Option<&Arc<Report>> {
        self.last_report.as_ref()
    }

    /// Begins the requested operation, or replies why it cannot. `is_stopping`: the pool ends.
    pub(super) fn begin(
        &mut self,
        workers: &mut Workers,
        is_stopping: bool,
        request: OperationRequest,
        reply: mpsc::UnboundedSender<Progress>,
    ) {
        if let Some(why) = self.objection(workers, is_stopping, &request) {
            let _ = reply.send(Progress::Refused(why));
            return;
        }
        let verb = request.verb();
        let phase = self.first_phase(workers, request);
        let (generation, next_generation) = (workers.generation(), phase.next_generation());
        let slots = phase.slot_count(workers);
        let _ = reply.send(Progress::Step(OperationStep::Began { verb, generation, next_generation, slots }));
        let (begun, before) = (Instant::now(), Totals::of(&workers.pool));
        self.current = Some(Current { verb, reply, begun, before, operation: Operation::new(phase) });
    }

    fn first_phase(&mut self, workers: &mut Workers, request: OperationRequest) -> OperationPhase {
        match request {
            OperationRequest::Reload(config) => {
                // Each attempt has a number of its own, so that processes left from a failed one differ from those of
                // the next.
                self.reloads += 1;
                OperationPhase::roll(workers, config, FIRST_GENERATION + self.reloads)
            }
            OperationRequest::Scale(count) => OperationPhase::scale(workers, count),
            OperationRequest::Restart(which) => {
                let slots = tell_chosen(workers, which, |_| true, &Event::Restart);
                OperationPhase::Starting { slots, otherwise: None }
            }
            OperationRequest::Stop(which) => {
                let slots = tell_chosen(workers, which, |state| state != SlotState::Stopped, &Event::Stop);
                OperationPhase::Stopping { slots: slots.into_keys().collect() }
            }
            OperationRequest::Start(which) => {
                let slots = tell_chosen(workers, which, |state| state == SlotState::Stopped, &Event::Start);
                OperationPhase::Starting { slots, otherwise: None }
            }
            OperationRequest::Strategy(entry) => {
                // The next pick uses it; no worker has to start or stop.
                workers.pool.picker.switch(entry);
                OperationPhase::Starting { slots: BTreeMap::new(), otherwise: None }
            }
        }
    }

    /// Returns the reason why this cannot be done now, if there is one.
    fn objection(&self, workers: &Workers, is_stopping: bool, request: &OperationRequest) -> Option<String> {
        let (pool, name) = (&workers.pool, &workers.pool.name);
        if is_stopping {
            return Some("the master is stopping".to_owned());
        }
        if let Some(verb) = self.verb() {
            return Some(format!("a {} of pool `{name}` is under way", verb.name()));
        }
        match *request {
            OperationRequest::Strategy(_) if pool.mode.acceptor() == Acceptor::Workers => {
                let mode = pool.mode.name();
                Some(format!(
                    "in mode {mode} the workers of pool `{name}` accept by themselves, and the kernel chooses"
                ))
            }
            OperationRequest::Scale(_) if pool.mode.inherits() == Inherits::SlotListener => Some(format!(
                "in mode {} each worker of pool `{name}` has a listener of its own, and there are as many as at the start: \
                 another number of workers needs a restart of the master, or mode shared",
                pool.mode.name()
            )),
            OperationRequest::Scale(workers) if !(1..=MOST_WORKERS).contains(&workers) => {
                Some(format!("a pool has 1 to {MOST_WORKERS} workers, not {workers}; to have none, stop it"))
            }
            OperationRequest::Restart(SlotRange::Slots(_, last))
            | OperationRequest::Stop(SlotRange::Slots(_, last))
            | OperationRequest::Start(SlotRange::Slots(_, last))
                if last >= workers.desired() =>
            {
                Some(format!("pool `{name}` has no worker {last}: its workers are 0 to {}", workers.desired() - 1))
            }
            _ => None,
        }
    }

    /// Advances the present operation as far as it can go now, and reports its end. Returns the outcomes of connections
    /// of workers that left while no operation was in progress.
    pub(super) fn advance(&mut self, workers: &mut Workers, is_stopping: bool) -> Closes {
        let Some(current) = &mut self.current else { return without_operation(workers) };
        let result = match is_stopping {
            true => Err("the master is stopping".to_owned()),
            false => match current.operation.advance(workers, &current.reply) {
                Some(result) => result,
                None => return Closes::default(),
            },
        };
        if let Some(current) = self.current.take() {
            self.last_report = Some(Arc::new(current.conclude(workers, result)));
        }
        Closes::default()
    }
}

impl Current {
    fn conclude(self, workers: &Workers, result: Result<(), String>) -> Report {
        let ledger = self.before.until(&Totals::of(&workers.pool), &self.operation.left);
        let report = Report {
            verb: self.verb,
            result,
            generation: workers.generation(),
            took: self.begun.elapsed(),
            at: SystemTime::now(),
            ledger,
        };
        let _ = self.reply.send(Progress::Done(report.clone()));
        report
    }
}

/// Takes the outcomes that no operation waits for. Returns those of the connections of workers that left.
fn without_operation(workers: &mut Workers) -> Closes {
    let mut left = Closes::default();
    for outcome in workers.take_outcomes() {
        match outcome {
            WorkerOutcome::Drained { closes, .. } => left += closes,
            WorkerOutcome::Stays { slot } => {
                let worker = workers[slot].name();
                tracing::warn!(%worker, "replacement did not become ready: the worker stays");
            }
            WorkerOutcome::Ready { .. } | WorkerOutcome::Failed { .. } | WorkerOutcome::Died { .. } => {}
        }
    }
    left
}

/// Gives an event to the chosen slots. Returns those slots, each with its newest process before the event.
fn tell_chosen(
    workers: &mut Workers,
    which: SlotRange,
    is_meant: impl Fn(SlotState) -> bool,
    event: &Event,
) -> BTreeMap<usize, u64> {
    let meant = (0..workers.desired())
        .zip(workers.indices())
        .filter(|&(slot, index)| which.includes(slot) && is_meant(workers[index].slot.state()));
    let meant: Vec<usize> = meant.map(|(_, index)| index).collect();
    workers.tell_each(meant, event)
}
