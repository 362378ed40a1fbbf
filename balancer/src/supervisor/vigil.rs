//! What is looked at from time to time in all workers of a pool at once: accept queues, and what processes use.

use std::collections::{HashMap, HashSet};

use tokio::time::{Duration, Instant};

use super::Input;
use super::member::{Member, QUEUE_LOOK};
use super::slot::Event;
use super::warden::Warden;
use crate::mode::Acceptor;
use crate::os::inspect::{self, OpenFiles, Usage};
use crate::pool::{Limited, SlotState};
use crate::stats::{AcceptLimit, Restart as Cause};

/// How often a worker that seems hung is looked at, and all where there is a bound on memory.
const USAGE_LOOK: Duration = Duration::from_millis(500);
/// How long after a replacement that was begun the next one of the same worker may begin.
const REPLACE_AGAIN: Duration = Duration::from_secs(60);

/// When to look next.
#[derive(Debug)]
pub(super) struct Vigil {
    next_queues: Instant,
    next_usage: Instant,
    /// A look at what processes use is under way: on a machine with many it takes long.
    is_looking: bool,
}

impl Vigil {
    pub(super) fn new(now: Instant) -> Self {
        Self { next_queues: now + QUEUE_LOOK, next_usage: now + USAGE_LOOK, is_looking: false }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        Some(self.next_queues.min(self.next_usage))
    }
}

impl Warden {
    /// Looks at what is due to be looked at.
    pub(super) fn keep_vigil(&mut self, now: Instant) {
        if self.vigil.next_queues <= now {
            self.vigil.next_queues = now + QUEUE_LOOK;
            self.look_at_queues(now);
        }
        if self.vigil.next_usage <= now {
            self.vigil.next_usage = now + USAGE_LOOK;
            self.look_at_usage();
        }
        self.replace_the_old(now);
    }

    fn look_at_queues(&mut self, now: Instant) {
        if self.pool.mode.acceptor() != Acceptor::Master {
            return;
        }
        for index in 0..self.members.len() {
            if let Some(event) = self.members[index].untaken_seen(now) {
                self.tell(index, event);
            }
        }
        let watched: Vec<_> = (0..self.members.len())
            .filter_map(|index| Some((index, self.members[index].watched_endpoint()?)))
            .collect();
        let endpoints: Vec<_> = watched.iter().map(|(_, endpoint)| endpoint).collect();
        let queued = self.context.resources.queued(&endpoints);
        for ((index, _), queued) in watched.iter().zip(queued) {
            // A queue that cannot be read says nothing.
            if let Some(event) = queued.ok().and_then(|queued| self.members[*index].queue_seen(queued, now)) {
                self.tell(*index, event);
            }
        }
    }

    fn look_at_usage(&mut self) {
        let has_bound = |index: &usize| self.members[*index].memory_bound().is_some();
        let is_hung = |index: &usize| self.members[*index].slot.current().is_some_and(|life| life.seems_hung());
        // It may be that the workers have no descriptor to accept with.
        let has_queue = self.watch.has_queue();
        let wanted = (0..self.members.len()).filter(|index| has_queue || has_bound(index) || is_hung(index));
        let groups: HashSet<u32> = wanted.filter_map(|index| self.members[index].group()).collect();
        if groups.is_empty() || self.vigil.is_looking {
            return;
        }
        self.vigil.is_looking = true;
        let inputs = self.context.inputs.clone();
        tokio::task::spawn_blocking(move || {
            let _ = inputs.send(Input::Usage(inspect::usage_by_group(&groups)));
        });
    }

    /// What groups of this pool use, as it was a moment ago.
    pub(super) fn usage_seen(&mut self, usage: &HashMap<u32, Usage>) {
        self.vigil.is_looking = false;
        let now = Instant::now();
        for index in 0..self.members.len() {
            let member = &mut self.members[index];
            let Some(usage) = member.group().and_then(|group| usage.get(&group)) else { continue };
            if usage.fullest.is_some_and(OpenFiles::are_used_up) {
                drop(Limited::begin(&self.pool, AcceptLimit::WorkerOpenFiles));
            }
            if let Some(event) = member.usage_seen(usage, now) {
                self.tell(index, event);
            } else if self.members[index].memory_bound().is_some_and(|bound| usage.resident_bytes > bound) {
                self.replace(index, Cause::Memory, now);
            }
        }
    }

    /// A look, not a deadline: what may not be replaced yet is looked at again.
    fn replace_the_old(&mut self, now: Instant) {
        for index in 0..self.members.len() {
            if self.members[index].is_too_old(now) {
                self.replace(index, Cause::Age, now);
            }
        }
    }

    /// Replaces a worker, new first, unless it is being replaced, was just tried, or others are being replaced.
    fn replace(&mut self, index: usize, cause: Cause, now: Instant) {
        let is_changing = |member: &&Member| member.slot.heir().is_some() || !member.has_nothing_leaving();
        let changing = self.members.iter().filter(is_changing).count();
        let is_full = changing >= usize::try_from(self.pool.config().max_surge).unwrap_or(usize::MAX).max(1);
        let is_busy = self.operation.is_some() || self.is_stopping || is_full;
        let member = &mut self.members[index];
        let is_up = matches!(member.slot.state(), SlotState::Ready | SlotState::Suspect);
        let is_settled = member.slot.heir().is_none() && !(cause == Cause::Memory && member.slot.stays_big(now));
        if is_busy || !is_up || !is_settled || !member.may_be_replaced(now + REPLACE_AGAIN, now) {
            return;
        }
        tracing::info!(worker = %member.name(), why = cause.name(), "replacing this worker, new first");
        let (rules, generation) = (std::sync::Arc::clone(&self.pool.config()), self.generation);
        self.tell(index, Event::Replace { rules, generation, cause });
    }
}
