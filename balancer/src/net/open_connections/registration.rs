//! What a connection says about itself to its thread's registry: its owner, its deadline, and that bytes moved.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use super::{Entry, NEVER, OPEN_CONNECTIONS, OpenConnections, Owner, SweepInterval, WakeReason, ticks};
use crate::net::recovery::RecoveryBarrier;

/// A connection's entry in its thread's registry. It is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Registration(u32);

impl Registration {
    /// Adds an entry to this thread's registry.
    pub(crate) fn new(pool: u32) -> Self {
        OPEN_CONNECTIONS.with_borrow_mut(|open| {
            let active = open.tick();
            let entry = Entry {
                waker: None,
                pool,
                is_unused: true,
                owner: None,
                due: NEVER,
                silence: 0,
                has_moved: false,
                awaiting_response: false,
                is_draining: false,
                active,
                reason: None,
                barrier: None,
            };
            open.speed_up(SweepInterval::Coarse);
            Self(u32::try_from(open.entries.insert(entry)).unwrap_or(NEVER))
        })
    }

    fn with<T: Default>(&self, change: impl FnOnce(&mut OpenConnections, usize) -> T) -> T {
        let key = self.0 as usize;
        // The registry is missing only while the thread ends, when nothing is due any more.
        OPEN_CONNECTIONS.try_with(|open| change(&mut open.borrow_mut(), key)).unwrap_or_default()
    }

    fn entry<T: Default>(&self, change: impl FnOnce(&mut Entry) -> T) -> T {
        self.with(|open, key| open.entries.get_mut(key).map(change).unwrap_or_default())
    }

    /// Takes the reason for which the connection was woken since the last call. Called first at each poll, since it
    /// also keeps the task's waker.
    pub(crate) fn wake_reason(&self, cx: &Context<'_>) -> Option<WakeReason> {
        self.entry(|entry| {
            entry.waker.get_or_insert_with(|| cx.waker().clone());
            entry.reason.take()
        })
    }

    /// Sets the process that it is connected to, if any. The barrier of the process before is dropped.
    pub(crate) fn belongs_to(&self, owner: Option<Owner>) {
        let barrier = self.with(|open, key| {
            let is_draining = owner.is_some_and(|owner| open.draining.contains(&owner));
            if is_draining {
                open.speed_up(SweepInterval::Fine);
            }
            let entry = open.entries.get_mut(key)?;
            (entry.owner, entry.is_draining) = (owner, is_draining);
            entry.barrier.take()
        });
        drop(barrier);
    }

    /// Returns the barrier that came with [`WakeReason::WorkerExited`] or [`WakeReason::Recalled`], once. The worker's
    /// other connections wait until it is dropped.
    pub(crate) fn barrier(&self) -> Option<Arc<RecoveryBarrier>> {
        self.entry(|entry| entry.barrier.take())
    }

    /// Records that bytes moved, and whether a response is pending since then.
    pub(crate) fn moved(&self, awaiting_response: bool) {
        self.entry(|entry| {
            (entry.has_moved, entry.awaiting_response, entry.is_unused) = (true, awaiting_response, false)
        });
    }

    /// Makes it due once, after `time`, even if bytes move.
    pub(crate) fn due_in(&self, time: Duration) {
        self.with(|open, key| {
            let due = open.tick().saturating_add(ticks(time));
            if let Some(entry) = open.entries.get_mut(key) {
                (entry.due, entry.silence) = (due, 0);
            }
            open.speed_up(SweepInterval::Fine);
        });
    }

    /// Makes it due after `time` without a byte; never if that is zero.
    pub(crate) fn due_when_silent(&self, time: Duration) {
        self.with(|open, key| {
            let now = open.tick();
            if let Some(entry) = open.entries.get_mut(key) {
                entry.has_moved = false;
                entry.silence = if time.is_zero() { 0 } else { ticks(time) };
                entry.due = if time.is_zero() { NEVER } else { now.saturating_add(entry.silence) };
            }
        });
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // The waker is dropped outside of the borrow.
        let left = self.with(|open, key| open.entries.try_remove(key));
        drop(left);
    }
}
