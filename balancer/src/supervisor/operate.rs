//! Operations on a pool: reload, scale, restart, stop, start. One at a time, each with a ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::ledger::{Closes, Totals};
use super::member::Member;
use super::note::Note;
use super::roll::Roll;
use super::slot::Event;
use super::warden::Warden;
use crate::config;
use crate::mode::{Acceptor, Inherits};
use crate::pool::SlotState;
use crate::pool::operation::{Ask, Progress, Report, Step, Verb, Which};
use crate::stats::Restart as Cause;

/// The most workers a pool can have.
const MOST_WORKERS: u32 = 1024;

/// What is being done to a pool by order.
pub(super) struct Operation {
    pub(super) verb: Verb,
    pub(super) reply: mpsc::UnboundedSender<Progress>,
    begun: Instant,
    before: Totals,
    pub(super) left: Closes,
    pub(super) phase: Phase,
    /// What the rules of before said of the number of workers, once a reload brings another: without its workers it is
    /// said again, so that the next reload tries anew.
    count: Option<config::Workers>,
    /// Some processes were told a number of workers that the pool did not reach: they are replaced.
    is_miscounted: bool,
    /// Why it did not come to its end.
    pub(super) failed: Option<String>,
}

/// What it waits for.
pub(super) enum Phase {
    /// New processes by these rules take the place of all.
    Rolling { roll: Roll, rules: Arc<config::Pool>, generation: u64 },
    /// A roll has failed: what it had replaced is replaced again by the rules of before.
    Back { roll: Roll },
    /// These slots come up, each with a process after the one that is named: who was older says nothing of it. If one does
    /// not, the number of workers is again what it was.
    Up { slots: BTreeMap<usize, u64>, otherwise: Option<u32> },
    /// These slots end.
    Down { slots: BTreeSet<usize> },
}

impl Operation {
    /// The generation that a reload brings, while it does.
    pub(super) fn rolled_generation(&self) -> Option<u64> {
        match self.phase {
            Phase::Rolling { generation, .. } => Some(generation),
            Phase::Back { .. } | Phase::Up { .. } | Phase::Down { .. } => None,
        }
    }
}

impl Warden {
    /// Begins what is asked for, or says why not.
    pub(super) fn ask(&mut self, ask: Ask, reply: mpsc::UnboundedSender<Progress>) {
        if let Some(why) = self.objection(&ask) {
            let _ = reply.send(Progress::Refused(why));
            return;
        }
        let verb = ask.verb();
        let phase = match ask {
            Ask::Reload(rules) => self.begin_roll(&rules),
            Ask::Scale(workers) => self.begin_scale(workers),
            Ask::Restart(which) => Phase::Up { slots: self.each(which, |_| true, &Event::Restart), otherwise: None },
            Ask::Stop(which) => {
                let slots = self.each(which, |state| state != SlotState::Stopped, &Event::Stop);
                Phase::Down { slots: slots.into_keys().collect() }
            }
            Ask::Start(which) => {
                let slots = self.each(which, |state| state == SlotState::Stopped, &Event::Start);
                Phase::Up { slots, otherwise: None }
            }
            Ask::Strategy(entry) => {
                // The next pick is by it; nobody has to come or to go.
                self.pool.picker.switch(entry);
                Phase::Up { slots: BTreeMap::new(), otherwise: None }
            }
        };
        let slots = match &phase {
            Phase::Rolling { .. } | Phase::Back { .. } => self.running().len(),
            Phase::Up { slots, .. } => slots.len(),
            Phase::Down { slots } => slots.len(),
        };
        let _ = reply.send(Progress::Step(Step::Began { verb, generation: self.generation, slots }));
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

    /// Why this cannot be done now.
    fn objection(&self, ask: &Ask) -> Option<String> {
        let name = &self.pool.name;
        if self.is_stopping {
            return Some("the master is stopping".to_owned());
        }
        if let Some(operation) = &self.operation {
            return Some(format!("a {} of pool `{name}` is under way", operation.verb.name()));
        }
        match *ask {
            Ask::Strategy(_) if self.pool.mode.acceptor() == Acceptor::Workers => {
                let mode = self.pool.mode.name();
                Some(format!(
                    "in mode {mode} the workers of pool `{name}` accept by themselves, and the kernel chooses"
                ))
            }
            Ask::Scale(_) if self.pool.mode.inherits() == Inherits::SlotListener => Some(format!(
                "in mode {} each worker of pool `{name}` has a listener of its own, and there are as many as at the start: \
                 another number of workers needs a restart of the master, or mode shared",
                self.pool.mode.name()
            )),
            Ask::Scale(workers) if !(1..=MOST_WORKERS).contains(&workers) => {
                Some(format!("a pool has 1 to {MOST_WORKERS} workers, not {workers}; to have none, stop it"))
            }
            Ask::Restart(Which::Slots(_, last))
            | Ask::Stop(Which::Slots(_, last))
            | Ask::Start(Which::Slots(_, last))
                if last >= self.desired =>
            {
                Some(format!("pool `{name}` has no worker {last}: its workers are 0 to {}", self.desired - 1))
            }
            _ => None,
        }
    }

    /// The slots that are to have a process.
    fn running(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|&index| self.members[index].slot.shall_run()).collect()
    }

