//! Where each slot has a listener of its own: who gets new connections, and what becomes of those that wait where nobody
//! accepts them.
//!
//! New ones go to the slots in rotation. What is in another's queue, since it came before its worker died or the kernel
//! takes no choice of ours, waits a moment for that slot's next process. Then the master takes it out and has another worker
//! serve it, by a detour; but only while there is one: else it waits for whoever is ready first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Connections;
use super::warden::Warden;
use crate::net::listeners::Listener;

/// For how long a slot whose process runs may be out of rotation before others get what waits there: most programs are
/// started again in less, and then nobody needs a detour.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is remembered of the slots.
#[derive(Debug, Default)]
pub(super) struct Relief {
    /// The slots that new connections go to, in their order.
    chosen: Vec<usize>,
    /// By slot, since when it has not been one of them.
    away: Vec<Option<Instant>>,
    /// Queues that a thread is taking from, by address and slot.
    busy: Vec<(usize, usize, Arc<AtomicBool>)>,
    has_failed: bool,
}

impl Relief {
    /// Of so many slots, of which none is in rotation yet.
    pub(super) fn new(slots: usize, now: Instant) -> Self {
        Self { away: vec![Some(now); slots], ..Self::default() }
    }

    /// These are in rotation now. True if others were before.
    fn choose(&mut self, chosen: Vec<usize>, now: Instant) -> bool {
        for (slot, away) in self.away.iter_mut().enumerate() {
            *away = if chosen.contains(&slot) { None } else { Some(away.unwrap_or(now)) };
        }
        let is_new = chosen != self.chosen;
        self.chosen = chosen;
        is_new
    }

    /// Whether what waits at that slot goes to others now: nobody is there, or nobody has been ready for too long.
    fn is_due(&self, slot: usize, has_process: bool, now: Instant) -> bool {
        let away = self.away.get(slot).copied().flatten();
        !self.chosen.is_empty() && away.is_some_and(|since| !has_process || now - since >= PATIENCE)
    }
}

impl Warden {
    /// Takes over who is in rotation, as it was just published.
    pub(super) fn steer(&mut self, now: Instant) {
        if self.watch.groups().is_empty() {
            return;
        }
        let mut chosen: Vec<_> = self.published.iter().map(|(slot, ..)| slot.index()).collect();
        chosen.dedup();
        if !self.relief.choose(chosen, now) {
            return;
        }
        let steered = self.watch.steer(&self.relief.chosen);
        if let Err(error) = steered
            && !std::mem::replace(&mut self.relief.has_failed, true)
        {
            tracing::info!(
                pool = self.pool.name, %error,
                "the kernel does not let us choose who gets new connections: its hash spreads them over all workers, and \
                 those of one that is not ready wait half a second before another gets them"
            );
        }
        self.relieve(now);
    }

    /// Gives to others what waits at slots that are not in rotation and will not be soon.
    pub(super) fn relieve(&mut self, now: Instant) {
        self.relieve_if(|relief, slot, has_process| relief.is_due(slot, has_process, now));
    }

    /// The same without waiting any longer, since this pool will not listen any more.
    pub(super) fn relieve_all(&mut self) {
        self.relieve_if(|relief, slot, _| !relief.chosen.is_empty() && !relief.chosen.contains(&slot));
    }

    fn relieve_if(&mut self, is_due: impl Fn(&Relief, usize, bool) -> bool) {
        let relief = &mut self.relief;
        relief.busy.retain(|(.., is_busy)| is_busy.load(Ordering::Acquire));
        for (slot, member) in self.members.iter().enumerate() {
            if !is_due(relief, slot, member.has_process()) {
                continue;
            }
            for (address, group) in self.watch.groups().iter().enumerate() {
                let is_busy = relief.busy.iter().any(|&(at, of, _)| (at, of) == (address, slot));
                let Some(queue) = group.member(slot).filter(|queue| !is_busy && queue.has_queue()) else { continue };
                // Without a descriptor for it the next look tries again.
                let Ok(queue) = queue.try_clone() else { return };
                let taking = Taking { queue, address, worker: member.name(), is_busy: Arc::new(AtomicBool::new(true)) };
                relief.busy.push((address, slot, Arc::clone(&taking.is_busy)));
                taking.start(Arc::clone(&self.context.connections));
            }
        }
    }
}

/// A queue that is being emptied.
struct Taking {
    queue: Listener,
    address: usize,
    /// Whose it is.
    worker: String,
    is_busy: Arc<AtomicBool>,
}

impl Taking {
    /// On a thread of its own: a process of that slot may accept as well, and if it is faster, this waits for the next one
    /// who comes there.
    fn start(self, connections: Arc<dyn Connections>) {
        let take = move || {
            let mut next = || self.queue.accept_waiting().ok().flatten();
            let taken = connections.detour(self.address, &mut next);
            if taken > 0 {
                tracing::info!(
                    worker = self.worker,
                    connections = taken,
                    "waited where nobody accepts: given to others"
                );
            }
        };
        // If there is no thread it is dropped, and the next look tries again.
        let _ = std::thread::Builder::new().name("relief".into()).spawn(take);
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.is_busy.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_process_is_given_to_others_after_a_while_and_who_waits_for_none_at_once() {
        let begun = Instant::now();
        let ms = |n| begun + Duration::from_millis(n);
        let mut relief = Relief::new(3, begun);
        assert!(!relief.is_due(0, false, ms(9000)), "there is nobody else");
        assert!(relief.choose(vec![0, 2], ms(1000)));
        assert!(relief.is_due(1, true, ms(1000)), "it was never ready");
        assert!(relief.choose(vec![0, 1, 2], ms(2000)));
        assert!(!relief.choose(vec![0, 1, 2], ms(3000)));
        assert!(relief.choose(vec![0, 2], ms(4000)));
        for (slot, has_process, at, expected) in
            [(1, true, 4499, false), (1, true, 4500, true), (1, false, 4000, true), (0, false, 9000, false)]
        {
            assert_eq!(relief.is_due(slot, has_process, ms(at)), expected, "{slot} {has_process} {at}");
        }
        relief.choose(vec![0], ms(4400));
        assert!(relief.is_due(1, true, ms(4500)), "counted from its own absence");
        assert!(!relief.is_due(7, false, ms(9000)), "no such slot");
    }
}
