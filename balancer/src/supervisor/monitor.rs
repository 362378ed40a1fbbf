//! What is looked at from time to time in all workers of a pool at once: accept queues, and what processes use.

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

/// How often accept queues are looked at, and whether a process is stopped.
const QUEUE_LOOK: Duration = Duration::from_millis(250);
/// How often a worker that something speaks against is looked at, and all where there is a bound on memory.
const USAGE_LOOK: Duration = Duration::from_millis(500);
/// A look that comes so much too late was held up by something that held up the workers too, or by us.
const OWN_PAUSE: Duration = Duration::from_secs(1);
/// For how long clients must wait at the public listeners before that counts: a queue there is empty most of the time.
const PUBLIC_WAIT: Duration = Duration::from_millis(750);
/// How long after a replacement that was begun the next one of the same worker may begin.
const REPLACE_AGAIN: Duration = Duration::from_secs(60);

/// When to look next.
#[derive(Debug)]
pub(super) struct Monitor {
    next_queues: Instant,
    next_usage: Instant,
    /// A look at what processes use is under way: on a machine with many it takes long.
    is_looking: bool,
    /// Since when clients wait at the public listeners, as far as that is looked at.
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
    /// Looks at what is due to be looked at.
    pub(super) fn sample(&mut self, now: Instant) {
        if self.monitor.next_queues <= now {
            if now - self.monitor.next_queues > OWN_PAUSE {
                // Whatever was overdue may only have been so because nobody ran: a paused container, a suspended machine.
                self.workers.iter_mut().for_each(|worker| worker.forgive(now));
            }
            self.monitor.next_queues = now + QUEUE_LOOK;
            self.look_at_queues(now);
            self.look_at_public_queues(now);
            // All are looked at, also after the first stopped one: the look clears the sign of one that runs again.
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

    /// Looks at what each worker was given and has not taken.
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
            // A queue that cannot be read says nothing.
            let Ok(queued) = queued else { continue };
            let worker = &mut self.workers[*index];
            if worker.queue_seen(queued.unwrap_or(0), queued.is_some(), now)
                && let Ok(sides) = self.context.resources.connections(endpoint)
            {
                worker.connections_seen(&sides, now);
            }
        }
    }

    /// Looks whether clients wait at the public listeners, while a worker is in doubt.
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

    /// Tells each slot whose worker seems other than it did.
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
        // It may be that the workers have no descriptor to accept with.
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
                // What cannot be read is not known.
                false => inspect::connections_by_group(&held, &ports).unwrap_or_default(),
            };
            let _ = inputs.send(Input::Usage(inspect::usage_by_group(&groups), sockets));
        });
    }

    /// What groups of this pool use, as it was a moment ago, and the sockets of clients that some of them hold.
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

    /// Carries out an action on a worker, as far as the pool's limit on suspicions allows.
    fn suspect(&mut self, index: usize, action: HangAction, now: Instant) {
        // What was stopped meanwhile is told first, or its slot would not know what it is replaced for.
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
                    "replacements are as unhealthy as what they replaced: the cause is elsewhere, no worker is replaced on a \
                     suspicion for a minute"
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

    /// A look, not a deadline: what may not be replaced yet is looked at again.
    fn replace_the_old(&mut self, now: Instant) {
        for index in 0..self.workers.len() {
            if self.workers[index].is_too_old(now) {
                self.replace(index, Cause::Age, now);
            }
        }
    }

    /// A path of a unix endpoint that another program removed does not come back: the socket cannot be bound again.
    fn replace_the_unreachable(&mut self, now: Instant) {
        for index in 0..self.workers.len() {
            if self.workers[index].has_lost_endpoint() {
                self.replace(index, Cause::Removed, now);
            }
        }
    }

    /// Replaces a worker, new first, unless it is being replaced, was just tried, or others are being replaced. Returns true if
    /// that was begun.
    fn replace(&mut self, index: usize, cause: Cause, now: Instant) -> bool {
        let is_new = |worker: &WorkerSlot| worker.slot.replacement().is_some() || worker.slot.parked().is_some();
        let is_changing = |worker: &&WorkerSlot| is_new(worker) || !worker.has_none_retiring();
        let changing = self.workers.iter().filter(is_changing).count();
        // A suspicion has a limit of its own: a long drain of one must not keep clients of another waiting.
        let most = usize::try_from(self.pool.config().max_surge).unwrap_or(usize::MAX).max(1);
        let is_full = cause != Cause::Busy && changing >= most;
        let is_busy = self.operation.is_some() || self.is_stopping || is_full;
        let worker = &mut self.workers[index];
        let is_up = worker.slot.state().is_up();
        let is_unsettled = is_new(worker) || (cause == Cause::Memory && worker.slot.stays_big(now));
        if is_busy || !is_up || is_unsettled || !worker.may_be_replaced(now + REPLACE_AGAIN, now) {
            return false;
        }
        tracing::info!(worker = %worker.name(), why = cause.name(), "replacing this worker, new first");
        let (config, generation) = (std::sync::Arc::clone(&self.pool.config()), self.generation);
        self.tell(index, Event::Replace { config, generation, cause });
        true
    }
}
