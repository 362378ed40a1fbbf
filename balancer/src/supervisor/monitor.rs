//! Samples all workers of a pool at intervals: their accept queues, and the resources that their processes use.

use std::collections::{HashMap, HashSet};

use tokio::time::{Duration, Instant};

use super::Input;
use super::actor::Supervisor;
use super::replacement_limit::Permission;
use super::slot::Event;
use super::slot::hang::HangAction;
use super::worker::{LookAt, WorkerSlot};
use crate::config::Address;
use crate::os::accept_queue::ServerSide;
use crate::os::inspect::{self, OpenFiles, Usage};
use crate::pool::Limited;
use crate::stats::{AcceptLimit, Restart as Cause};

/// The interval at which accept queues are sampled, and processes are checked for a stop (SIGSTOP).
const QUEUE_LOOK: Duration = Duration::from_millis(250);
/// The interval at which the resources of workers in doubt are sampled, and of all workers if memory is limited.
const USAGE_LOOK: Duration = Duration::from_millis(500);
/// A sample that comes this much too late was delayed by a pause that stopped the workers too, or by the master itself.
const OWN_PAUSE: Duration = Duration::from_secs(1);
/// The time that clients must wait at the public listeners before that counts: such a queue is empty most of the time.
const PUBLIC_WAIT: Duration = Duration::from_millis(750);
/// The pause after the start of a replacement before the next one of the same worker may begin.
const REPLACE_AGAIN: Duration = Duration::from_secs(60);

/// The times of the next samples.
#[derive(Debug)]
pub(super) struct Monitor {
    next_queues: Instant,
    next_usage: Instant,
    /// A sample of the resources is under way: on a machine with many processes it takes long.
    is_looking: bool,
    /// The time since which clients wait at the public listeners, if those are sampled.
    public_wait: Option<Instant>,
}

impl Monitor {
    pub(super) fn new(now: Instant) -> Self {
        Self { next_queues: now + QUEUE_LOOK, next_usage: now + USAGE_LOOK, is_looking: false, public_wait: None }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        Some(self.next_queues.min(self.next_usage))
    }
}

impl Supervisor {
    /// Takes the samples that are due.
    pub(super) fn sample(&mut self, now: Instant) {
        if self.monitor.next_queues <= now {
            if now - self.monitor.next_queues > OWN_PAUSE {
                // Deadlines may have passed only because nothing ran: a paused container, a suspended machine.
                self.workers.iter_mut().for_each(|worker| worker.forgive(now));
            }
            self.monitor.next_queues = now + QUEUE_LOOK;
            self.look_at_queues(now);
            self.look_at_public_queues(now);
            // All are checked, also after the first stopped one: the check clears the sign of a process that runs
            // again.
            if self.workers.iter_mut().fold(false, |any, worker| worker.leader_is_stopped(now) | any) {
                self.monitor.next_usage = now;
            }
            self.reconsider(now);
        }
        if self.monitor.next_usage <= now {
            self.monitor.next_usage = now + USAGE_LOOK;
            self.look_at_usage(now);
            self.replace_the_unreachable(now);
        }
        self.replace_the_old(now);
    }

    /// Samples the connections that each worker was given and has not taken.
    fn look_at_queues(&mut self, now: Instant) {
        let mut queues = Vec::new();
        for (index, worker) in self.workers.iter_mut().enumerate() {
            match worker.look_at() {
                Some(LookAt::Queue(endpoint)) => queues.push((index, endpoint)),
                Some(LookAt::Channel | LookAt::Sockets) => worker.look_here(now),
                None => {}
            }
        }
        let endpoints: Vec<_> = queues.iter().map(|(_, endpoint)| endpoint).collect();
        let queued = self.context.resources.queued(&endpoints);
        for ((index, endpoint), queued) in queues.iter().zip(queued) {
            // A queue that cannot be read proves nothing.
            let Ok(queued) = queued else { continue };
            let worker = &mut self.workers[*index];
            if worker.queue_seen(queued.unwrap_or(0), queued.is_some(), now)
                && let Ok(sides) = self.context.resources.connections(endpoint)
            {
                worker.connections_seen(&sides, now);
            }
        }
    }

