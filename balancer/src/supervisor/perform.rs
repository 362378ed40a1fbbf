//! From what a slot decides to what is done: each effect, once.

use tokio::time::Instant;

use super::note::Note;
use super::slot::{Effect, Event};
use super::warden::Warden;
use crate::os::child::StartError;
use crate::stats::Restart as Cause;

impl Warden {
    /// Performs one effect; what follows from it for the slot at once, if anything does.
    pub(super) fn perform(&mut self, index: usize, effect: Effect, now: Instant) -> Option<Event> {
        let workers = match effect {
            Effect::Launch(n) => self.members[index].slot.life(n).map(|life| self.workers_told(&life.rules)),
            _ => None,
        };
        let member = &mut self.members[index];
        match effect {
            Effect::Launch(incarnation) => {
                if let Err(later) = self.context.resources.spend_spawn(now) {
                    return Some(Event::Postponed(incarnation, later));
                }
                let public = self.watch.handles(index, !member.has_process());
                let failed = |source| StartError { stage: "handing over its listeners".to_owned(), source };
                let workers = workers.unwrap_or(self.desired);
                let launched =
                    public.map_err(failed).and_then(|public| member.launch(incarnation, workers, &public, now));
                return launched.err().and_then(|error| member.start_failed(incarnation, &error));
            }
            Effect::Admit(incarnation) => {
                member.admitted(incarnation, now);
                self.suspicion.ready(index, now);
            }
            Effect::Suspect(incarnation) => member.suspected(incarnation),
            Effect::Busy(incarnation) => member.busy(incarnation),
            Effect::Drain(incarnation) => member.begin_drain(incarnation, now),
            Effect::Quieten(incarnation) => member.quieten(incarnation),
            Effect::Cut(incarnation) => member.cut(incarnation),
            Effect::Late(incarnation) => {
                member.late(incarnation);
                self.notes.extend(member.lateness(incarnation));
            }
            Effect::Disconnect(incarnation) => member.disconnect(incarnation, now),
            Effect::Terminate(incarnation) => member.terminate(incarnation, now),
            Effect::Kill(incarnation) => {
                if !self.is_killing {
                    member.tell_why_killed(incarnation);
                }
                member.kill(incarnation);
            }
            Effect::Restarted(cause) => {
                if cause == Cause::Left {
                    tracing::info!(worker = %member.name(), "worker left by itself: replacing it");
                }
                self.pool.slots()[index].restarts[cause as usize].increment();
            }
            Effect::Switched { from, to } => {
                member.count_start(to);
                let step = member.ready_step(to, from);
                self.notes.extend(step.map(|step| Note::Up { slot: index, incarnation: to, step }));
            }
            Effect::PutBack { old, new, why } => {
                self.suspicion.ended(index);
                let member = &mut self.members[index];
                member.forgive(now);
                tracing::warn!(
                    worker = %member.name(), pid = member.pid_of(old), why,
                    "replacement failed, the worker that it replaced serves again"
                );
                let exit = member.exit_of(new).map_or(String::new(), |exit| format!(": {exit}"));
                let (why, last_lines) = (format!("{why}{exit}"), member.last_lines(new));
                self.notes.push(Note::NotUp { slot: index, incarnation: new, why, last_lines });
            }
            Effect::HeirFailed(_) => {
                self.suspicion.ended(index);
                if self.operation.is_none() {
                    tracing::warn!(worker = %member.name(), "its replacement did not become ready: it stays");
                }
            }
        }
        None
    }
}
