//! Replaces a worker whose process is to go although it still runs: hung, busy for too long, too big, too old, or
//! unreachable.

use std::sync::Arc;

use tokio::time::{Duration, Instant};

use super::replacement_limit::Permission;
use super::slot::Event;
use super::slot::hang::HangAction;
use super::worker::WorkerSlot;
use super::workers::Workers;
use crate::stats::Restart as Cause;

/// The pause after the start of a replacement before the next one of the same worker may begin.
const REPLACE_AGAIN: Duration = Duration::from_secs(60);

impl Workers {
    /// Tells each slot about a change in how its worker seems.
    pub(super) fn reconsider(&mut self, now: Instant) {
        for index in self.indices() {
            if let Some(event) = self[index].reconsider(now) {
                self.tell(index, event);
                if !self[index].is_in_doubt() {
                    self.replacement_limit.recovered(index);
                }
            }
        }
    }

    /// Carries out an action on a worker, if the pool's limit on suspicions allows it. `may_replace` is false while an
    /// operation is in progress or the pool ends: then a busy worker is left alone, a hung one is killed all the same.
    pub(super) fn suspect(&mut self, index: usize, action: HangAction, may_replace: bool, now: Instant) {
        // A process that was stopped (SIGSTOP) meanwhile is reported first, or its slot would not know the cause of the
        // replacement.
        if let Some(event) = self[index].reconsider(now) {
            self.tell(index, event);
        }
        let worker = &self[index];
        let Some(incarnation) = worker.slot.current().map(|process_state| process_state.incarnation) else { return };
        let (name, why) = (worker.name(), worker.reason(incarnation));
        let pid = worker.pid_of(incarnation).unwrap_or(0);
        match self.ask_limit(index, now) {
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
                if may_replace && self.replace(index, Cause::Busy, now) {
                    tracing::warn!(worker = %name, pid, why, "worker busy without progress: starting a second process beside it");
                    self.replacement_limit.begun(index);
                }
            }
        }
    }

    /// Asks the pool's limit on suspicions if that worker may be replaced now.
    fn ask_limit(&mut self, index: usize, now: Instant) -> Permission {
        let running: Vec<bool> = self.iter().map(|worker| worker.slot.shall_run()).collect();
        self.replacement_limit.forget_stopped(|slot| running.get(slot).is_some_and(|shall_run| *shall_run));
        let (count, is_stopped) = (self.desired() as usize, self[index].is_stopped(now));
        let busy_timeout = self.pool.config().health.busy_timeout;
        self.replacement_limit.ask(index, count, is_stopped, busy_timeout, now)
    }

    /// Replaces workers that are too old. This runs at each sample and has no deadline: a worker that may not be
    /// replaced yet is tried again at the next one.
    pub(super) fn replace_the_old(&mut self, now: Instant) {
        for index in self.indices() {
            if self[index].is_too_old(now) {
                self.replace(index, Cause::Age, now);
            }
        }
    }

    /// Replaces workers whose unix endpoint lost its path: a path that another program removed does not come back,
    /// since the socket cannot be bound again. Each call looks at the paths once.
    pub(super) fn replace_the_unreachable(&mut self, may_replace: bool, now: Instant) {
        for index in self.indices() {
            if self[index].has_lost_endpoint() && may_replace {
                self.replace(index, Cause::Removed, now);
            }
        }
    }

    /// Replaces a worker, new first. Does nothing if the worker is being replaced already, was tried less than a minute
    /// ago, or if too many others are being replaced. The caller has made sure that no operation is in progress. Returns
    /// true if the replacement began.
    pub(super) fn replace(&mut self, index: usize, cause: Cause, now: Instant) -> bool {
        let is_new = |worker: &WorkerSlot| worker.slot.replacement().is_some() || worker.slot.parked().is_some();
        let is_changing = |worker: &&WorkerSlot| is_new(worker) || !worker.has_none_retiring();
        let changing = self.iter().filter(is_changing).count();
        // Suspicions have a limit of their own: a long drain of one worker must not keep clients of another waiting.
        let most = usize::try_from(self.pool.config().max_surge).unwrap_or(usize::MAX).max(1);
        let is_full = cause != Cause::Busy && changing >= most;
        let worker = &mut self[index];
        let is_up = worker.slot.state().is_up();
        let is_unsettled = is_new(worker) || (cause == Cause::Memory && worker.slot.stays_big(now));
        if is_full || !is_up || is_unsettled || !worker.may_be_replaced(now + REPLACE_AGAIN, now) {
            return false;
        }
        tracing::info!(worker = %worker.name(), why = cause.name(), "replacing worker: starting the new process beside the old one");
        let (config, generation) = (Arc::clone(&self.pool.config()), self.generation());
        self.tell(index, Event::Replace { config, generation, cause });
        true
    }
}
