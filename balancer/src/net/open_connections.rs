//! The open connections of this thread: deadlines without a timer each, and wake-ups by the supervisor.
//!
//! A connection is a task of its own, and has a small entry with its waker here. One ticker for each thread sweeps the
//! entries: every 50 ms while some connection has a precise deadline, every second while there are any, never
//! otherwise. A relay that moved bytes sets a flag; the sweep turns it into "last active now". So a byte costs no clock
//! and no timer, and a timeout is late by up to a second but never early. While something drains, the sweep runs every
//! 50 ms, too, so that idle connections do not hold up a reload.
//!
//! The registry is thread-local, which keeps the connection's future `Send` while it never leaves its thread.

mod registration;

use std::cell::RefCell;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use slab::Slab;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::net::recovery::RecoveryBarrier;
use crate::rotation::SlotId;

pub(crate) use registration::Registration;

/// The precision of deadlines.
const TICK: Duration = Duration::from_millis(50);
/// The precision of idle timeouts, and the sweep's period while nothing is more urgent.
const COARSE: Duration = Duration::from_secs(1);
/// The silence after which a drain ends a connection without a pending response.
const IDLE: Duration = Duration::from_secs(1);
/// The age below which a connection without a byte is left alone: its client may be about to speak.
const UNUSED: Duration = Duration::from_secs(1);
const NEVER: u32 = u32::MAX;

/// The part of the pool that a wake-up concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// One worker. A client that has given it nothing may go to another.
    Worker,
    /// All workers. A client can go to no other.
    All,
}

/// The reason for which a connection is woken. Of two reasons the greater one stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WakeReason {
    /// Its scope drains and nothing has moved for a while: end if no response is pending.
    CloseIfIdle(Scope),
    /// A new client needs its permit: end if no byte has gone either way.
    Reclaim,
    /// Its deadline or its idle timeout has passed.
    TimedOut,
    /// The queue of the process that it is connected to was emptied, since the process is too busy to accept. If the
    /// connection was in that queue, it goes to another worker.
    Recalled,
    /// The process it is connected to has ended.
    WorkerExited,
    /// End now.
    Abort(Scope),
}

/// The owner of a connection: a pool of this thread, and a process once the connection has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) pool: u32,
    pub(crate) slot: SlotId,
    pub(crate) incarnation: u64,
}

struct Entry {
    waker: Option<Waker>,
    pool: u32,
    /// No byte has gone either way, as far as the registry knows.
    is_unused: bool,
    owner: Option<Owner>,
    /// The tick after which it is due.
    due: u32,
    /// Ticks of silence allowed; 0 if `due` is a fixed deadline.
    silence: u32,
    has_moved: bool,
    /// True if an answer was awaited, or not delivered in full, when bytes last moved.
    awaiting_response: bool,
    /// Its worker drains.
    is_draining: bool,
    /// The tick of the sweep that last saw moved bytes; at first the tick at which the entry was made.
    active: u32,
    reason: Option<WakeReason>,
    /// Comes with [`WakeReason::WorkerExited`] and [`WakeReason::Recalled`].
    barrier: Option<Arc<RecoveryBarrier>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SweepInterval {
    Rest,
    Coarse,
    Fine,
}

struct OpenConnections {
    entries: Slab<Entry>,
    epoch: Instant,
    interval: SweepInterval,
    alarm: Arc<Notify>,
    is_draining: bool,
    /// The workers that drain. They are few, and are removed when their processes have ended.
    draining: Vec<Owner>,
}

thread_local! {
    static OPEN_CONNECTIONS: RefCell<OpenConnections> = RefCell::new(OpenConnections {
        entries: Slab::new(),
        epoch: Instant::now(),
        interval: SweepInterval::Rest,
        alarm: Arc::default(),
        is_draining: false,
        draining: Vec::new(),
    });
}

impl OpenConnections {
    fn tick(&self) -> u32 {
        u32::try_from(self.epoch.elapsed().as_millis() / TICK.as_millis()).unwrap_or(NEVER - 1)
    }

    fn of(&mut self, owner: Owner) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().map(|(_, entry)| entry).filter(move |entry| entry.owner == Some(owner))
    }

    /// Makes the ticker sweep at least at `interval` from now on.
    fn speed_up(&mut self, interval: SweepInterval) {
        if self.interval == SweepInterval::Rest
            || (interval == SweepInterval::Fine && self.interval == SweepInterval::Coarse)
        {
            self.interval = interval;
            self.alarm.notify_one();
        }
    }

