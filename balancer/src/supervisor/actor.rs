//! A pool's task: waits for an event or a deadline, lets the pure parts decide, and applies their decisions.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::listeners::hold::HoldTimer;
use super::listeners::inherited::InheritedListeners;
use super::listeners::node::NodeListeners;
use super::listeners::reuseport::QueueRescue;
use super::memory::MemoryWatch;
use super::monitor::Monitor;
use super::operation::Operation;
use super::operation::ledger::{Closes, Totals};
use super::operation::outcome::WorkerOutcome;
use super::operation::startup::StartupMonitor;
use super::operation::stop_report::StopReport;
use super::replacement_limit::ReplacementLimit;
use super::slot::Event;
use super::slot::weights::Weights;
use super::worker::{Context, WorkerSlot};
use super::{DataPath, Input, Resources, Shutdown, WorkerEvent};
use crate::channel;
use crate::config::GiveUp;
use crate::failure::{Failure, code};
use crate::mode::Acceptor;
use crate::os::child::ChildEvent;
use crate::pool::operation::Report;
use crate::pool::{Pool, SlotState};
use crate::rotation::SlotId;
use crate::stats::Rejection;

/// The generation of a pool's first workers.
const FIRST_GENERATION: u64 = 1;
/// The number of further inputs that are handled before deadlines are checked again.
const BATCH: usize = 255;

/// The state of a pool's task.
pub(super) struct Supervisor {
    pub(super) pool: Arc<Pool>,
    pub(super) context: Arc<Context>,
    pub(super) workers: Vec<WorkerSlot>,
    /// The wanted number of slots; workers beyond it are ending.
    pub(super) desired_workers: u32,
    pub(super) generation: u64,
    /// The highest generation that a reload was given, even if that reload failed.
    pub(super) newest_generation: u64,
    pub(super) hold_timer: HoldTimer,
    startup: StartupMonitor,
    pub(super) monitor: Monitor,
    pub(super) replacement_limit: ReplacementLimit,
    pub(super) memory: MemoryWatch,
    /// The operation in progress, started by a control command.
    pub(super) operation: Option<Operation>,
    /// Events that the operation may wait for.
    pub(super) outcomes: Vec<WorkerOutcome>,
    pub(super) last_report: Option<Arc<Report>>,
    pub(super) is_stopping: bool,
    /// The time at which the pool's end began, and its counters at that time.
    pub(super) end_begun: Option<(Instant, Totals)>,
    /// The outcomes of the connections of workers that have left since then.
    pub(super) left: Closes,
    /// A command kills all workers, so no kill is logged.
    pub(super) is_killing: bool,
    gave_up: Option<Failure>,
    /// The workers in rotation and their weights, as last published.
    pub(super) published: Vec<(SlotId, u64, u32)>,
    pub(super) weights: Weights,
    pub(super) inherited: InheritedListeners,
    /// The listeners of the application, if the workers are Node's.
    pub(super) node_listeners: Option<NodeListeners>,
    pub(super) queue_rescue: QueueRescue,
}

impl Supervisor {
    pub(super) fn new(
        pool: Arc<Pool>,
        resources: Arc<Resources>,
        data_path: Arc<dyn DataPath>,
        inherited: InheritedListeners,
        inputs: mpsc::UnboundedSender<Input>,
    ) -> Self {
        let now = Instant::now();
        let context = Context {
            pool: Arc::clone(&pool),
            resources,
            data_path,
            inputs,
            logged_owners: Default::default(),
            log_limit: Default::default(),
        };
        let context = Arc::new(context);
        let count = pool.slots().len();
        let workers = (0..count).map(|index| WorkerSlot::new(index, FIRST_GENERATION, &context)).collect();
        let (hold_timeout, ready_timeout) = (pool.config().hold_timeout, pool.config().ready_timeout);
        Self {
            node_listeners: NodeListeners::of(&pool.config(), &pool.listening()),
            hold_timer: HoldTimer::new(hold_timeout, now),
            startup: StartupMonitor::new(now + ready_timeout),
            monitor: Monitor::new(now),
            replacement_limit: ReplacementLimit::default(),
            memory: MemoryWatch::default(),
            pool,
            context,
            workers,
            desired_workers: u32::try_from(count).unwrap_or(u32::MAX),
            generation: FIRST_GENERATION,
            newest_generation: FIRST_GENERATION,
            operation: None,
            outcomes: Vec::new(),
            last_report: None,
            is_stopping: false,
            end_begun: None,
            left: Closes::default(),
            is_killing: false,
            gave_up: None,
            published: Vec::new(),
            weights: Weights::new(count),
            inherited,
            queue_rescue: QueueRescue::new(count, now),
        }
    }

