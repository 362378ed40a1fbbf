//! A pool's task: waits for an event or a deadline, lets the parts decide, and publishes the result.

mod end;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::listeners::hold::HoldTimer;
use super::listeners::node::NodeListeners;
use super::listeners::reuseport::QueueRescue;
use super::monitor::Monitor;
use super::operation::ledger::{Closes, Totals};
use super::operation::outcome::WorkerOutcome;
use super::operation::startup::StartupMonitor;
use super::operation::stop_report::StopReport;
use super::operation::{Operations, message};
use super::publish::Publisher;
use super::slot::Event;
use super::workers::Workers;
use super::{Input, WorkerEvent};
use crate::channel::ChannelEvent;
use crate::failure::Failure;
use crate::mode::Acceptor;
use crate::os::child::{ChildEvent, Exit};
use crate::pool::{Pool, PoolStatus};
use crate::rotation::AcceptState;
use crate::stats::Rejection;

/// The number of further inputs that are handled before deadlines are checked again.
const BATCH: usize = 255;

/// The state of a pool's task.
pub(super) struct Supervisor {
    pool: Arc<Pool>,
    workers: Workers,
    operations: Operations,
    publisher: Publisher,
    hold_timer: HoldTimer,
    startup: StartupMonitor,
    monitor: Monitor,
    node_listeners: NodeListeners,
    queue_rescue: QueueRescue,
    is_stopping: bool,
    /// The time at which the pool's end began, and its counters at that time.
    end_begun: Option<(Instant, Totals)>,
    /// The outcomes of the connections of workers that have left since then.
    closes_since_end: Closes,
    gave_up: Option<Failure>,
}

impl Supervisor {
    /// Creates the task of a pool whose workers have no process yet.
    pub(super) fn new(workers: Workers) -> Self {
        let (now, pool) = (Instant::now(), Arc::clone(&workers.pool));
        let count = workers.indices().len();
        Self {
            workers,
            operations: Operations::default(),
            publisher: Publisher::new(count),
            hold_timer: HoldTimer::new(now),
            startup: StartupMonitor::new(now + pool.config().ready_timeout),
            monitor: Monitor::new(now),
            node_listeners: NodeListeners::new(&pool.config(), &pool.listening()),
            queue_rescue: QueueRescue::new(count, now),
            pool,
            is_stopping: false,
            end_begun: None,
            closes_since_end: Closes::default(),
            gave_up: None,
        }
    }

