//! Chooses which slots get new connections if each slot has a listener of its own, and rescues clients from the queues
//! of absent workers.
//!
//! New connections go to the slots in rotation. A connection can be in another slot's queue: it came before that slot's
//! worker died, or the kernel does not support our choice. It waits a moment for that slot's next process. Then the
//! master accepts it and relays it to the public address, where another worker serves it. It does so only while a
//! worker is in rotation; if none is, the connection waits for the first worker that is ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::net::listeners::Listener;
use crate::supervisor::DataPath;
use crate::supervisor::workers::Workers;

/// The time that a slot with a running process may be out of rotation before its waiting clients go to others: most
/// programs restart in less, and then no client needs a relay to the public address.
const PATIENCE: Duration = Duration::from_millis(500);

/// The state of each slot's queue.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct QueueRescue {
    /// The slots that new connections go to, in order.
    eligible: Vec<usize>,
    /// By slot, the time since which it has not been eligible.
    absent: Vec<Option<Instant>>,
    /// Queues that a thread is taking from, by address and slot.
    busy: Vec<(usize, usize, Arc<AtomicBool>)>,
    has_failed: bool,
}

impl QueueRescue {
    /// Creates the state for that many slots, none of which is in rotation yet.
    pub(in crate::supervisor) fn new(slots: usize, now: Instant) -> Self {
        Self { absent: vec![Some(now); slots], ..Self::default() }
    }

    /// Records the slots in rotation. Returns true if they differ from those before.
    fn set_eligible(&mut self, eligible: Vec<usize>, now: Instant) -> bool {
        for (slot, absent) in self.absent.iter_mut().enumerate() {
            *absent = if eligible.contains(&slot) { None } else { Some(absent.unwrap_or(now)) };
        }
        let is_new = eligible != self.eligible;
        self.eligible = eligible;
        is_new
    }

    /// Returns true if the clients that wait at that slot go to others now: it has no process, or none has been ready
    /// for too long.
    fn is_due(&self, slot: usize, has_process: bool, now: Instant) -> bool {
        let absent = self.absent.get(slot).copied().flatten();
        !self.eligible.is_empty() && absent.is_some_and(|since| !has_process || now - since >= PATIENCE)
    }
}

impl QueueRescue {
    /// Makes the kernel choose these slots, which were just published as in rotation. Does nothing if the slots have no
    /// listeners of their own.
    pub(in crate::supervisor) fn publish_eligible(
        &mut self,
        workers: &mut Workers,
        eligible: Vec<usize>,
        now: Instant,
    ) {
        if workers.inherited.groups().is_empty() || !self.set_eligible(eligible, now) {
            return;
        }
        let set = workers.inherited.set_eligible(&self.eligible);
        if let Err(error) = set
            && !std::mem::replace(&mut self.has_failed, true)
        {
            tracing::info!(
                pool = workers.pool.name, %error,
                "cannot attach the reuseport program (SO_ATTACH_REUSEPORT_CBPF): the kernel's hash spreads new connections \
                 over all workers, and those of a worker that is not ready wait half a second before another gets them"
            );
        }
        self.rescue(workers, now);
    }

    /// Gives clients that wait at slots out of rotation to others, unless the slot may be back soon.
    pub(in crate::supervisor) fn rescue(&mut self, workers: &Workers, now: Instant) {
        self.rescue_if(workers, |this, slot, has_process| this.is_due(slot, has_process, now));
    }

    /// Gives waiting clients to others at once, because this pool will stop listening.
    pub(in crate::supervisor) fn rescue_all(&mut self, workers: &Workers) {
        self.rescue_if(workers, |this, slot, _| !this.eligible.is_empty() && !this.eligible.contains(&slot));
    }

    fn rescue_if(&mut self, workers: &Workers, is_due: impl Fn(&Self, usize, bool) -> bool) {
        self.busy.retain(|(.., is_busy)| is_busy.load(Ordering::Acquire));
        for (slot, worker) in workers.iter().enumerate() {
            if !is_due(self, slot, worker.has_process()) {
                continue;
            }
            for (address, group) in workers.inherited.groups().iter().enumerate() {
                let is_busy = self.busy.iter().any(|&(at, of, _)| (at, of) == (address, slot));
                let Some(queue) = group.member(slot).filter(|queue| !is_busy && queue.has_queue()) else { continue };
                // If no descriptor is left for it, the next check tries again.
                let Ok(queue) = queue.try_clone() else { return };
                let is_busy = Arc::new(AtomicBool::new(true));
                self.busy.push((address, slot, Arc::clone(&is_busy)));
                let rescue_thread = RescueThread { queue, address, worker: worker.name(), is_busy };
                rescue_thread.start(Arc::clone(&workers.context.data_path));
            }
        }
    }
}

/// A queue that is being emptied.
struct RescueThread {
    queue: Listener,
    address: usize,
    /// The worker to which the queue belongs.
    worker: String,
    is_busy: Arc<AtomicBool>,
}

impl RescueThread {
    /// Starts a thread of its own, since `accept` may block: a process of that slot may accept as well, and if it is
    /// faster, this thread waits for the next client.
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
        // If no thread can be started, this is dropped, and the next check tries again.
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
    fn absent_slot_queue_is_due_after_patience_or_at_once_if_dead() {
        let begun = Instant::now();
        let ms = |n| begun + Duration::from_millis(n);
        let mut queue_rescue = QueueRescue::new(3, begun);
        assert!(!queue_rescue.is_due(0, false, ms(9000)), "no other slot is in rotation");
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
