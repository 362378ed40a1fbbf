//! How a slot comes to an end, or lets one of its processes go.

use tokio::time::Instant;

use super::super::life::Life;
use super::{Effect, Slot, Wish};

impl Slot {
    pub(super) fn on_stop(&mut self, wish: Wish, now: Instant) -> Vec<Effect> {
        self.wish = wish;
        self.wait = None;
        let mut effects = self.on_abandon(now);
        if let Some(life) = self.current.take() {
            effects.extend(self.let_go(life, now));
        }
        effects
    }

    pub(super) fn on_abandon(&mut self, now: Instant) -> Vec<Effect> {
        let heir = self.heir.take();
        heir.and_then(|heir| self.let_go(heir.life, now)).into_iter().collect()
    }

    pub(super) fn let_go(&mut self, mut life: Life, now: Instant) -> Option<Effect> {
        if life.is_unborn() {
            return None;
        }
        let effect = life.leave(now);
        self.leaving.push(life);
        effect
    }

    pub(super) fn on_kill(&mut self) -> Vec<Effect> {
        self.wish = Wish::Stopped;
        self.wait = None;
        let heir = self.heir.take().map(|heir| heir.life);
        self.leaving.extend(heir.into_iter().chain(self.current.take()).filter(|life| !life.is_unborn()));
        self.leaving.iter_mut().map(|life| life.kill(None)).collect()
    }
}
