//! Performs the effects that a slot decides, each once.

use tokio::time::Instant;

use super::operation::outcome::WorkerOutcome;
use super::slot::{Effect, Event};
use super::workers::Workers;
use crate::os::child::StartError;
use crate::stats::Restart as Cause;

impl Workers {
    /// Performs one effect. Returns the event that follows from it for the slot at once, if any.
    pub(super) fn perform(&mut self, index: usize, effect: Effect, now: Instant) -> Option<Event> {
        if let Effect::Launch(incarnation) = effect {
            return self.launch(index, incarnation, now);
        }
        let worker = &mut self[index];
        match effect {
            Effect::Launch(_) => {}
            Effect::Admit(incarnation) => {
                worker.admitted(incarnation, now);
                self.replacement_limit.ready(index, now);
            }
            Effect::Suspect(incarnation) => worker.suspected(incarnation),
            Effect::Busy(incarnation) => worker.busy(incarnation),
            Effect::Drain(incarnation) => worker.begin_drain(incarnation, now),
            Effect::CloseIdle(incarnation) => worker.close_idle(incarnation),
            Effect::Abort(incarnation) => worker.abort(incarnation),
            Effect::Late(incarnation) => {
                worker.late(incarnation);
                let outcome = worker.lateness(incarnation);
                self.record(outcome);
            }
            Effect::Disconnect(incarnation) => worker.disconnect(incarnation, now),
            Effect::Terminate(incarnation) => worker.terminate(incarnation, now),
            Effect::Kill(incarnation) => {
                let is_killing = self.is_killing;
                let worker = &self[index];
                if !is_killing {
                    worker.tell_why_killed(incarnation);
                }
                worker.kill(incarnation);
            }
            Effect::Restarted(cause) => {
                if cause == Cause::Left {
                    tracing::info!(worker = %worker.name(), "worker left by itself: replacing it");
                }
                self.pool.slots()[index].restarts[cause as usize].increment();
            }
            Effect::Switched { from, to } => {
                worker.count_start(to);
                let step = worker.ready_step(to, from);
                self.record(step.map(|step| WorkerOutcome::Ready { slot: index, incarnation: to, step }));
            }
            Effect::PutBack { old, new, why } => {
                worker.forgive(now);
                tracing::warn!(
                    worker = %worker.name(), pid = worker.pid_of(old), why,
                    "replacement failed, the worker that it replaced serves again"
                );
                let exit = worker.exit_of(new).map_or(String::new(), |exit| format!(": {exit}"));
                let (why, last_lines) = (format!("{why}{exit}"), worker.last_lines(new));
                self.replacement_limit.ended(index);
                self.record([WorkerOutcome::Failed { slot: index, incarnation: new, why, last_lines }]);
            }
            Effect::ReplacementFailed(_) => {
                self.replacement_limit.ended(index);
                self.record([WorkerOutcome::Stays { slot: index }]);
            }
        }
        None
    }

    /// Starts a process, if the limit of starts per second allows one more.
    fn launch(&mut self, index: usize, incarnation: u64, now: Instant) -> Option<Event> {
        if let Err(later) = self.context.resources.spend_spawn(now) {
            return Some(Event::Postponed(incarnation, later));
        }
        let process_state = self[index].slot.process(incarnation);
        let count = process_state.map_or(self.desired(), |process_state| self.told_count(&process_state.config));
        let failed = |source| StartError { stage: "handing over its listeners".to_owned(), source };
        let public = self.inherited.handles(index, !self[index].has_process()).map_err(failed);
        let launched = public.and_then(|public| self[index].launch(incarnation, count, &public, now));
        launched.err().and_then(|error| self[index].start_failed(incarnation, &error))
    }
}
