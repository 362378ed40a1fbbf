//! The steps of one operation: what it waits for, and what comes after.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::ledger::Closes;
use super::roll::Roll;
use crate::config::{self, PoolConfig};
use crate::pool::operation::Progress;
use crate::stats::Restart as Cause;
use crate::supervisor::slot::Event;
use crate::supervisor::worker::WorkerSlot;
use crate::supervisor::workers::Workers;

/// The state of an operation in progress.
pub(super) struct Operation {
    pub(super) phase: OperationPhase,
    /// The outcomes of the connections of workers that have left during the operation.
    pub(super) left: Closes,
    /// The number of workers in the configuration of before, once a reload brings another. If the new workers do not
    /// come up, that number is put back, so that the next reload tries anew.
    count: Option<config::WorkerCount>,
    /// Some processes were told a number of workers that the pool did not reach: they are replaced.
    is_miscounted: bool,
    /// The reason why the operation failed.
    pub(super) failed: Option<String>,
}

/// The event that an operation waits for.
pub(super) enum OperationPhase {
    /// Processes with this configuration replace all processes.
    Rolling { roll: Roll, config: Arc<PoolConfig>, generation: u64 },
    /// A roll has failed: the workers that it had replaced are replaced again, with the configuration of before.
    RollingBack { roll: Roll },
    /// These slots start, each with a process newer than the named incarnation; outcomes of older processes do not
    /// count. If one fails to start, the number of workers goes back to `otherwise`.
    Starting { slots: BTreeMap<usize, u64>, otherwise: Option<u32> },
    /// These slots end.
    Stopping { slots: BTreeSet<usize> },
}

/// The result of a step of a phase.
enum StepResult {
    /// Outcomes came at once: they are applied, and then the step is made again.
    Again,
    /// It waits for workers.
    Waits,
    /// It is over, and this phase comes next.
    Next(OperationPhase),
    /// It is over, and with it the operation.
    Over,
}

impl From<Option<OperationPhase>> for StepResult {
    fn from(next: Option<OperationPhase>) -> Self {
        next.map_or(StepResult::Over, StepResult::Next)
    }
}

impl OperationPhase {
    /// Begins a reload to this configuration. Slots that it drops are stopped once the others are replaced, still on
    /// the old configuration.
    pub(super) fn roll(workers: &Workers, config: Arc<PoolConfig>, generation: u64) -> Self {
        let count = workers.told_count(&config) as usize;
        let roll = Roll::new(workers.running().into_iter().filter(|&index| index < count), config.max_surge);
        Self::Rolling { roll, config, generation }
    }

    fn roll_back(workers: &Workers, slots: impl IntoIterator<Item = usize>) -> Self {
        Self::RollingBack { roll: Roll::new(slots, workers.pool.config().max_surge) }
    }

    /// Begins the change to that number of workers.
    pub(super) fn scale(workers: &mut Workers, count: u32) -> Self {
        let before = workers.desired();
        workers.set_desired(count);
        let wanted = count as usize;
        if count >= before {
            let slots = workers.tell_each(before as usize..wanted, &Event::Start);
            return Self::Starting { slots, otherwise: Some(before) };
        }
        let dropped = wanted..workers.indices().end;
        Self::Stopping { slots: workers.tell_each(dropped, &Event::Stop).into_keys().collect() }
    }

    /// Returns the generation that a reload brings.
    pub(super) fn next_generation(&self) -> Option<u64> {
        match self {
            Self::Rolling { generation, .. } => Some(*generation),
            Self::RollingBack { .. } | Self::Starting { .. } | Self::Stopping { .. } => None,
        }
    }

    /// Returns the number of slots that the operation begins with.
    pub(super) fn slot_count(&self, workers: &Workers) -> usize {
        match self {
            Self::Rolling { .. } | Self::RollingBack { .. } => workers.running().len(),
            Self::Starting { slots, .. } => slots.len(),
            Self::Stopping { slots } => slots.len(),
        }
    }
}

impl Operation {
    /// Creates an operation that begins with that phase.
    pub(super) fn new(phase: OperationPhase) -> Self {
        Self { phase, left: Closes::default(), count: None, is_miscounted: false, failed: None }
    }

