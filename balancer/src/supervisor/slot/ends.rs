//! How a slot comes to an end, or lets one of its processes go.

use tokio::time::Instant;

use super::super::life::Life;
use super::parked::{ABANDONED, ENDED};
use super::{Effect, Slot, Wish};
use crate::stats::Restart as Cause;

/// Why a process ended that was killed at once.
pub(in crate::supervisor) const KILLED: &str = "killed with its pool";

impl Slot {
    pub(super) fn on_stop(&mut self, wish: Wish, now: Instant) -> Vec<Effect> {
        self.wish = wish;
        self.wait = None;
        let mut effects = self.settle(now);
        effects.extend(self.on_abandon(now));
        self.leaving.iter_mut().for_each(|life| life.spare_no_longer(now));
        if let Some(life) = self.current.take() {
            let why = if wish == Wish::Again { "restarted by command" } else { "stopped by command" };
            effects.extend(self.let_go(life, why, now));
        }
        effects
    }

    pub(super) fn on_abandon(&mut self, now: Instant) -> Vec<Effect> {
        let heir = self.heir.take();
        let mut effects: Vec<_> =
            heir.and_then(|heir| self.let_go(heir.life, "given up as a replacement", now)).into_iter().collect();
        effects.extend(self.put_back(ABANDONED, now));
        effects
    }

    pub(super) fn let_go(&mut self, mut life: Life, why: &'static str, now: Instant) -> Option<Effect> {
        if life.is_unborn() {
            return None;
        }
        life.told_to_end = Some(why);
        let effect = life.leave(now);
        self.leaving.push(life);
        effect
    }

    pub(super) fn on_kill(&mut self) -> Vec<Effect> {
        self.wish = Wish::Stopped;
        self.wait = None;
        let heir = self.heir.take().map(|heir| heir.life);
        let parked = self.parked.take().map(|parked| parked.life);
        self.leaving.extend(heir.into_iter().chain(parked).chain(self.current.take()).filter(|life| !life.is_unborn()));
        let kill = |life: &mut Life| {
            life.told_to_end.get_or_insert(KILLED);
            life.kill(None)
        };
        self.leaving.iter_mut().map(kill).collect()
    }

    /// The present process has begun to end of its own accord: another is started beside it.
    pub(super) fn on_leaves(&mut self, incarnation: u64, now: Instant) -> Vec<Effect> {
        let is_meant = |life: &mut Life| life.incarnation == incarnation && life.ready_for(now).is_some();
        let Some(mut life) = self.current.take_if(is_meant) else { return Vec::new() };
        let ready_for = life.ready_for(now);
        life.finish_by_itself(now);
        self.leaving.push(life);
        self.exits += 1;
        if self.parked.is_some() {
            return self.put_back(ENDED, now);
        }
        self.again(Cause::Left, ready_for, now)
    }

    /// It can never serve there, whatever else it does.
    pub(super) fn on_port_taken(&mut self, incarnation: u64, now: Instant) -> Vec<Effect> {
        let heir = self.heir.as_mut().map(|heir| &mut heir.life);
        let life = self.current.as_mut().into_iter().chain(heir).find(|life| life.incarnation == incarnation);
        life.and_then(|life| life.end_at_once(now)).into_iter().collect()
    }

    /// The present process said that it ends, and stays: another is started beside it, and it is drained and ended.
    pub(super) fn on_overstays(&mut self, now: Instant) -> Vec<Effect> {
        let Some(life) = self.current.take_if(|life| life.has_overstayed(now)) else { return Vec::new() };
        let ready_for = life.ready_for(now);
        let mut effects: Vec<Effect> = self.let_go(life, "said that it ends, and stayed", now).into_iter().collect();
        self.exits += 1;
        if self.parked.is_some() {
            effects.extend(self.put_back(ENDED, now));
            return effects;
        }
        effects.extend(self.again(Cause::Left, ready_for, now));
        effects
    }
}
