//! How a slot's process is replaced: an heir is started beside it, and takes its place once it is ready.

use std::sync::Arc;

use tokio::time::Instant;

use super::super::life::Life;
use super::{Effect, Heir, Slot, Wish};
use crate::config;
use crate::pool::SlotState;
use crate::stats::Restart as Cause;

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
        let mut effects = self.on_abandon(now);
        let life = self.born(rules, generation, now);
        effects.push(Effect::Launch(life.incarnation));
        self.heir = Some(Heir { life, cause });
        effects
    }

    /// The heir takes the place.
    pub(super) fn switch(&mut self, now: Instant) -> Vec<Effect> {
        let Some(Heir { mut life, cause }) = self.heir.take() else { return Vec::new() };
        life.admit(now);
        let to = life.incarnation;
        self.set_rules(Arc::clone(&life.rules), life.generation);
        self.wait = None;
        let mut old = self.current.replace(life);
        let from = old.as_ref().map(|old| old.incarnation);
        if cause == Cause::Memory {
            let ready_for = old.as_ref().and_then(|old| old.ready_for(now));
            self.too_big_until = Some(now + self.backoff.exited(ready_for, now).wait());
        }
        if cause == Cause::Busy {
            old.iter_mut().for_each(Life::spare_clients);
        }
        let mut effects = vec![Effect::Admit(to)];
        effects.extend(old.and_then(|old| self.let_go(old, now)));
        effects.extend([Effect::Restarted(cause), Effect::Switched { from, to }]);
        effects
    }

    pub(super) fn heir_overdue(&mut self, now: Instant) -> Vec<Effect> {
        let Some(mut heir) = self.heir.take() else { return Vec::new() };
        let is_late = heir.life.is_starting();
        if heir.life.state() == SlotState::Starting && !is_late {
            // It has settled.
            self.heir = Some(heir);
            return self.switch(now);
        }
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