    /// Gives an event to those of the pool's slots that are meant; which those are, each with its newest process before.
    fn each(&mut self, which: Which, is_meant: impl Fn(SlotState) -> bool, event: &Event) -> BTreeMap<usize, u64> {
        let desired = self.desired;
        let meant = (0..self.members.len())
            .filter(|&index| u32::try_from(index).is_ok_and(|slot| slot < desired && which.includes(slot)))
            .filter(|&index| is_meant(self.members[index].slot.state()));
        let meant: Vec<usize> = meant.collect();
        self.tell_each(meant, event)
    }

    fn tell_each(&mut self, slots: impl IntoIterator<Item = usize>, event: &Event) -> BTreeMap<usize, u64> {
        let tell = |index: usize| {
            let newest = self.members[index].slot.newest();
            self.tell(index, event.clone());
            (index, newest)
        };
        slots.into_iter().map(tell).collect()
    }

    fn begin_roll(&mut self, rules: &Arc<config::Pool>) -> Phase {
        // Slots that the new rules do without end by the old ones, once the others are replaced.
        let workers = self.workers_told(rules) as usize;
        let roll = Roll::new(self.running().into_iter().filter(|&index| index < workers), rules.max_surge);
        // Each attempt has a number of its own: what is left of one that failed is told from the next.
        self.newest_generation += 1;
        Phase::Rolling { roll, rules: Arc::clone(rules), generation: self.newest_generation }
    }

    fn begin_scale(&mut self, workers: u32) -> Phase {
        let before = self.desired;
        self.set_desired(workers);
        let wanted = workers as usize;
        if workers >= before {
            let slots = self.tell_each(before as usize..wanted, &Event::Start);
            return Phase::Up { slots, otherwise: Some(before) };
        }
        Phase::Down { slots: self.tell_each(wanted..self.members.len(), &Event::Stop).into_keys().collect() }
    }