    fn sweep(&mut self) -> SweepInterval {
        let now = self.tick();
        let mut interval = if self.entries.is_empty() { SweepInterval::Rest } else { SweepInterval::Coarse };
        for (_, entry) in &mut self.entries {
            if std::mem::take(&mut entry.has_moved) {
                entry.active = now;
                if entry.silence > 0 {
                    entry.due = now.saturating_add(entry.silence);
                }
            }
            if self.is_draining || entry.is_draining {
                interval = SweepInterval::Fine;
                if now >= entry.active.saturating_add(ticks(IDLE)) {
                    entry.active = now;
                    entry.wake(WakeReason::CloseIfIdle(if self.is_draining { Scope::All } else { Scope::Worker }));
                }
            }
            if entry.due <= now {
                entry.due = NEVER;
                entry.wake(WakeReason::TimedOut);
            } else if entry.due != NEVER && entry.silence == 0 {
                interval = SweepInterval::Fine;
            }
        }
        self.interval = interval;
        interval
    }
}

impl Entry {
    fn wake(&mut self, reason: WakeReason) {
        self.reason = self.reason.max(Some(reason));
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

/// Returns the number of ticks that cover `time` in full, however much of the present tick is over.
fn ticks(time: Duration) -> u32 {
    let whole = time.as_millis().div_ceil(TICK.as_millis()) + 1;
    u32::try_from(whole).unwrap_or(NEVER - 1)
}

/// Wakes connections that are due. Runs for the life of the thread.
pub(crate) async fn run_ticker() {
    let alarm = OPEN_CONNECTIONS.with_borrow(|open| Arc::clone(&open.alarm));
    loop {
        match OPEN_CONNECTIONS.with_borrow_mut(OpenConnections::sweep) {
            SweepInterval::Rest => alarm.notified().await,
            SweepInterval::Fine => sleep(TICK).await,
            SweepInterval::Coarse => tokio::select! {
                () = alarm.notified() => {}
                () = sleep(COARSE) => {}
            },
        }
    }
}

/// Tells the connections of one process that it has ended. `barrier` is for a recovery of the connections in its queue.
pub(crate) fn worker_exited(owner: Owner, barrier: Option<&Arc<RecoveryBarrier>>) {
    OPEN_CONNECTIONS.with_borrow_mut(|open| {
        open.draining.retain(|draining| *draining != owner);
        for entry in open.of(owner) {
            entry.is_draining = false;
            entry.barrier = barrier.cloned();
            entry.wake(WakeReason::WorkerExited);
        }
    });
}

/// Tells the connections of one living process that its queue was emptied.
pub(crate) fn recall(owner: Owner, barrier: &Arc<RecoveryBarrier>) {
    OPEN_CONNECTIONS.with_borrow_mut(|open| {
        for entry in open.of(owner) {
            entry.barrier = Some(Arc::clone(barrier));
            entry.wake(WakeReason::Recalled);
        }
    });
}

/// From now on, tells each connection of one process that has been silent for a second to end if no response is
/// pending.
pub(crate) fn close_idle(owner: Owner) {
    OPEN_CONNECTIONS.with_borrow_mut(|open| {
        if !open.draining.contains(&owner) {
            open.draining.push(owner);
        }
        open.of(owner).for_each(|entry| entry.is_draining = true);
        open.speed_up(SweepInterval::Fine);
    });
}

/// Tells the connections of one process to end now, those without a pending response first.
pub(crate) fn abort(owner: Owner) {
    OPEN_CONNECTIONS.with_borrow_mut(|open| {
        for awaiting_response in [false, true] {
            let theirs = open.of(owner).filter(|entry| entry.awaiting_response == awaiting_response);
            theirs.for_each(|entry| entry.wake(WakeReason::Abort(Scope::Worker)));
        }
    });
}

/// Tells the oldest connection of this thread that has carried no byte, of that pool or of any, to end for a new
/// client. Returns false if there is none that is older than a second.
pub(crate) fn reclaim(pool: Option<u32>) -> bool {
    OPEN_CONNECTIONS.with_borrow_mut(|open| {
        let now = open.tick();
        let entries = open.entries.iter_mut().map(|(_, entry)| entry);
        let unused = entries.filter(|entry| {
            let is_meant = pool.is_none_or(|pool| pool == entry.pool);
            is_meant && entry.is_unused && now >= entry.active.saturating_add(ticks(UNUSED))
        });
        let oldest = unused.min_by_key(|entry| entry.active);
        let is_there = oldest.is_some();
        if let Some(entry) = oldest {
            // It is asked once: either it ends, or it turns out to be in use.
            entry.is_unused = false;
            entry.wake(WakeReason::Reclaim);
        }
        is_there
    })
}

/// From now on, tells each connection of this thread that has been silent for a second to end if no response is
/// pending.
pub(crate) fn close_all_idle() {
    OPEN_CONNECTIONS.with_borrow_mut(|open| {
        open.is_draining = true;
        open.speed_up(SweepInterval::Fine);
    });
}

/// Tells every connection of this thread to end now, those without a pending response first.
pub(crate) fn abort_all() {
    OPEN_CONNECTIONS.with_borrow_mut(|open| {
        for awaiting_response in [false, true] {
            let all = open.entries.iter_mut().filter(|(_, entry)| entry.awaiting_response == awaiting_response);
            all.for_each(|(_, entry)| entry.wake(WakeReason::Abort(Scope::All)));
        }
    });
}

#[cfg(test)]
mod tests;