    /// Checks if clients wait at the public listeners, while a worker is in doubt.
    fn look_at_public_queues(&mut self, now: Instant) {
        let is_wanted = self.workers.iter().any(WorkerSlot::is_in_doubt);
        let waits = is_wanted && self.context.resources.has_public_queue(&self.pool.listening());
        self.monitor.public_wait = waits.then(|| self.monitor.public_wait.unwrap_or(now));
    }

    /// Returns true if a client waits for a worker anywhere in the pool.
    fn clients_wait(&self, now: Instant) -> bool {
        self.monitor.public_wait.is_some_and(|since| now - since >= PUBLIC_WAIT)
            || self.workers.iter().any(|worker| worker.keeps_waiting(now))
    }

    /// Tells each slot about a change in how its worker seems.
    fn reconsider(&mut self, now: Instant) {
        for index in 0..self.workers.len() {
            if let Some(event) = self.workers[index].reconsider(now) {
                self.tell(index, event);
                if !self.workers[index].is_in_doubt() {
                    self.replacement_limit.recovered(index);
                }
            }
        }
    }

    fn look_at_usage(&mut self, now: Instant) {
        let workers = &mut self.workers;
        // A queue there may mean that the workers have no descriptor to accept with.
        let has_queue = self.inherited.has_queue();
        let mut wanted = |worker: &mut WorkerSlot| {
            let has_reason = worker.memory_bound().is_some() || worker.is_in_doubt();
            let is_wanted = has_queue || has_reason || worker.leader_is_stopped(now);
            worker.group().filter(|_| is_wanted)
        };
        let groups: HashSet<u32> = workers.iter_mut().filter_map(&mut wanted).collect();
        if groups.is_empty() || self.monitor.is_looking {
            return;
        }
        let held: HashSet<u32> = workers.iter().filter_map(|worker| worker.group_to_look_up(now)).collect();
        let ports: HashSet<u16> = self.pool.listening().iter().filter_map(Address::port).collect();
        self.monitor.is_looking = true;
        let inputs = self.context.inputs.clone();
        tokio::task::spawn_blocking(move || {
            let sockets = match held.is_empty() || ports.is_empty() {
                true => HashMap::new(),
                // Sockets that cannot be read count as unknown.
                false => inspect::connections_by_group(&held, &ports).unwrap_or_default(),
            };
            let _ = inputs.send(Input::Usage(inspect::usage_by_group(&groups), sockets));
        });
    }

    /// Takes the resources that groups of this pool used a moment ago, and the client sockets that some of them hold.
    pub(super) fn usage_seen(&mut self, usage: &HashMap<u32, Usage>, sockets: &HashMap<u32, Vec<ServerSide>>) {
        self.monitor.is_looking = false;
        let now = Instant::now();
        let clients_wait = self.clients_wait(now);
        for index in 0..self.workers.len() {
            let worker = &mut self.workers[index];
            let Some(group) = worker.group() else { continue };
            if let Some(sides) = sockets.get(&group) {
                worker.sockets_seen(group, sides);
                worker.look_here(now);
            }
            let Some(usage) = usage.get(&group) else { continue };
            if usage.fullest.is_some_and(OpenFiles::are_used_up) {
                drop(Limited::begin(&self.pool, AcceptLimit::WorkerOpenFiles));
            }
            if let Some(action) = worker.usage_seen(usage, clients_wait, now) {
                self.suspect(index, action, now);
            }
        }
        for index in self.too_big(usage, now) {
            self.replace(index, Cause::Memory, now);
        }
        self.reconsider(now);
    }