    /// Runs the pool until all its workers have ended.
    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Input>) -> Result<StopReport, Failure> {
        self.workers.tell_all(&Event::Start);
        self.look_at_failed();
        loop {
            self.publish();
            if self.is_stopping && self.workers.are_over() {
                return self.ended();
            }
            let deadline = self.next_deadline();
            tokio::select! {
                biased;
                input = inbox.recv() => match input {
                    Some(input) => self.take_some(input, &mut inbox),
                    None => return self.ended(),
                },
                () = tokio::time::sleep_until(deadline) => {}
            }
            // Checks deadlines even while inputs keep coming.
            if deadline <= Instant::now() {
                self.tick();
            }
            let closes = self.operations.advance(&mut self.workers, self.is_stopping);
            self.look_at_failed();
            if self.end_begun.is_some() {
                self.closes_since_end += closes;
            }
        }
    }

    /// Handles the inputs that have come, up to a limit; all their changes are published at once.
    fn take_some(&mut self, first: Input, inbox: &mut mpsc::UnboundedReceiver<Input>) {
        self.take(first);
        for input in std::iter::from_fn(|| inbox.try_recv().ok()).take(BATCH) {
            self.take(input);
        }
    }

    fn take(&mut self, input: Input) {
        let may_replace = self.may_replace();
        match input {
            Input::Shutdown(shutdown) => self.shut_down(shutdown),
            Input::Operate(request, reply) => {
                // The end begins with the listeners: from then on no operation does.
                let is_stopping = self.is_stopping || self.end_begun.is_some();
                self.operations.begin(&mut self.workers, is_stopping, request, reply);
            }
            Input::Say(message, reply) => message::send(&self.workers, &message, reply),
            Input::Usage(usage, sockets) => {
                self.monitor.usage_seen(&mut self.workers, &usage, &sockets, may_replace);
            }
            Input::Memory(measured) => self.monitor.memory_measured(&self.workers, measured),
            Input::Worker { slot, incarnation, event } if self.workers.get(slot).is_some() => {
                self.on_worker_event(slot, incarnation, event);
            }
            Input::Worker { .. } => {}
        }
        self.look_at_failed();
    }

    /// Handles an event of a worker. Events of a dead incarnation are ignored, except its last lines, which belong to
    /// its report.
    fn on_worker_event(&mut self, index: usize, incarnation: u64, worker_event: WorkerEvent) {
        let now = Instant::now();
        let worker = &mut self.workers[index];
        let event = match worker_event {
            WorkerEvent::Child(event) => self.on_child_event(index, incarnation, event, now),
            WorkerEvent::Notify(message) => worker.on_notify(incarnation, message, now),
            WorkerEvent::Channel(ChannelEvent::Node(node_event, _permit)) => {
                self.node_listeners.on_event(&mut self.workers, index, incarnation, node_event)
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
                self.workers.record([WorkerOutcome::Drained { step, closes }]);
                None
            }
            WorkerEvent::LastLines(lines) => {
                let outcome = worker.record_last_lines(incarnation, lines);
                self.workers.record(outcome);
                self.check_startup();
                None
            }
        };
        let event = event.and_then(|event| self.workers[index].after_port_owner(event));
        if let Some(event) = event {
            self.workers.tell(index, event);
        }
    }

    fn on_child_event(&mut self, index: usize, incarnation: u64, event: ChildEvent, now: Instant) -> Option<Event> {
        let worker = &mut self.workers[index];
        match event {
            ChildEvent::Forked { pid, stdout, stderr, .. } => worker.forked(incarnation, pid, stdout, stderr),
            ChildEvent::Executed => worker.executed(incarnation, now),
            ChildEvent::Failed(error) => worker.start_failed(incarnation, &error),
            ChildEvent::LeaderEnded => {
                worker.leader_ended(incarnation);
                Some(Event::LeaderEnded(incarnation))
            }
            ChildEvent::WentToBackground(name) => {
                worker.went_to_background(incarnation, name, now);
                None
            }
            ChildEvent::Exited(exit) => {
                self.on_exit(index, incarnation, exit, now);
                Some(Event::Exited(incarnation))
            }
        }
    }

    fn on_exit(&mut self, index: usize, incarnation: u64, exit: Exit, now: Instant) {
        let worker = &mut self.workers[index];
        let current = worker.slot.current().filter(|process_state| process_state.incarnation == incarnation);
        let served = current.filter(|process_state| process_state.state().is_up() && process_state.fault.is_none());
        let generation = served.map(|process_state| process_state.generation);
        worker.exited(incarnation, Some(exit));
        if let Some(generation) = generation.filter(|_| worker.slot.parked().is_none()) {
            let why = worker.exit_of(incarnation).unwrap_or_default().to_owned();
            self.workers.record([WorkerOutcome::Died { slot: index, generation, why }]);
        }
        self.node_listeners.worker_left(&mut self.workers, index, incarnation);
        // The worker may have died because a listener was shut down, and its replacement would die of that too.
        self.workers.inherited.look(&self.pool.config(), &self.pool.stats, now);
    }

    fn next_deadline(&self) -> Instant {
        let now = Instant::now();
        let others = [
            self.workers.next_deadline(),
            self.startup.next_deadline().filter(|_| !self.is_stopping),
            self.publisher.next_deadline(&self.workers, now),
            self.hold_timer.next_deadline(self.pool.config().hold_timeout, now),
            self.workers.inherited.next_deadline(),
        ];
        others.into_iter().flatten().fold(self.monitor.next_deadline(), Instant::min)
    }

    /// Does everything that is due by now.
    fn tick(&mut self) {
        let now = Instant::now();
        if self.workers.inherited.look_if_due(&self.pool.config(), &self.pool.stats, now) {
            self.queue_rescue.rescue(&self.workers, now);
            // No worker accepts there, and none will be started.
            if self.is_stopped() && self.workers.are_over() {
                let rejected = self.workers.inherited.reject_waiting();
                self.pool.stats.rejected[Rejection::NoWorker as usize].add(rejected);
            }
        }
        self.workers.tick(now);
        self.look_at_failed();
        let may_replace = self.may_replace();
        self.monitor.sample(&mut self.workers, may_replace, now);
        self.look_at_failed();
        // Before its deadline a start is judged when a process's last lines are known, so that the error can quote
        // them.
        if self.startup.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.check_startup();
        }
    }

    /// Returns true if workers may be replaced for a reason of their own: no operation is in progress, and the pool does
    /// not end.
    fn may_replace(&self) -> bool {
        self.operations.is_idle() && !self.is_stopping
    }

    /// Returns true if every worker was stopped by command.
    fn is_stopped(&self) -> bool {
        !self.is_stopping && self.workers.are_stopped()
    }

    /// Publishes changes in this order: the workers in rotation, the accept state of the listeners, the status.
    fn publish(&mut self) {
        let (now, is_stopped) = (Instant::now(), self.is_stopped());
        self.pool.rotation.set_stopped(is_stopped);
        if self.publisher.publish(&self.workers, now) {
            self.queue_rescue.publish_eligible(&mut self.workers, self.publisher.slots(), now);
        }
        // If the workers accept, clients wait for them in the kernel's queue in any accept state.
        let do_workers_accept = self.pool.mode.acceptor() == Acceptor::Workers;
        let is_open = self.publisher.has_workers() || (do_workers_accept && !is_stopped);
        let hold_timeout = self.pool.config().hold_timeout;
        let accept_state = self.hold_timer.accept_state(is_open, is_stopped, hold_timeout, now);
        self.pool.rotation.set_accept_state(accept_state);
        self.pool.status.store(Arc::new(PoolStatus {
            generation: self.workers.generation(),
            accept_state,
            desired_workers: self.workers.desired(),
            operation: self.operations.verb(),
            last_report: self.operations.last_report().cloned(),
            is_stopping: self.is_stopping || accept_state == AcceptState::Closing,
            workers: self.workers.shown().map(super::worker::WorkerSlot::status).collect(),
        }));
    }
}
