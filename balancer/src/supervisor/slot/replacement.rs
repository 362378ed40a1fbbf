//! Replaces a slot's process: a replacement is started beside it, and takes over once it is ready. The old process is
//! parked then, and is retired when the new one has settled, or put back if the new one fails.

use std::sync::Arc;

use tokio::time::Instant;

use super::parked::Parked;
use super::process::ProcessState;
use super::processes::Replacement;
use super::{DesiredState, Effect, Slot};
use crate::config;
use crate::stats::Restart as Cause;

/// Returns the reason for a replacement, in words.
const fn replaced_by(cause: Cause) -> &'static str {
    match cause {
        Cause::Command => "replaced by reload",
        Cause::Memory => "replaced for its memory (max-memory)",
        Cause::Age => "replaced for its age (max-age)",
        Cause::Busy => "replaced because it was busy for too long (busy-timeout)",
        _ => "replaced",
    }
}

impl Slot {
    pub(super) fn on_replace(
        &mut self,
        config: Arc<config::PoolConfig>,
        generation: u64,
        cause: Cause,
        now: Instant,
    ) -> Vec<Effect> {
        if self.desired != DesiredState::Running {
            return Vec::new();
        }
        let mut effects = self.settle(now);
        effects.extend(self.on_abandon(now));
        let process = self.new_process(config, generation, now);
        effects.push(Effect::Launch(process.incarnation));
        self.processes.replacement = Some(Replacement { process, cause });
        effects
    }

    /// Makes the replacement the present process.
    pub(super) fn switch(&mut self, now: Instant) -> Vec<Effect> {
        let Some(Replacement { mut process, cause }) = self.processes.replacement.take() else { return Vec::new() };
        process.admit(now);
        let (to, settle) = (process.incarnation, process.config.settle);
        self.restarts.end_wait();
        let old = self.processes.current.replace(process);
        let mut effects = vec![Effect::Admit(to)];
        let may_be_put_back = old.as_ref().is_some_and(|old| old.state().is_up() && !old.has_closed_channel());
        match old {
            // Clients wait for which the old process has no time: putting it back would not help.
            Some(process) if may_be_put_back && !settle.is_zero() && cause != Cause::Busy => {
                self.processes.parked = Some(Parked { process, until: now + settle, cause, successor: to });
            }
            old => effects.extend(self.replaced(old, cause, now)),
        }
        effects
    }

    /// Keeps the new process, and retires the old one.
    pub(super) fn replaced(&mut self, old: Option<ProcessState>, cause: Cause, now: Instant) -> Vec<Effect> {
        let Some(to) = self.keep_present() else { return Vec::new() };
        let from = old.as_ref().map(|old| old.incarnation);
        if cause == Cause::Memory {
            let ready_for = old.as_ref().and_then(|old| old.ready_for(now));
            self.restarts.replaced_for_memory(ready_for, now);
        }
        let old = old.map(|mut old| {
            if cause == Cause::Busy {
                old.allow_long_drain();
            }
            old
        });
        let mut effects: Vec<_> = old.and_then(|old| self.retire(old, replaced_by(cause), now)).into_iter().collect();
        effects.extend([Effect::Restarted(cause), Effect::Switched { from, to }]);
        effects
    }

    /// Starts later processes of this slot with the configuration of the present one. Returns its incarnation.
    pub(super) fn keep_present(&mut self) -> Option<u64> {
        let process = self.processes.current.as_ref()?;
        let (config, generation, incarnation) = (Arc::clone(&process.config), process.generation, process.incarnation);
        self.set_config(config, generation);
        Some(incarnation)
    }

    pub(super) fn replacement_overdue(&mut self, now: Instant) -> Vec<Effect> {
        let Some(mut replacement) = self.processes.replacement.take() else { return Vec::new() };
        let is_late = replacement.process.is_starting();
        let mut effects = replacement.process.overdue(now);
        if is_late {
            effects.push(Effect::ReplacementFailed(replacement.process.incarnation));
            self.processes.retiring.push(replacement.process);
        } else {
            self.processes.replacement = Some(replacement);
        }
        effects
    }

    /// Keeps the old process parked while a client waits for the new one.
    pub(super) fn on_waits(&mut self, incarnation: u64, now: Instant) -> Vec<Effect> {
        if self.processes.present(incarnation).is_some()
            && let Some(parked) = &mut self.processes.parked
        {
            parked.wait_for_client(now);
        }
        Vec::new()
    }

    /// Retires the old process: the new one has settled, or the old one is not needed any more.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<Effect> {
        let Some(Parked { process, cause, .. }) = self.processes.parked.take() else { return Vec::new() };
        self.replaced(Some(process), cause, now)
    }

    /// Keeps the new process for good, because the parked one has exited by itself.
    pub(super) fn settle_without(&mut self, cause: Cause, now: Instant) -> Vec<Effect> {
        self.replaced(None, cause, now)
    }

    /// Puts the old process back into rotation; the new one is retired, if it still runs.
    pub(super) fn put_back(&mut self, why: &'static str, now: Instant) -> Vec<Effect> {
        let Some(Parked { process, successor: new, .. }) = self.processes.parked.take() else { return Vec::new() };
        let old = process.incarnation;
        let failed = self.processes.current.replace(process);
        let mut effects = vec![Effect::Admit(old)];
        effects.extend(failed.and_then(|failed| self.retire(failed, "abandoned as a replacement", now)));
        effects.push(Effect::PutBack { old, new, why });
        effects
    }
}
