//! The slots of a pool: gives a slot an event, performs what it decides, and keeps the outcomes for the parts of the
//! supervisor that wait for them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::listeners::inherited::InheritedListeners;
use super::operation::outcome::WorkerOutcome;
use super::operation::startup::StartupReport;
use super::replacement_limit::ReplacementLimit;
use super::slot::Event;
use super::worker::{Context, WorkerSlot};
use crate::config::PoolConfig;
use crate::pool::{Pool, SlotState};

/// The generation of a pool's first workers.
pub(super) const FIRST_GENERATION: u64 = 1;

/// The slots of a pool, with what a slot's decisions need to be performed.
pub(super) struct Workers {
    pub(super) pool: Arc<Pool>,
    pub(super) context: Arc<Context>,
    slots: Vec<WorkerSlot>,
    /// The wanted number of slots; workers beyond it are ending.
    desired: u32,
    generation: u64,
    pub(super) inherited: InheritedListeners,
    pub(super) replacement_limit: ReplacementLimit,
    /// The outcomes that nothing has taken yet, the oldest first.
    outcomes: Vec<WorkerOutcome>,
    /// The slots that ended too often and were not looked at yet.
    failed: Vec<usize>,
    /// True if any worker was ever ready.
    has_been_ready: bool,
    /// True if a command kills all workers, so that no kill is logged.
    pub(super) is_killing: bool,
}

