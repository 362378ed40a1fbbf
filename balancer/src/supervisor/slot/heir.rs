//! How a slot's process is replaced: an heir is started beside it, and takes its place once it is ready.

use std::sync::Arc;

use tokio::time::Instant;

use super::super::life::Life;
use super::{Effect, Heir, Parked, Slot, Wish};
use crate::config;
use crate::stats::Restart as Cause;

/// Returns why a process was replaced, in words.
const fn replaced_by(cause: Cause) -> &'static str {
    match cause {
        Cause::Order => "replaced by reload",
        Cause::Memory => "replaced for its memory (max-memory)",
        Cause::Age => "replaced for its age (max-age)",
        Cause::Busy => "replaced since it was busy for too long",
        _ => "replaced",
    }
}

impl Slot {
    pub(super) fn on_replace(
        &mut self,
        rules: Arc<config::Pool>,
        generation: u64,
        cause: Cause,
        now: Instant,
    ) -> Vec<Effect> {
        if self.wish != Wish::Run {
            return Vec::new();
        }
        let mut effects = self.settle(now);
        effects.extend(self.on_abandon(now));
        let life = self.born(rules, generation, now);
        effects.push(Effect::Launch(life.incarnation));
        self.heir = Some(Heir { life, cause });
        effects
    }

    /// The heir takes the place.
    pub(super) fn switch(&mut self, now: Instant) -> Vec<Effect> {
        let Some(Heir { mut life, cause }) = self.heir.take() else { return Vec::new() };
        life.admit(now);
        let (to, settle) = (life.incarnation, life.rules.settle);
        self.wait = None;
        let old = self.current.replace(life);
        let mut effects = vec![Effect::Admit(to)];
        let may_be_put_back = old.as_ref().is_some_and(|old| old.state().is_up() && !old.has_parted());
        match old {
            // Clients wait that the old one has no time for: it is no help.
            Some(life) if may_be_put_back && !settle.is_zero() && cause != Cause::Busy => {
                self.parked = Some(Parked { life, until: now + settle, cause, successor: to });
            }
            old => effects.extend(self.replaced(old, cause, now)),
        }
        effects
    }

    /// The new process keeps its place, and the old one leaves.
    pub(super) fn replaced(&mut self, old: Option<Life>, cause: Cause, now: Instant) -> Vec<Effect> {
        let Some(to) = self.keep_present() else { return Vec::new() };
        let from = old.as_ref().map(|old| old.incarnation);
        if cause == Cause::Memory {
            let ready_for = old.as_ref().and_then(|old| old.ready_for(now));
            self.too_big_until = Some(now + self.backoff.exited(ready_for, now).wait());
        }
        let old = old.map(|mut old| {
            if cause == Cause::Busy {
                old.spare_clients();
            }
            old
        });
        let mut effects: Vec<_> = old.and_then(|old| self.let_go(old, replaced_by(cause), now)).into_iter().collect();
        effects.extend([Effect::Restarted(cause), Effect::Switched { from, to }]);
        effects
    }

    /// Starts later processes of this slot by the configuration of the present one. Returns its incarnation.
    pub(super) fn keep_present(&mut self) -> Option<u64> {
        let life = self.current.as_ref()?;
        let (rules, generation, incarnation) = (Arc::clone(&life.rules), life.generation, life.incarnation);
        self.set_rules(rules, generation);
        Some(incarnation)
    }

    pub(super) fn heir_overdue(&mut self, now: Instant) -> Vec<Effect> {
        let Some(mut heir) = self.heir.take() else { return Vec::new() };
        let is_late = heir.life.is_starting();
        let mut effects = heir.life.overdue(now);
        if is_late {
            effects.push(Effect::HeirFailed(heir.life.incarnation));
            self.leaving.push(heir.life);
        } else {
            self.heir = Some(heir);
        }
        effects
    }
}
