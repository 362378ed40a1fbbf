//! Outcomes of processes, and their meaning for the operation that waits for them.

use std::sync::Arc;

use super::ledger::Closes;
use super::progress::{Operation, OperationPhase};
use crate::pool::operation::OperationStep;
use crate::supervisor::workers::Workers;

/// An outcome of a process that an operation may wait for.
pub(in crate::supervisor) enum WorkerOutcome {
    /// The process is in rotation.
    Ready { slot: usize, incarnation: u64, step: OperationStep },
    /// The process ended, or was late, before it was in rotation.
    Failed { slot: usize, incarnation: u64, why: String, last_lines: Arc<[String]> },
    /// The present process of a slot was in rotation and then ended by itself.
    Died { slot: usize, generation: u64, why: String },
    /// A slot's replacement failed before it was in rotation, and the present process stays.
    Stays { slot: usize },
    /// The process had left the rotation, and now it has exited and its connections have ended.
    Drained { step: OperationStep, closes: Closes },
}

impl Operation {
    /// Applies an outcome. Returns the step to report, if the operation waited for it, and the slots whose replacements
    /// are to be abandoned.
    pub(super) fn apply(&mut self, workers: &Workers, outcome: WorkerOutcome) -> (Option<OperationStep>, Vec<usize>) {
        match outcome {
            WorkerOutcome::Ready { slot, incarnation, step } => {
                self.record_ready(slot, incarnation);
                (Some(step), Vec::new())
            }
            WorkerOutcome::Failed { slot, incarnation, why, last_lines } => {
                let text = format!("{}: {why}", workers[slot].name());
                match self.record_failure(slot, incarnation, text) {
                    Some(abandoned) => (Some(failed(slot, why, last_lines)), abandoned),
                    None => (None, Vec::new()),
                }
            }
            WorkerOutcome::Died { slot, generation, why } => match &mut self.phase {
                OperationPhase::Rolling { roll, generation: rolled, .. }
                    if *rolled == generation && roll.replaced().contains(&slot) =>
                {
                    let text = format!("{}: it had taken its place, and then ended: {why}", workers[slot].name());
                    let abandoned = roll.fail(slot, text);
                    (Some(failed(slot, why, Arc::default())), abandoned)
                }
                _ => (None, Vec::new()),
            },
            WorkerOutcome::Stays { .. } => (None, Vec::new()),
            WorkerOutcome::Drained { step, closes } => {
                self.left += closes;
                (Some(step), Vec::new())
            }
        }
    }

    /// Records that a process is in rotation.
    fn record_ready(&mut self, slot: usize, incarnation: u64) {
        match &mut self.phase {
            OperationPhase::Rolling { roll, .. } | OperationPhase::RollingBack { roll } => {
                roll.switched(slot, incarnation);
            }
            OperationPhase::Starting { slots, .. } if slots.get(&slot).is_some_and(|&older| incarnation > older) => {
                slots.remove(&slot);
            }
            OperationPhase::Starting { .. } | OperationPhase::Stopping { .. } => {}
        }
    }

    /// Records that a process did not come up. Returns the slots whose replacements are to be abandoned; `None` if the
    /// operation did not wait for that process.
    fn record_failure(&mut self, slot: usize, incarnation: u64, text: String) -> Option<Vec<usize>> {
        match &mut self.phase {
            OperationPhase::Rolling { roll, .. } | OperationPhase::RollingBack { roll }
                if roll.awaits(slot, incarnation) =>
            {
                Some(roll.fail(slot, text))
            }
            OperationPhase::Starting { slots, .. } if slots.get(&slot).is_some_and(|&older| incarnation > older) => {
                self.failed.get_or_insert(text);
                Some(Vec::new())
            }
            _ => None,
        }
    }
}

fn failed(slot: usize, why: String, last_lines: Arc<[String]>) -> OperationStep {
    OperationStep::Failed { slot: u32::try_from(slot).unwrap_or(u32::MAX), why, last_lines }
}