impl Workers {
    /// Creates the slots of a pool; none has a process yet.
    pub(super) fn new(context: Arc<Context>, inherited: InheritedListeners) -> Self {
        let pool = Arc::clone(&context.pool);
        let count = pool.slots().len();
        Self {
            slots: (0..count).map(|index| WorkerSlot::new(index, FIRST_GENERATION, &context)).collect(),
            pool,
            context,
            desired: u32::try_from(count).unwrap_or(u32::MAX),
            generation: FIRST_GENERATION,
            inherited,
            replacement_limit: ReplacementLimit::default(),
            outcomes: Vec::new(),
            failed: Vec::new(),
            has_been_ready: false,
            is_killing: false,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &WorkerSlot> + Clone {
        self.slots.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut WorkerSlot> {
        self.slots.iter_mut()
    }

    /// The indices of all slots, also of those beyond the wanted number.
    pub(super) fn indices(&self) -> std::ops::Range<usize> {
        0..self.slots.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&WorkerSlot> {
        self.slots.get(index)
    }

    /// The wanted number of slots.
    pub(super) fn desired(&self) -> u32 {
        self.desired
    }

    /// The release that the pool runs.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// True if any worker was ever ready.
    pub(super) fn has_been_ready(&self) -> bool {
        self.has_been_ready
    }

    /// Sets the wanted number of slots, and creates those that are missing. The caller tells the slots beyond it to stop.
    pub(super) fn set_desired(&mut self, workers: u32) {
        let wanted = workers as usize;
        self.pool.grow(wanted);
        for index in self.slots.len()..wanted {
            self.slots.push(WorkerSlot::new(index, self.generation, &self.context));
        }
        self.desired = workers;
    }

    /// Takes over the configuration and the generation: for the next process of each slot, and for the pool.
    pub(super) fn set_config(&mut self, config: Arc<PoolConfig>, generation: u64) {
        self.generation = generation;
        for worker in &mut self.slots {
            worker.slot.set_config(Arc::clone(&config), generation);
        }
        self.pool.set_config(config);
    }

    /// Returns the number of workers that a process started by `config` is told. During a reload that changes `workers`
    /// it is the new number, else the present one.
    pub(super) fn told_count(&self, config: &PoolConfig) -> u32 {
        match config.workers == self.pool.config().workers {
            true => self.desired,
            false => config.workers.resolve(std::thread::available_parallelism().map_or(1, usize::from)),
        }
    }

    /// Returns the slots that shall have a process.
    pub(super) fn running(&self) -> Vec<usize> {
        self.indices().filter(|&index| self[index].slot.shall_run()).collect()
    }

    /// Returns every wanted slot, and those beyond that are not over yet.
    pub(super) fn shown(&self) -> impl Iterator<Item = &WorkerSlot> {
        let desired = self.desired as usize;
        self.iter().enumerate().filter(move |(index, one)| *index < desired || !one.is_over()).map(|(_, one)| one)
    }

    /// Returns true if every worker was stopped by command.
    pub(super) fn are_stopped(&self) -> bool {
        self.iter().all(|worker| !worker.slot.shall_run())
    }

    /// Returns true if no slot has a process or will have one, and all connections are counted.
    pub(super) fn are_over(&self) -> bool {
        self.iter().all(WorkerSlot::is_over)
    }

    /// The time of the next deadline of any slot.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.iter().filter_map(WorkerSlot::next_deadline).min()
    }

    /// Gives each slot the deadlines that have passed, and makes the checks that are due.
    pub(super) fn tick(&mut self, now: Instant) {
        for index in self.indices() {
            if let Some(event) = self[index].waits_if_settling(now) {
                self.tell(index, event);
            }
            self.tell(index, Event::Tick);
            let worker = &mut self[index];
            worker.probe_if_due(now);
            worker.look_if_due(now);
            let events: Vec<_> = worker.check_drains(now).into_iter().chain(worker.beat_if_due(now)).collect();
            events.into_iter().for_each(|event| self.tell(index, event));
        }
    }

    /// Gives an event to every slot.
    pub(super) fn tell_all(&mut self, event: &Event) {
        self.indices().for_each(|index| self.tell(index, event.clone()));
    }

    /// Gives an event to these slots. Returns them, each with its newest process before the event.
    pub(super) fn tell_each(&mut self, slots: impl IntoIterator<Item = usize>, event: &Event) -> BTreeMap<usize, u64> {
        let tell = |index: usize| {
            let newest = self[index].slot.newest();
            self.tell(index, event.clone());
            (index, newest)
        };
        slots.into_iter().map(tell).collect()
    }

    /// Gives a slot an event and performs the effects that the slot decides.
    pub(super) fn tell(&mut self, index: usize, event: Event) {
        let now = Instant::now();
        let mut effects = VecDeque::from(self[index].slot.on(event, now));
        while let Some(effect) = effects.pop_front() {
            let follow_up = self.perform(index, effect, now);
            effects.extend(follow_up.map(|event| self[index].slot.on(event, now)).unwrap_or_default());
        }
        let was = self[index].record_state();
        let is = self[index].slot.state();
        match is {
            SlotState::Ready if was != is => self.has_been_ready = true,
            SlotState::Failed if was != is => self.failed.push(index),
            _ => {}
        }
    }

    /// Adds an outcome for the operation that may wait for it.
    pub(super) fn record(&mut self, outcome: impl IntoIterator<Item = WorkerOutcome>) {
        self.outcomes.extend(outcome);
    }

    /// Returns true if an outcome waits to be taken.
    pub(super) fn has_outcomes(&self) -> bool {
        !self.outcomes.is_empty()
    }

    /// Takes the outcomes that nothing has taken yet, the oldest first.
    pub(super) fn take_outcomes(&mut self) -> Vec<WorkerOutcome> {
        std::mem::take(&mut self.outcomes)
    }

    /// Takes the slots that ended too often since the last call.
    pub(super) fn take_failed(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.failed)
    }

    /// Returns each slot's account of its start.
    pub(super) fn startup_reports(&self) -> Vec<StartupReport> {
        self.iter().map(WorkerSlot::startup_report).collect()
    }
}

/// A slot by its number, which must be one of [`Workers::indices`]: numbers that come from outside are checked where they
/// come in.
impl std::ops::Index<usize> for Workers {
    type Output = WorkerSlot;

    fn index(&self, index: usize) -> &WorkerSlot {
        &self.slots[index]
    }
}

impl std::ops::IndexMut<usize> for Workers {
    fn index_mut(&mut self, index: usize) -> &mut WorkerSlot {
        &mut self.slots[index]
    }
}