    /// Takes the present operation as far as it can go now.
    pub(super) fn operate(&mut self) {
        let Some(mut operation) = self.operation.take() else {
            for note in std::mem::take(&mut self.notes) {
                if let (Note::Left { closes, .. }, Some(_)) = (note, self.end_begun) {
                    self.left += closes;
                }
            }
            return;
        };
        if self.is_stopping {
            return self.conclude(operation, Err("the master is stopping".to_owned()));
        }
        loop {
            while !self.notes.is_empty() {
                for note in std::mem::take(&mut self.notes) {
                    self.note(&mut operation, note);
                }
            }
            let next = match &mut operation.phase {
                Phase::Rolling { roll, rules, generation } => {
                    let (rules, generation) = (Arc::clone(rules), *generation);
                    self.advance(roll, &rules, generation);
                    if !self.notes.is_empty() {
                        continue;
                    }
                    if !roll.is_over() {
                        break;
                    }
                    match roll.failure().map(str::to_owned) {
                        Some(why) => {
                            let replaced = roll.replaced().to_vec();
                            operation.failed = Some(why);
                            self.roll_back(&replaced, &rules)
                        }
                        None => {
                            operation.count = Some(self.pool.config().workers);
                            self.rolled(rules, generation)
                        }
                    }
                }
                Phase::Back { roll } => {
                    let (rules, generation) = (Arc::clone(&self.pool.config()), self.generation);
                    self.advance(roll, &rules, generation);
                    if !self.notes.is_empty() {
                        continue;
                    }
                    if !roll.is_over() {
                        break;
                    }
                    None
                }
                Phase::Up { slots, otherwise } => {
                    let is_failed = operation.failed.is_some();
                    let (is_over, back) = match is_failed {
                        false => (slots.is_empty() && self.members.iter().all(Member::has_nothing_leaving), None),
                        // Who still waits for its old process to end is started first: it is nobody's business later.
                        true if self.members.iter().any(|member| member.slot.will_start_again()) => (false, None),
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
                Phase::Down { slots } => {
                    if !slots.iter().all(|&index| self.members[index].is_over()) {
                        break;
                    }
                    // Workers that were replaced before the change of the number failed were told that number.
                    let is_miscounted = std::mem::take(&mut operation.is_miscounted);
                    is_miscounted.then(|| Phase::Back { roll: Roll::new(self.running(), self.pool.config().max_surge) })
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
    fn advance(&mut self, roll: &mut Roll, rules: &Arc<config::Pool>, generation: u64) {
        for index in 0..self.members.len() {
            if self.members[index].has_nothing_leaving() {
                roll.clear(index);
            }
        }
        for index in roll.next() {
            let replace = Event::Replace { rules: Arc::clone(rules), generation, cause: Cause::Order };
            let older = self.members[index].slot.newest();
            self.tell(index, replace);
            let heir = self.members[index].slot.newest();
            roll.begun(index, heir);
            if heir == older {
                let why = format!("{}: it cannot be replaced now", self.members[index].name());
                roll.fail(index, why).into_iter().for_each(|index| self.tell(index, Event::Abandon));
            }
        }
    }

    /// A roll is done: its rules are the pool's. What remains is the number of workers.
    fn rolled(&mut self, rules: Arc<config::Pool>, generation: u64) -> Option<Phase> {
        self.generation = generation;
        for member in &mut self.members {
            member.slot.set_rules(Arc::clone(&rules), generation);
        }
        self.keeper.set_hold_timeout(rules.hold_timeout);
        let workers = self.workers_told(&rules);
        self.pool.set_config(rules);
        (workers != self.desired).then(|| self.begin_scale(workers))
    }

    /// Returns the number of workers that a process started by `rules` is told. During a reload that changes `workers` it is
    /// the new number, else the present one.
    pub(super) fn workers_told(&self, rules: &config::Pool) -> u32 {
        match rules.workers == self.pool.config().workers {
            true => self.desired,
            false => rules.workers.resolve(std::thread::available_parallelism().map_or(1, usize::from)),
        }
    }

    /// The number of workers that a reload brought did not come up: the rules say again what they said before.
    fn keep_count(&mut self, count: Option<config::Workers>) {
        if let Some(workers) = count {
            let rules = Arc::new(config::Pool { workers, ..(**self.pool.config()).clone() });
            for member in &mut self.members {
                member.slot.set_rules(Arc::clone(&rules), self.generation);
            }
            self.pool.set_config(rules);
        }
    }

    /// A roll has failed. Where the rules have changed, the slots that it has replaced get the old ones back.
    fn roll_back(&mut self, replaced: &[usize], rules: &config::Pool) -> Option<Phase> {
        let is_changed = *rules != **self.pool.config();
        (is_changed && !replaced.is_empty())
            .then(|| Phase::Back { roll: Roll::new(replaced.iter().copied(), self.pool.config().max_surge) })
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
