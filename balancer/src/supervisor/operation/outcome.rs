//! Events of processes, and their meaning for the operation that waits for them.

use std::sync::Arc;

use super::ledger::Closes;
use super::{Operation, OperationPhase};
use crate::pool::operation::{OperationStep, Progress};
use crate::supervisor::actor::Supervisor;
use crate::supervisor::slot::Event;

/// An event of a process that an operation may wait for.
pub(in crate::supervisor) enum WorkerOutcome {
    /// The process is in rotation.
    Ready { slot: usize, incarnation: u64, step: OperationStep },
    /// The process ended, or was late, before it was in rotation.
    Failed { slot: usize, incarnation: u64, why: String, last_lines: Arc<[String]> },
    /// The process, of the release that is being rolled out, had replaced the old one and then ended by itself.
    Died { slot: usize, why: String },
    /// The process had left the rotation, and now it has exited and its connections have ended.
    Drained { step: OperationStep, closes: Closes },
}

impl Supervisor {
    /// Applies an outcome to the operation that waits for it.
    pub(in crate::supervisor) fn apply_outcome(&mut self, operation: &mut Operation, outcome: WorkerOutcome) {
        let (step, abandoned) = match outcome {
            WorkerOutcome::Ready { slot, incarnation, step } => {
                match &mut operation.phase {
                    OperationPhase::Rolling { roll, .. } | OperationPhase::RollingBack { roll } => {
                        roll.switched(slot, incarnation)
                    }
                    OperationPhase::Starting { slots, .. }
                        if slots.get(&slot).is_some_and(|&older| incarnation > older) =>
                    {
                        slots.remove(&slot);
                    }
                    OperationPhase::Starting { .. } | OperationPhase::Stopping { .. } => {}
                }
                (Some(step), Vec::new())
            }
            WorkerOutcome::Failed { slot, incarnation, why, last_lines } => {
                let text = format!("{}: {why}", self.workers[slot].name());
                let abandoned = match &mut operation.phase {
                    OperationPhase::Rolling { roll, .. } | OperationPhase::RollingBack { roll }
                        if roll.awaits(slot, incarnation) =>
                    {
                        roll.fail(slot, text)
                    }
                    OperationPhase::Starting { slots, .. }
                        if slots.get(&slot).is_some_and(|&older| incarnation > older) =>
                    {
                        operation.failed.get_or_insert(text);
                        Vec::new()
                    }
                    _ => return,
                };
                let slot = u32::try_from(slot).unwrap_or(u32::MAX);
                (Some(OperationStep::Failed { slot, why, last_lines }), abandoned)
            }
            WorkerOutcome::Died { slot, why } => {
                let text = format!("{}: it had taken its place, and then ended: {why}", self.workers[slot].name());
                let abandoned = match &mut operation.phase {
                    OperationPhase::Rolling { roll, .. } if roll.replaced().contains(&slot) => roll.fail(slot, text),
                    _ => return,
                };
                let slot = u32::try_from(slot).unwrap_or(u32::MAX);
                (Some(OperationStep::Failed { slot, why, last_lines: Arc::default() }), abandoned)
            }
            WorkerOutcome::Drained { step, closes } => {
                operation.left += closes;
                (Some(step), Vec::new())
            }
        };
        if let Some(step) = step {
            let _ = operation.reply.send(Progress::Step(step));
        }
        abandoned.into_iter().for_each(|index| self.tell(index, Event::Abandon));
    }
}