    /// Creates slots up to that number. The caller tells the slots beyond it to stop.
    pub(super) fn set_desired_workers(&mut self, workers: u32) {
        let wanted = workers as usize;
        self.pool.grow(wanted);
        for index in self.workers.len()..wanted {
            self.workers.push(WorkerSlot::new(index, self.generation, &self.context));
        }
        self.desired_workers = workers;
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Input>) -> Result<StopReport, Failure> {
        self.tell_all(&Event::Start);
        loop {
            self.publish();
            if self.is_stopping && self.workers.iter().all(WorkerSlot::is_over) {
                return self.ended();
            }
            let deadline = self.next_deadline();
            let timer = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                input = inbox.recv() => match input {
                    Some(input) => self.take_some(input, &mut inbox),
                    None => return self.ended(),
                },
                () = timer => {}
            }
            // Checks deadlines even while inputs keep coming.
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.tick();
            }
            self.advance_operation();
        }
    }

    /// Handles the inputs that have come, up to a limit; all their changes are published at once.
    fn take_some(&mut self, first: Input, inbox: &mut mpsc::UnboundedReceiver<Input>) {
        self.take(first);
        for input in std::iter::from_fn(|| inbox.try_recv().ok()).take(BATCH) {
            self.take(input);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let workers = self.workers.iter().filter_map(WorkerSlot::next_deadline).min();
        let startup = if self.is_stopping { None } else { self.startup.next_deadline() };
        let monitor = self.monitor.next_deadline();
        let now = Instant::now();
        let weights = self.weights.next_deadline(&self.pool.config(), now);
        [workers, startup, monitor, weights, self.hold_timer.next_deadline(now), self.inherited.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if self.inherited.look_if_due(&self.pool.config(), &self.pool.stats, now) {
            self.rescue(now);
            // No worker accepts there, and none will be started.
            if self.is_stopped() && self.workers.iter().all(WorkerSlot::is_over) {
                let rejected = self.inherited.reject_waiting();
                self.pool.stats.rejected[Rejection::NoWorker as usize].add(rejected);
            }
        }
        for index in 0..self.workers.len() {
            if let Some(event) = self.workers[index].waits_if_settling(now) {
                self.tell(index, event);
            }
            self.tell(index, Event::Tick);
            self.workers[index].probe_if_due(now);
            self.workers[index].look_if_due(now);
            let worker = &mut self.workers[index];
            let events: Vec<_> = worker.check_drains(now).into_iter().chain(worker.beat_if_due(now)).collect();
            events.into_iter().for_each(|event| self.tell(index, event));
        }
        self.sample(now);
        // Before its deadline a start is judged when a process's last lines are known, so that the error can quote
        // them.
        if self.startup.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.check_startup();
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Shutdown(Shutdown::Close) if self.pool.mode.acceptor() == Acceptor::Master => {
                self.begin_end();
                self.hold_timer.close();
            }
            // If the workers accept, their drain closes the listeners: this does not wait for other pools.
            Input::Shutdown(Shutdown::Close | Shutdown::Stop) => self.stop(Event::Stop),
            Input::Shutdown(Shutdown::Kill) => {
                self.is_killing = true;
                self.stop(Event::Kill);
            }
            Input::Operate(request, reply) => self.ask(request, reply),
            Input::Say(message, reply) => self.say(&message, reply),
            Input::Usage(usage, sockets) => self.usage_seen(&usage, &sockets),
            Input::Memory(measured) => self.memory_measured(measured),
            Input::Worker { slot, incarnation, event } if slot < self.workers.len() => {
                self.on_worker_event(slot, incarnation, event);
            }
            Input::Worker { .. } => {}
        }
    }

    fn begin_end(&mut self) {
        self.end_begun.get_or_insert_with(|| (Instant::now(), Totals::of(&self.pool)));
    }

    fn ended(self) -> Result<StopReport, Failure> {
        let (begun, before) = self.end_begun.unwrap_or_else(|| (Instant::now(), Totals::of(&self.pool)));
        let ended = StopReport { pool: self.pool, begun, before, left: self.left, generation: self.generation };
        self.gave_up.map_or(Ok(ended), Err)
    }

    fn stop(&mut self, event: Event) {
        self.begin_end();
        self.is_stopping = true;
        self.hold_timer.close();
        self.rescue_all();
        self.inherited.close();
        self.tell_all(&event);
    }

    /// Handles an event of a worker. Events of a dead incarnation are ignored, except its last lines, which belong to
    /// its report.
    fn on_worker_event(&mut self, index: usize, incarnation: u64, worker_event: WorkerEvent) {
        let now = Instant::now();
        let worker = &mut self.workers[index];
        let event = match worker_event {
            WorkerEvent::Child(ChildEvent::Forked { pid, stdout, stderr, .. }) => {
                worker.forked(incarnation, pid, stdout, stderr, &self.context.resources.output)
            }
            WorkerEvent::Child(ChildEvent::Executed) => worker.executed(incarnation, now),
            WorkerEvent::Child(ChildEvent::Failed(error)) => worker.start_failed(incarnation, &error),
            WorkerEvent::Child(ChildEvent::LeaderEnded) => {
                worker.leader_ended(incarnation);
                Some(Event::LeaderEnded(incarnation))
            }
            WorkerEvent::Child(ChildEvent::WentToBackground(name)) => {
                worker.went_to_background(incarnation, name, now);
                None
            }
            WorkerEvent::Child(ChildEvent::Exited(exit)) => {
                let was_up = worker.slot.current().is_some_and(|process_state| {
                    process_state.incarnation == incarnation
                        && process_state.state().is_up()
                        && process_state.fault.is_none()
                });
                let generation = worker.slot.process(incarnation).map(|process_state| process_state.generation);
                worker.exited(incarnation, Some(exit));
                let is_new = generation == self.operation.as_ref().and_then(Operation::rolled_generation);
                if was_up && is_new && worker.slot.parked().is_none() {
                    let why = worker.exit_of(incarnation).unwrap_or_default().to_owned();
                    self.outcomes.push(WorkerOutcome::Died { slot: index, why });
                }
                self.worker_left(index, incarnation);
                // The worker may have died because a listener was shut down, and its replacement would die of that too.
                self.inherited.look(&self.pool.config(), &self.pool.stats, now);
                Some(Event::Exited(incarnation))
            }
            WorkerEvent::Notify(message) => worker.on_notify(incarnation, message, now),
            WorkerEvent::Channel(channel::ChannelEvent::Node(node_event, _permit)) => {
                self.on_node_event(index, incarnation, node_event)
            }
            WorkerEvent::Channel(channel_event) => worker.on_channel_event(incarnation, channel_event),
            WorkerEvent::Probed(verdict) => worker.probed(incarnation, verdict, now),
            WorkerEvent::Checking(from) => {
                worker.checking(incarnation, from);
                None
            }
            WorkerEvent::ConnectFailed => {
                worker.probe_soon(incarnation, now);
                None
            }
            WorkerEvent::Drained => Some(Event::Drained(incarnation)),
            WorkerEvent::PortOwner(look) => worker.port_owner_seen(incarnation, look),
            WorkerEvent::Accepts => Some(Event::Ready(incarnation)),
            WorkerEvent::Listens(addresses, cpu_seconds) => {
                worker.listens(incarnation, &addresses, cpu_seconds, now);
                self.check_startup();
                None
            }
            WorkerEvent::ListenerDup(taken) => {
                worker.listener_dup(incarnation, taken);
                None
            }
            WorkerEvent::Counted(step, closes) => {
                worker.counted();
                self.outcomes.push(WorkerOutcome::Drained { step, closes });
                None
            }
            WorkerEvent::LastLines(lines) => {
                let outcome = worker.record_last_lines(incarnation, lines);
                self.outcomes.extend(outcome);
                self.check_startup();
                None
            }
        };
        let event = event.and_then(|event| self.workers[index].after_port_owner(event));
        if let Some(event) = event {
            self.tell(index, event);
        }
    }

    fn tell_all(&mut self, event: &Event) {
        for index in 0..self.workers.len() {
            self.tell(index, event.clone());
        }
    }

    /// Gives a slot an event and applies the effects that the slot decides.
    pub(super) fn tell(&mut self, index: usize, event: Event) {
        let now = Instant::now();
        let mut effects = VecDeque::from(self.workers[index].slot.on(event, now));
        while let Some(effect) = effects.pop_front() {
            let follow_up = self.apply_effect(index, effect, now);
            effects.extend(follow_up.map(|event| self.workers[index].slot.on(event, now)).unwrap_or_default());
        }
        let was = self.workers[index].record_state();
        let is = self.workers[index].slot.state();
        match is {
            SlotState::Ready if was != is => self.startup.ready(),
            SlotState::Failed if was != is => self.slot_failed(index),
            _ => {}
        }
    }

    fn slot_failed(&mut self, index: usize) {
        let worker = &self.workers[index];
        let report = worker.startup_report();
        match self.pool.config().restart.give_up {
            GiveUp::Never => tracing::error!(
                worker = %report.worker, last = %report.what,
                "worker failed: ended too often, next start after backoff-max"
            ),
            GiveUp::Exit => {
                let text = format!("{} ended too often (give-up = \"exit\")", report.worker);
                self.give_up(Failure::new(code::FAILED, text).cause(report.what));
            }
        }
    }

    fn check_startup(&mut self) {
        if self.is_stopping {
            return;
        }
        let reports: Vec<_> = self.workers.iter().map(WorkerSlot::startup_report).collect();
        if let Some(failure) = self.startup.failure(&self.pool.config(), &reports, Instant::now()) {
            self.give_up(failure);
        }
    }

    fn give_up(&mut self, failure: Failure) {
        self.gave_up.get_or_insert(failure);
        self.take(Input::Shutdown(Shutdown::Kill));
    }
}
