//! Samples all workers of a pool at intervals: their accept queues, and the resources that their processes use.

use std::collections::{HashMap, HashSet};

use tokio::time::{Duration, Instant};

use super::Input;
use super::memory::MemoryWatch;
use super::worker::{LookAt, WorkerSlot};
use super::workers::Workers;
use crate::config::Address;
use crate::os::accept_queue::ServerSide;
use crate::os::inspect::{self, OpenFiles, Usage};
use crate::os::memory::GroupMemory;
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

/// The times of the next samples, and the state between samples. Its calls get `may_replace`: false while an
/// operation is in progress or the pool ends.
#[derive(Debug)]
pub(super) struct Monitor {
    next_queues: Instant,
    next_usage: Instant,
    /// A sample of the resources is under way: on a machine with many processes it takes long.
    is_looking: bool,
    /// The time since which clients wait at the public listeners, if those are sampled.
    public_wait: Option<Instant>,
    memory: MemoryWatch,
}

impl Monitor {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next_queues: now + QUEUE_LOOK,
            next_usage: now + USAGE_LOOK,
            is_looking: false,
            public_wait: None,
            memory: MemoryWatch::default(),
        }
    }

    pub(super) fn next_deadline(&self) -> Instant {
        self.next_queues.min(self.next_usage)
    }

    /// Takes the samples that are due.
    pub(super) fn sample(&mut self, workers: &mut Workers, may_replace: bool, now: Instant) {
        if self.next_queues <= now {
            if now - self.next_queues > OWN_PAUSE {
                // Deadlines may have passed only because nothing ran: a paused container, a suspended machine.
                workers.iter_mut().for_each(|worker| worker.forgive(now));
            }
            self.next_queues = now + QUEUE_LOOK;
            look_at_queues(workers, now);
            self.look_at_public_queues(workers, now);
            // All are checked, also after the first stopped one: the check clears the sign of a process that runs
            // again.
            if workers.iter_mut().fold(false, |any, worker| worker.leader_is_stopped(now) | any) {
                self.next_usage = now;
            }
            workers.reconsider(now);
        }
        if self.next_usage <= now {
            self.next_usage = now + USAGE_LOOK;
            self.look_at_usage(workers, now);
            workers.replace_the_unreachable(may_replace, now);
        }
        if may_replace {
            workers.replace_the_old(now);
        }
    }

    /// Checks if clients wait at the public listeners, while a worker is in doubt.
    fn look_at_public_queues(&mut self, workers: &Workers, now: Instant) {
        let is_wanted = workers.iter().any(WorkerSlot::is_in_doubt);
        let waits = is_wanted && workers.context.resources.has_public_queue(&workers.pool.listening());
        self.public_wait = waits.then(|| self.public_wait.unwrap_or(now));
    }

    /// Returns true if a client waits for a worker anywhere in the pool.
    fn clients_wait(&self, workers: &Workers, now: Instant) -> bool {
        self.public_wait.is_some_and(|since| now - since >= PUBLIC_WAIT)
            || workers.iter().any(|worker| worker.keeps_waiting(now))
    }

    /// Starts a sample of the resources on another thread, if any worker's are wanted and no sample is under way.
    fn look_at_usage(&mut self, workers: &mut Workers, now: Instant) {
        // A queue there may mean that the workers have no descriptor to accept with.
        let has_queue = workers.inherited.has_queue();
        let wanted = |worker: &mut WorkerSlot| {
            let has_reason = worker.memory_bound().is_some() || worker.is_in_doubt();
            let is_wanted = has_queue || has_reason || worker.leader_is_stopped(now);
            worker.group().filter(|_| is_wanted)
        };
        let groups: HashSet<u32> = workers.iter_mut().filter_map(wanted).collect();
        if groups.is_empty() || self.is_looking {
            return;
        }
        let held: HashSet<u32> = workers.iter().filter_map(|worker| worker.group_to_look_up(now)).collect();
        let ports: HashSet<u16> = workers.pool.listening().iter().filter_map(Address::port).collect();
        self.is_looking = true;
        let inputs = workers.context.inputs.clone();
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
    pub(super) fn usage_seen(
        &mut self,
        workers: &mut Workers,
        usage: &HashMap<u32, Usage>,
        sockets: &HashMap<u32, Vec<ServerSide>>,
        may_replace: bool,
    ) {
        self.is_looking = false;
        let now = Instant::now();
        let clients_wait = self.clients_wait(workers, now);
        for index in workers.indices() {
            let worker = &mut workers[index];
            let Some(group) = worker.group() else { continue };
            if let Some(sides) = sockets.get(&group) {
                worker.sockets_seen(group, sides);
                worker.look_here(now);
            }
            let Some(usage) = usage.get(&group) else { continue };
            let action = worker.usage_seen(usage, clients_wait, now);
            if usage.fullest.is_some_and(OpenFiles::are_used_up) {
                drop(Limited::begin(&workers.pool, AcceptLimit::WorkerOpenFiles));
            }
            if let Some(action) = action {
                workers.suspect(index, action, may_replace, now);
            }
        }
        for index in self.memory.too_big(workers, usage, now) {
            if may_replace {
                workers.replace(index, Cause::Memory, now);
            }
        }
        workers.reconsider(now);
    }

    /// Stores exact measurements of memory. The next sample of the resources decides by them.
    pub(super) fn memory_measured(&mut self, workers: &Workers, measured: HashMap<u32, GroupMemory>) {
        self.memory.measured(&workers.pool.name, measured, Instant::now());
    }
}

/// Samples the connections that each worker was given and has not taken.
fn look_at_queues(workers: &mut Workers, now: Instant) {
    let mut queues = Vec::new();
    for (index, worker) in workers.iter_mut().enumerate() {
        match worker.look_at() {
            Some(LookAt::Queue(endpoint)) => queues.push((index, endpoint)),
            Some(LookAt::Channel | LookAt::Sockets) => worker.look_here(now),
            None => {}
        }
    }
    let endpoints: Vec<_> = queues.iter().map(|(_, endpoint)| endpoint).collect();
    let resources = std::sync::Arc::clone(&workers.context.resources);
    let queued = resources.queued(&endpoints);
    for ((index, endpoint), queued) in queues.iter().zip(queued) {
        // A queue that cannot be read proves nothing.
        let Ok(queued) = queued else { continue };
        let worker = &mut workers[*index];
        if worker.queue_seen(queued.unwrap_or(0), queued.is_some(), now)
            && let Ok(sides) = resources.connections(endpoint)
        {
            worker.connections_seen(&sides, now);
        }
    }
}