    /// Carries out an action on a worker, if the pool's limit on suspicions allows it.
    fn suspect(&mut self, index: usize, action: HangAction, now: Instant) {
        // A process that was stopped (SIGSTOP) meanwhile is reported first, or its slot would not know the cause of the
        // replacement.
        if let Some(event) = self.workers[index].reconsider(now) {
            self.tell(index, event);
        }
        let worker = &self.workers[index];
        let Some(incarnation) = worker.slot.current().map(|process_state| process_state.incarnation) else { return };
        let (name, why) = (worker.name(), worker.reason(incarnation));
        let (pid, is_stopped) = (worker.pid_of(incarnation).unwrap_or(0), worker.is_stopped(now));
        let (count, busy) = (self.desired_workers as usize, self.pool.config().health.busy_timeout);
        let workers = &self.workers;
        self.replacement_limit.forget_stopped(|slot| workers.get(slot).is_some_and(|worker| worker.slot.shall_run()));
        match self.replacement_limit.ask(index, count, is_stopped, busy, now) {
            Permission::Wait => return,
            Permission::Stop => {
                tracing::error!(
                    worker = %name, pid, why,
                    "replacement workers are unhealthy too: the cause is elsewhere, unhealthy workers are not replaced for a \
                     minute"
                );
                return;
            }
            Permission::Go => {}
        }
        match action {
            HangAction::Kill => {
                tracing::error!(worker = %name, pid, why, "worker hung: killing its process group and starting another");
                self.replacement_limit.begun(index);
                self.tell(index, Event::Hung(incarnation));
            }
            HangAction::Replace => {
                if self.replace(index, Cause::Busy, now) {
                    tracing::warn!(worker = %name, pid, why, "worker busy without progress: starting a second process beside it");
                    self.replacement_limit.begun(index);
                }
            }
        }
    }

    /// Replaces workers that are too old. This runs at each sample and has no deadline: a worker that may not be
    /// replaced yet is tried again at the next one.
    fn replace_the_old(&mut self, now: Instant) {
        for index in 0..self.workers.len() {
            if self.workers[index].is_too_old(now) {
                self.replace(index, Cause::Age, now);
            }
        }
    }

    /// Replaces workers whose unix endpoint lost its path: a path that another program removed does not come back,
    /// since the socket cannot be bound again.
    fn replace_the_unreachable(&mut self, now: Instant) {
        for index in 0..self.workers.len() {
            if self.workers[index].has_lost_endpoint() {
                self.replace(index, Cause::Removed, now);
            }
        }
    }

    /// Replaces a worker, new first. Does nothing if the worker is being replaced already, was tried less than a minute
    /// ago, if an operation is in progress, or if too many others are being replaced. Returns true if the replacement
    /// began.
    fn replace(&mut self, index: usize, cause: Cause, now: Instant) -> bool {
        let is_new = |worker: &WorkerSlot| worker.slot.replacement().is_some() || worker.slot.parked().is_some();
        let is_changing = |worker: &&WorkerSlot| is_new(worker) || !worker.has_none_retiring();
        let changing = self.workers.iter().filter(is_changing).count();
        // Suspicions have a limit of their own: a long drain of one worker must not keep clients of another waiting.
        let most = usize::try_from(self.pool.config().max_surge).unwrap_or(usize::MAX).max(1);
        let is_full = cause != Cause::Busy && changing >= most;
        let is_busy = self.operation.is_some() || self.is_stopping || is_full;
        let worker = &mut self.workers[index];
        let is_up = worker.slot.state().is_up();
        let is_unsettled = is_new(worker) || (cause == Cause::Memory && worker.slot.stays_big(now));
        if is_busy || !is_up || is_unsettled || !worker.may_be_replaced(now + REPLACE_AGAIN, now) {
            return false;
        }
        tracing::info!(worker = %worker.name(), why = cause.name(), "replacing worker: starting the new process beside the old one");
        let (config, generation) = (std::sync::Arc::clone(&self.pool.config()), self.generation);
        self.tell(index, Event::Replace { config, generation, cause });
        true
    }
}
