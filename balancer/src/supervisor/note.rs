//! What happened to a process, and what that means for the operation that waits for it.

use std::sync::Arc;

use super::ledger::Closes;
use super::operate::{Operation, Phase};
use super::slot::Event;
use super::warden::Warden;
use crate::pool::operation::{Progress, Step};

/// What happened to a process, as far as an operation may wait for it.
pub(super) enum Note {
    /// It is in rotation.
    Up { slot: usize, incarnation: u64, step: Step },
    /// It ended, or was late, before it ever was.
    NotUp { slot: usize, incarnation: u64, why: String, last_lines: Arc<[String]> },
    /// It had its place, by the release that is being rolled out, and ended by itself.
    Died { slot: usize, why: String },
    /// It had left the rotation, and now it is gone and its connections with it.
    Left { step: Step, closes: Closes },
}

impl Warden {
    /// What happened, for the operation that waits for it.
    pub(super) fn note(&mut self, operation: &mut Operation, note: Note) {
        let (step, abandoned) = match note {
            Note::Up { slot, incarnation, step } => {
                match &mut operation.phase {
                    Phase::Rolling { roll, .. } | Phase::Back { roll } => roll.switched(slot, incarnation),
                    Phase::Up { slots, .. } if slots.get(&slot).is_some_and(|&older| incarnation > older) => {
                        slots.remove(&slot);
                    }
                    Phase::Up { .. } | Phase::Down { .. } => {}
                }
                (Some(step), Vec::new())
            }
            Note::NotUp { slot, incarnation, why, last_lines } => {
                let text = format!("{}: {why}", self.members[slot].name());
                let abandoned = match &mut operation.phase {
                    Phase::Rolling { roll, .. } | Phase::Back { roll } if roll.awaits(slot, incarnation) => {
                        roll.fail(slot, text)
                    }
                    Phase::Up { slots, .. } if slots.get(&slot).is_some_and(|&older| incarnation > older) => {
                        operation.failed.get_or_insert(text);
                        Vec::new()
                    }
                    _ => return,
                };
                let slot = u32::try_from(slot).unwrap_or(u32::MAX);
                (Some(Step::Failed { slot, why, last_lines }), abandoned)
            }
            Note::Died { slot, why } => {
                let text = format!("{}: it had taken its place, and then ended: {why}", self.members[slot].name());
                let abandoned = match &mut operation.phase {
                    Phase::Rolling { roll, .. } if roll.replaced().contains(&slot) => roll.fail(slot, text),
                    _ => return,
                };
                let slot = u32::try_from(slot).unwrap_or(u32::MAX);
                (Some(Step::Failed { slot, why, last_lines: Arc::default() }), abandoned)
            }
            Note::Left { step, closes } => {
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
