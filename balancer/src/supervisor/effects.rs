//! Applies the effects that a slot decides, each once.

use tokio::time::Instant;

use super::actor::Supervisor;
use super::operation::outcome::WorkerOutcome;
use super::slot::{Effect, Event};
use crate::os::child::StartError;
use crate::stats::Restart as Cause;

impl Supervisor {
    /// Applies one effect. Returns the event that follows from it for the slot at once, if any.
    pub(super) fn apply_effect(&mut self, index: usize, effect: Effect, now: Instant) -> Option<Event> {
        let workers = match effect {
            Effect::Launch(n) => {
                self.workers[index].slot.process(n).map(|process_state| self.workers_told(&process_state.config))
            }
            _ => None,
        };
        let worker = &mut self.workers[index];
        match effect {
            Effect::Launch(incarnation) => {
                if let Err(later) = self.context.resources.spend_spawn(now) {
                    return Some(Event::Postponed(incarnation, later));
                }
                let public = self.inherited.handles(index, !worker.has_process());
                let failed = |source| StartError { stage: "handing over its listeners".to_owned(), source };
                let workers = workers.unwrap_or(self.desired_workers);
                let launched =
                    public.map_err(failed).and_then(|public| worker.launch(incarnation, workers, &public, now));
                return launched.err().and_then(|error| worker.start_failed(incarnation, &error));
            }
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
                self.outcomes.extend(worker.lateness(incarnation));
            }
            Effect::Disconnect(incarnation) => worker.disconnect(incarnation, now),
            Effect::Terminate(incarnation) => worker.terminate(incarnation, now),
            Effect::Kill(incarnation) => {
                if !self.is_killing {
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
                self.outcomes.extend(step.map(|step| WorkerOutcome::Ready { slot: index, incarnation: to, step }));
            }
            Effect::PutBack { old, new, why } => {
                self.replacement_limit.ended(index);
                let worker = &mut self.workers[index];
                worker.forgive(now);
                tracing::warn!(
                    worker = %worker.name(), pid = worker.pid_of(old), why,
                    "replacement failed, the worker that it replaced serves again"
                );
                let exit = worker.exit_of(new).map_or(String::new(), |exit| format!(": {exit}"));
                let (why, last_lines) = (format!("{why}{exit}"), worker.last_lines(new));
                self.outcomes.push(WorkerOutcome::Failed { slot: index, incarnation: new, why, last_lines });
            }
            Effect::ReplacementFailed(_) => {
                self.replacement_limit.ended(index);
                if self.operation.is_none() {
                    tracing::warn!(worker = %worker.name(), "replacement did not become ready: the worker stays");
                }
            }
        }
        None
    }
}
