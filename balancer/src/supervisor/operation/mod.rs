//! Runs the operations on a pool: reload, scale, restart, stop, start. One at a time, each with a ledger.

pub(super) mod ledger;
mod message;
pub(super) mod outcome;
mod roll;
pub(super) mod startup;
pub(super) mod stop_report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::actor::Supervisor;
use super::slot::Event;
use super::worker::WorkerSlot;
use crate::config;
use crate::mode::{Acceptor, Inherits};
use crate::pool::SlotState;
use crate::pool::operation::{OperationKind, OperationRequest, OperationStep, Progress, Report, SlotRange};
use crate::stats::Restart as Cause;
use ledger::{Closes, Totals};
use outcome::WorkerOutcome;
use roll::Roll;

/// The most workers that a pool can have.
const MOST_WORKERS: u32 = 1024;

/// An operation that a control command started on a pool.
pub(super) struct Operation {
    pub(super) verb: OperationKind,
    pub(super) reply: mpsc::UnboundedSender<Progress>,
    begun: Instant,
    before: Totals,
    pub(super) left: Closes,
    pub(super) phase: OperationPhase,
    /// The number of workers in the configuration of before, once a reload brings another. If the new workers do not
    /// come up, that number is put back, so that the next reload tries anew.
    count: Option<config::Workers>,
    /// Some processes were told a number of workers that the pool did not reach: they are replaced.
    is_miscounted: bool,
    /// The reason why the operation failed.
    pub(super) failed: Option<String>,
}

/// The event that an operation waits for.
pub(super) enum OperationPhase {
    /// Processes with this configuration replace all processes.
    Rolling { roll: Roll, config: Arc<config::PoolConfig>, generation: u64 },
    /// A roll has failed: the workers that it had replaced are replaced again, with the configuration of before.
    RollingBack { roll: Roll },
    /// These slots start, each with a process newer than the named incarnation; outcomes of older processes do not
    /// count. If one fails to start, the number of workers goes back to `otherwise`.
    Starting { slots: BTreeMap<usize, u64>, otherwise: Option<u32> },
    /// These slots end.
    Stopping { slots: BTreeSet<usize> },
}

impl Operation {
    /// Returns the generation of the reload in progress, if the operation is one.
    pub(super) fn rolled_generation(&self) -> Option<u64> {
        match self.phase {
            OperationPhase::Rolling { generation, .. } => Some(generation),
            OperationPhase::RollingBack { .. } | OperationPhase::Starting { .. } | OperationPhase::Stopping { .. } => {
                None
            }
        }
    }
}

impl Supervisor {
    /// Begins the requested operation, or replies why it cannot.
    pub(super) fn ask(&mut self, request: OperationRequest, reply: mpsc::UnboundedSender<Progress>) {
        if let Some(why) = self.objection(&request) {
            let _ = reply.send(Progress::Refused(why));
            return;
        }
        let verb = request.verb();
        let phase = match request {
            OperationRequest::Reload(config) => self.begin_roll(&config),
            OperationRequest::Scale(workers) => self.begin_scale(workers),
            OperationRequest::Restart(which) => {
                OperationPhase::Starting { slots: self.each(which, |_| true, &Event::Restart), otherwise: None }
            }
            OperationRequest::Stop(which) => {
                let slots = self.each(which, |state| state != SlotState::Stopped, &Event::Stop);
                OperationPhase::Stopping { slots: slots.into_keys().collect() }
            }
            OperationRequest::Start(which) => {
                let slots = self.each(which, |state| state == SlotState::Stopped, &Event::Start);
                OperationPhase::Starting { slots, otherwise: None }
            }
            OperationRequest::Strategy(entry) => {
                // The next pick uses it; no worker has to start or stop.
                self.pool.picker.switch(entry);
                OperationPhase::Starting { slots: BTreeMap::new(), otherwise: None }
            }
        };
        let slots = match &phase {
            OperationPhase::Rolling { .. } | OperationPhase::RollingBack { .. } => self.running().len(),
            OperationPhase::Starting { slots, .. } => slots.len(),
            OperationPhase::Stopping { slots } => slots.len(),
        };
        let _ = reply.send(Progress::Step(OperationStep::Began { verb, generation: self.generation, slots }));
        let (begun, before) = (Instant::now(), Totals::of(&self.pool));
        self.operation = Some(Operation {
            verb,
            reply,
            begun,
            before,
            left: Closes::default(),
            phase,
            count: None,
            is_miscounted: false,
            failed: None,
        });
    }

