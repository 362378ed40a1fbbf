//! Where each slot has a listener of its own: who gets new connections, and what becomes of those that wait where nobody
//! accepts them.
//!
//! New ones go to the slots in rotation. What is in another's queue, since it came before its worker died or the kernel
//! takes no choice of ours, waits a moment for that slot's next process. Then the master takes it out and has another worker
//! serve it, by a relay to the public address; but only while there is one: else it waits for whoever is ready first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::net::listeners::Listener;
use crate::supervisor::DataPath;
use crate::supervisor::actor::Supervisor;

/// For how long a slot whose process runs may be out of rotation before others get what waits there: most programs are
/// started again in less, and then nobody needs a relay to the public address.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is remembered of the slots.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct QueueRescue {
    /// The slots that new connections go to, in their order.
    eligible: Vec<usize>,
    /// By slot, since when it has not been one of them.
    absent: Vec<Option<Instant>>,
    /// Queues that a thread is taking from, by address and slot.
    busy: Vec<(usize, usize, Arc<AtomicBool>)>,
    has_failed: bool,
}

impl QueueRescue {
    /// Of so many slots, of which none is in rotation yet.
    pub(in crate::supervisor) fn new(slots: usize, now: Instant) -> Self {
        Self { absent: vec![Some(now); slots], ..Self::default() }
    }

    /// These are in rotation now. True if others were before.
    fn set_eligible(&mut self, eligible: Vec<usize>, now: Instant) -> bool {
        for (slot, absent) in self.absent.iter_mut().enumerate() {
            *absent = if eligible.contains(&slot) { None } else { Some(absent.unwrap_or(now)) };
        }
        let is_new = eligible != self.eligible;
        self.eligible = eligible;
        is_new
    }

    /// Whether what waits at that slot goes to others now: nobody is there, or nobody has been ready for too long.
    fn is_due(&self, slot: usize, has_process: bool, now: Instant) -> bool {
        let absent = self.absent.get(slot).copied().flatten();
        !self.eligible.is_empty() && absent.is_some_and(|since| !has_process || now - since >= PATIENCE)
    }
}

impl Supervisor {
    /// Takes over who is in rotation, as it was just published.
    pub(in crate::supervisor) fn publish_eligible(&mut self, now: Instant) {
        if self.inherited.groups().is_empty() {
            return;
        }
        let mut eligible: Vec<_> = self.published.iter().map(|(slot, ..)| slot.index()).collect();
        eligible.dedup();
        if !self.queue_rescue.set_eligible(eligible, now) {
            return;
        }
        let set = self.inherited.set_eligible(&self.queue_rescue.eligible);
        if let Err(error) = set
            && !std::mem::replace(&mut self.queue_rescue.has_failed, true)
        {
            tracing::info!(
                pool = self.pool.name, %error,
                "the kernel does not let us choose who gets new connections: its hash spreads them over all workers, and \
                 those of one that is not ready wait half a second before another gets them"
            );
        }
        self.rescue(now);
    }

    /// Gives to others what waits at slots that are not in rotation and will not be soon.
    pub(in crate::supervisor) fn rescue(&mut self, now: Instant) {
        self.rescue_if(|queue_rescue, slot, has_process| queue_rescue.is_due(slot, has_process, now));
    }

    /// The same without waiting any longer, since this pool will not listen any more.
    pub(in crate::supervisor) fn rescue_all(&mut self) {
        self.rescue_if(|queue_rescue, slot, _| {
            !queue_rescue.eligible.is_empty() && !queue_rescue.eligible.contains(&slot)
        });
    }

    fn rescue_if(&mut self, is_due: impl Fn(&QueueRescue, usize, bool) -> bool) {
        let queue_rescue = &mut self.queue_rescue;
        queue_rescue.busy.retain(|(.., is_busy)| is_busy.load(Ordering::Acquire));
        for (slot, worker) in self.workers.iter().enumerate() {
            if !is_due(queue_rescue, slot, worker.has_process()) {
                continue;
            }
            for (address, group) in self.inherited.groups().iter().enumerate() {
                let is_busy = queue_rescue.busy.iter().any(|&(at, of, _)| (at, of) == (address, slot));
                let Some(queue) = group.member(slot).filter(|queue| !is_busy && queue.has_queue()) else { continue };
                // Without a descriptor for it the next look tries again.
                let Ok(queue) = queue.try_clone() else { return };
                let rescue_thread =
                    RescueThread { queue, address, worker: worker.name(), is_busy: Arc::new(AtomicBool::new(true)) };
                queue_rescue.busy.push((address, slot, Arc::clone(&rescue_thread.is_busy)));
                rescue_thread.start(Arc::clone(&self.context.data_path));
            }
        }
    }
}

/// A queue that is being emptied.
struct RescueThread {
    queue: Listener,
    address: usize,
    /// Whose it is.
    worker: String,
    is_busy: Arc<AtomicBool>,
}

impl RescueThread {
    /// On a thread of its own: a process of that slot may accept as well, and if it is faster, this waits for the next one
    /// who comes there.
    fn start(self, data_path: Arc<dyn DataPath>) {
        let take = move || {
            let mut next = || self.queue.accept_waiting().ok().flatten();
            let taken = data_path.relay_to_public(self.address, &mut next);
            if taken > 0 {
                tracing::info!(
                    worker = self.worker,
                    connections = taken,
                    "rescued clients from the queue of an absent worker"
                );
            }
        };
        // If there is no thread it is dropped, and the next look tries again.
        let _ = std::thread::Builder::new().name("queue-rescue".into()).spawn(take);
    }
}

impl Drop for RescueThread {
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
        let mut queue_rescue = QueueRescue::new(3, begun);
        assert!(!queue_rescue.is_due(0, false, ms(9000)), "there is nobody else");
        assert!(queue_rescue.set_eligible(vec![0, 2], ms(1000)));
        assert!(queue_rescue.is_due(1, true, ms(1000)), "it was never ready");
        assert!(queue_rescue.set_eligible(vec![0, 1, 2], ms(2000)));
        assert!(!queue_rescue.set_eligible(vec![0, 1, 2], ms(3000)));
        assert!(queue_rescue.set_eligible(vec![0, 2], ms(4000)));
        for (slot, has_process, at, expected) in
            [(1, true, 4499, false), (1, true, 4500, true), (1, false, 4000, true), (0, false, 9000, false)]
        {
            assert_eq!(queue_rescue.is_due(slot, has_process, ms(at)), expected, "{slot} {has_process} {at}");
        }
        queue_rescue.set_eligible(vec![0], ms(4400));
        assert!(queue_rescue.is_due(1, true, ms(4500)), "counted from its own absence");
        assert!(!queue_rescue.is_due(7, false, ms(9000)), "no such slot");
    }
}