    /// Goes on as far as is possible now, and sends each step to `reply`. Returns the result if the operation is over.
    pub(super) fn advance(
        &mut self,
        workers: &mut Workers,
        reply: &mpsc::UnboundedSender<Progress>,
    ) -> Option<Result<(), String>> {
        loop {
            while workers.has_outcomes() {
                for outcome in workers.take_outcomes() {
                    let (step, abandoned) = self.apply(workers, outcome);
                    if let Some(step) = step {
                        let _ = reply.send(Progress::Step(step));
                    }
                    abandoned.into_iter().for_each(|index| workers.tell(index, Event::Abandon));
                }
            }
            match self.step(workers) {
                StepResult::Again => {}
                StepResult::Waits => return None,
                StepResult::Next(phase) => self.phase = phase,
                StepResult::Over => return Some(self.failed.take().map_or(Ok(()), Err)),
            }
        }
    }

    /// Advances the present phase, and decides what comes next.
    fn step(&mut self, workers: &mut Workers) -> StepResult {
        match &mut self.phase {
            OperationPhase::Rolling { roll, config, generation } => {
                advance_roll(roll, workers, config, *generation);
                if workers.has_outcomes() {
                    return StepResult::Again;
                }
                if !roll.is_over() {
                    return StepResult::Waits;
                }
                if let Some(why) = roll.failure() {
                    self.failed = Some(why.to_owned());
                    // The workers that were replaced get the old configuration back.
                    let is_changed = **config != **workers.pool.config();
                    let back = is_changed && !roll.replaced().is_empty();
                    return back.then(|| OperationPhase::roll_back(workers, roll.replaced().iter().copied())).into();
                }
                self.count = Some(workers.pool.config().workers);
                let count = workers.told_count(config);
                workers.set_config(Arc::clone(config), *generation);
                (count != workers.desired()).then(|| OperationPhase::scale(workers, count)).into()
            }
            OperationPhase::RollingBack { roll } => {
                let (config, generation) = (Arc::clone(&workers.pool.config()), workers.generation());
                advance_roll(roll, workers, &config, generation);
                match roll.is_over() {
                    _ if workers.has_outcomes() => StepResult::Again,
                    true => StepResult::Over,
                    false => StepResult::Waits,
                }
            }
            OperationPhase::Starting { slots, otherwise } => {
                if self.failed.is_none() {
                    let is_over = slots.is_empty() && workers.iter().all(WorkerSlot::has_none_retiring);
                    return if is_over { StepResult::Over } else { StepResult::Waits };
                }
                // A slot that still waits for its old process to end is started first: after this operation nothing
                // would start it.
                if workers.iter().any(|worker| worker.slot.will_start_again()) {
                    return StepResult::Waits;
                }
                let Some(before) = otherwise.take() else { return StepResult::Over };
                self.is_miscounted = self.count.is_some();
                if let Some(count) = self.count.take() {
                    // The number that a reload brought did not come up.
                    let config = PoolConfig { workers: count, ..(**workers.pool.config()).clone() };
                    workers.set_config(Arc::new(config), workers.generation());
                }
                StepResult::Next(OperationPhase::scale(workers, before))
            }
            OperationPhase::Stopping { slots } => {
                if !slots.iter().all(|&index| workers[index].is_over()) {
                    return StepResult::Waits;
                }
                // Workers that were replaced before the change of the number failed were told that number.
                let is_miscounted = std::mem::take(&mut self.is_miscounted);
                is_miscounted.then(|| OperationPhase::roll_back(workers, workers.running())).into()
            }
        }
    }
}

/// Begins the replacements that a roll allows now.
fn advance_roll(roll: &mut Roll, workers: &mut Workers, config: &Arc<PoolConfig>, generation: u64) {
    for index in workers.indices() {
        if workers[index].has_none_retiring() {
            roll.clear(index);
        }
    }
    for index in roll.next() {
        let older = workers[index].slot.newest();
        workers.tell(index, Event::Replace { config: Arc::clone(config), generation, cause: Cause::Command });
        let replacement = workers[index].slot.newest();
        roll.begun(index, replacement);
        if replacement == older {
            let why = format!("{}: it cannot be replaced now", workers[index].name());
            roll.fail(index, why).into_iter().for_each(|index| workers.tell(index, Event::Abandon));
        }
    }
}