    /// Returns the reason why this cannot be done now, if there is one.
    fn objection(&self, request: &OperationRequest) -> Option<String> {
        let name = &self.pool.name;
        if self.is_stopping {
            return Some("the master is stopping".to_owned());
        }
        if let Some(operation) = &self.operation {
            return Some(format!("a {} of pool `{name}` is under way", operation.verb.name()));
        }
        match *request {
            OperationRequest::Strategy(_) if self.pool.mode.acceptor() == Acceptor::Workers => {
                let mode = self.pool.mode.name();
                Some(format!(
                    "in mode {mode} the workers of pool `{name}` accept by themselves, and the kernel chooses"
                ))
            }
            OperationRequest::Scale(_) if self.pool.mode.inherits() == Inherits::SlotListener => Some(format!(
                "in mode {} each worker of pool `{name}` has a listener of its own, and there are as many as at the start: \
                 another number of workers needs a restart of the master, or mode shared",
                self.pool.mode.name()
            )),
            OperationRequest::Scale(workers) if !(1..=MOST_WORKERS).contains(&workers) => {
                Some(format!("a pool has 1 to {MOST_WORKERS} workers, not {workers}; to have none, stop it"))
            }
            OperationRequest::Restart(SlotRange::Slots(_, last))
            | OperationRequest::Stop(SlotRange::Slots(_, last))
            | OperationRequest::Start(SlotRange::Slots(_, last))
                if last >= self.desired_workers =>
            {
                Some(format!("pool `{name}` has no worker {last}: its workers are 0 to {}", self.desired_workers - 1))
            }
            _ => None,
        }
    }

    /// Returns the slots that shall have a process.
    fn running(&self) -> Vec<usize> {
        (0..self.workers.len()).filter(|&index| self.workers[index].slot.shall_run()).collect()
    }

    /// Gives an event to the chosen slots. Returns those slots, each with its newest process before the event.
    fn each(&mut self, which: SlotRange, is_meant: impl Fn(SlotState) -> bool, event: &Event) -> BTreeMap<usize, u64> {
        let desired_workers = self.desired_workers;
        let meant = (0..self.workers.len())
            .filter(|&index| u32::try_from(index).is_ok_and(|slot| slot < desired_workers && which.includes(slot)))
            .filter(|&index| is_meant(self.workers[index].slot.state()));
        let meant: Vec<usize> = meant.collect();
        self.tell_each(meant, event)
    }

    fn tell_each(&mut self, slots: impl IntoIterator<Item = usize>, event: &Event) -> BTreeMap<usize, u64> {
        let tell = |index: usize| {
            let newest = self.workers[index].slot.newest();
            self.tell(index, event.clone());
            (index, newest)
        };
        slots.into_iter().map(tell).collect()
    }

    fn begin_roll(&mut self, config: &Arc<config::PoolConfig>) -> OperationPhase {
        // Slots that the new configuration drops are stopped once the others are replaced, still on the old
        // configuration.
        let workers = self.workers_told(config) as usize;
        let roll = Roll::new(self.running().into_iter().filter(|&index| index < workers), config.max_surge);
        // Each attempt has a number of its own, so that processes left from a failed one differ from those of the next.
        self.newest_generation += 1;
        OperationPhase::Rolling { roll, config: Arc::clone(config), generation: self.newest_generation }
    }

    fn begin_scale(&mut self, workers: u32) -> OperationPhase {
        let before = self.desired_workers;
        self.set_desired_workers(workers);
        let wanted = workers as usize;
        if workers >= before {
            let slots = self.tell_each(before as usize..wanted, &Event::Start);
            return OperationPhase::Starting { slots, otherwise: Some(before) };
        }
        OperationPhase::Stopping {
            slots: self.tell_each(wanted..self.workers.len(), &Event::Stop).into_keys().collect(),
        }
    }

    /// Advances the present operation as far as it can go now.
    pub(super) fn advance_operation(&mut self) {
        let Some(mut operation) = self.operation.take() else {
            for outcome in std::mem::take(&mut self.outcomes) {
                if let (WorkerOutcome::Drained { closes, .. }, Some(_)) = (outcome, self.end_begun) {
                    self.left += closes;
                }
            }
            return;
        };
        if self.is_stopping {
            return self.conclude(operation, Err("the master is stopping".to_owned()));
        }
        loop {
            while !self.outcomes.is_empty() {
                for outcome in std::mem::take(&mut self.outcomes) {
                    self.apply_outcome(&mut operation, outcome);
                }
            }
            let next = match &mut operation.phase {
                OperationPhase::Rolling { roll, config, generation } => {
                    let (config, generation) = (Arc::clone(config), *generation);
                    self.advance_roll(roll, &config, generation);
                    if !self.outcomes.is_empty() {
                        continue;
                    }
                    if !roll.is_over() {
                        break;
                    }
                    match roll.failure().map(str::to_owned) {
                        Some(why) => {
                            let replaced = roll.replaced().to_vec();
                            operation.failed = Some(why);
                            self.roll_back(&replaced, &config)
                        }
                        None => {
                            operation.count = Some(self.pool.config().workers);
                            self.rolled(config, generation)
                        }
                    }
                }
                OperationPhase::RollingBack { roll } => {
                    let (config, generation) = (Arc::clone(&self.pool.config()), self.generation);
                    self.advance_roll(roll, &config, generation);
                    if !self.outcomes.is_empty() {
                        continue;
                    }
                    if !roll.is_over() {
                        break;
                    }
                    None
                }
                OperationPhase::Starting { slots, otherwise } => {
                    let is_failed = operation.failed.is_some();
                    let (is_over, back) = match is_failed {
                        false => (slots.is_empty() && self.workers.iter().all(WorkerSlot::has_none_retiring), None),
                        // A slot that still waits for its old process to end is started first: after this operation
                        // nothing would start it.
                        true if self.workers.iter().any(|worker| worker.slot.will_start_again()) => (false, None),
                        true => (true, otherwise.take()),
                    };
                    match back {
                        _ if !is_over => break,
                        Some(workers) => {
                            operation.is_miscounted = operation.count.is_some();
                            self.keep_count(operation.count.take());
                            Some(self.begin_scale(workers))
                        }
                        None => None,
                    }
                }
                OperationPhase::Stopping { slots } => {
                    if !slots.iter().all(|&index| self.workers[index].is_over()) {
                        break;
                    }
                    // Workers that were replaced before the change of the number failed were told that number.
                    let is_miscounted = std::mem::take(&mut operation.is_miscounted);
                    is_miscounted.then(|| OperationPhase::RollingBack {
                        roll: Roll::new(self.running(), self.pool.config().max_surge),
                    })
                }
            };
            match next {
                Some(phase) => operation.phase = phase,
                None => {
                    let result = operation.failed.take().map_or(Ok(()), Err);
                    return self.conclude(operation, result);
                }
            }
        }
        self.operation = Some(operation);
    }

    /// Begins the replacements whose turn it is.
    fn advance_roll(&mut self, roll: &mut Roll, config: &Arc<config::PoolConfig>, generation: u64) {
        for index in 0..self.workers.len() {
            if self.workers[index].has_none_retiring() {
                roll.clear(index);
            }
        }
        for index in roll.next() {
            let replace = Event::Replace { config: Arc::clone(config), generation, cause: Cause::Command };
            let older = self.workers[index].slot.newest();
            self.tell(index, replace);
            let replacement = self.workers[index].slot.newest();
            roll.begun(index, replacement);
            if replacement == older {
                let why = format!("{}: it cannot be replaced now", self.workers[index].name());
                roll.fail(index, why).into_iter().for_each(|index| self.tell(index, Event::Abandon));
            }
        }
    }

    /// Completes a roll: the pool takes over its configuration. Returns the phase that changes the number of workers,
    /// if needed.
    fn rolled(&mut self, config: Arc<config::PoolConfig>, generation: u64) -> Option<OperationPhase> {
        self.generation = generation;
        for worker in &mut self.workers {
            worker.slot.set_config(Arc::clone(&config), generation);
        }
        self.hold_timer.set_hold_timeout(config.hold_timeout);
        let workers = self.workers_told(&config);
        self.pool.set_config(config);
        (workers != self.desired_workers).then(|| self.begin_scale(workers))
    }

    /// Returns the number of workers that a process started by `config` is told. During a reload that changes `workers`
    /// it is the new number, else the present one.
    pub(super) fn workers_told(&self, config: &config::PoolConfig) -> u32 {
        match config.workers == self.pool.config().workers {
            true => self.desired_workers,
            false => config.workers.resolve(std::thread::available_parallelism().map_or(1, usize::from)),
        }
    }

    /// Puts the old number of workers back into the configuration, after the number that a reload brought did not come
    /// up.
    fn keep_count(&mut self, count: Option<config::Workers>) {
        if let Some(workers) = count {
            let config = Arc::new(config::PoolConfig { workers, ..(**self.pool.config()).clone() });
            for worker in &mut self.workers {
                worker.slot.set_config(Arc::clone(&config), self.generation);
            }
            self.pool.set_config(config);
        }
    }

    /// Rolls back a failed roll: if the configuration has changed, the slots that were replaced get the old
    /// configuration back.
    fn roll_back(&mut self, replaced: &[usize], config: &config::PoolConfig) -> Option<OperationPhase> {
        let is_changed = *config != **self.pool.config();
        (is_changed && !replaced.is_empty()).then(|| OperationPhase::RollingBack {
            roll: Roll::new(replaced.iter().copied(), self.pool.config().max_surge),
        })
    }

    fn conclude(&mut self, operation: Operation, result: Result<(), String>) {
        let ledger = operation.before.until(&Totals::of(&self.pool), &operation.left);
        let report = Report {
            verb: operation.verb,
            result,
            generation: self.generation,
            took: operation.begun.elapsed(),
            at: SystemTime::now(),
            ledger,
        };
        self.last_report = Some(Arc::new(report.clone()));
        let _ = operation.reply.send(Progress::Done(report));
    }
}
