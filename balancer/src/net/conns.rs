//! The open connections of this thread: deadlines without a timer each, and orders from the supervisor.
//!
//! A connection is a task of its own; here it has a small entry with its waker. One ticker a thread sweeps the entries:
//! every 50 ms while some connection has a precise deadline, every second while there are any, never otherwise. A relay
//! that moved bytes sets a flag; the sweep turns it into "last active now". So a byte costs no clock and no timer, and a
//! timeout is late by up to a second but never early. While something drains the sweep is fine too, so that what is idle
//! does not hold up a reload.
//!
//! The registry is thread-local, which keeps the connection's future `Send` while it never leaves its thread.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::net::recovery::Summons;
use crate::rotation::SlotId;

/// The grain of deadlines.
const TICK: Duration = Duration::from_millis(50);
/// The grain of idle timeouts, and the sweep's period while nothing is more urgent.
const COARSE: Duration = Duration::from_secs(1);
/// The silence after which a drain ends a connection that owes nothing.
const QUIET: Duration = Duration::from_secs(1);
/// The age below which a connection without a byte is left alone: its client may be about to speak.
const UNUSED: Duration = Duration::from_secs(1);
const NEVER: u32 = u32::MAX;

/// How much of the pool an order is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// One worker: a client that has given it nothing may go to another.
    Worker,
    /// Everything: there is no other.
    All,
}

/// What a connection is told when it is woken. Of two the greater one stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// What it belongs to drains and nothing has moved for a while: end if nothing is owed.
    Quiet(Scope),
    /// A new client needs its permit: end if no byte has gone either way.
    Reclaim,
    /// Its deadline or its idle timeout has passed.
    Due,
    /// The process it is connected to is too busy to take what waits in its queue: if this is in it, it goes to another.
    Recalled,
    /// The process it is connected to has ended.
    Orphaned,
    /// End now.
    Cut(Scope),
}

/// Whom a connection belongs to: which pool of this thread, and which process once it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) pool: u32,
    pub(crate) slot: SlotId,
    pub(crate) incarnation: u64,
}

struct Entry {
    waker: Option<Waker>,
    pool: u32,
    /// No byte has gone either way, as far as it is known.
    is_unused: bool,
    owner: Option<Owner>,
    /// The tick after which it is due.
    due: u32,
    /// Ticks of silence allowed; 0 if `due` is a fixed deadline.
    silence: u32,
    has_moved: bool,
    /// As of the last bytes that moved: an answer is awaited or not all of it is delivered.
    owes: bool,
    /// Its worker drains.
    is_quiet: bool,
    /// The tick of the sweep that last saw bytes moved, or of the entry.
    active: u32,
    order: Option<Order>,
    /// Comes with the order that its worker has ended.
    summons: Option<Arc<Summons>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Rest,
    Coarse,
    Fine,
}

struct Conns {
    entries: Slab<Entry>,
    epoch: Instant,
    pace: Pace,
    alarm: Arc<Notify>,
    is_draining: bool,
    /// The workers that drain: few, and gone from here when their processes have ended.
    quiet: Vec<Owner>,
}

thread_local! {
    static CONNS: RefCell<Conns> = RefCell::new(Conns {
        entries: Slab::new(),
        epoch: Instant::now(),
        pace: Pace::Rest,
        alarm: Arc::default(),
        is_draining: false,
        quiet: Vec::new(),
    });
}

impl Conns {
    fn tick(&self) -> u32 {
        u32::try_from(self.epoch.elapsed().as_millis() / TICK.as_millis()).unwrap_or(NEVER - 1)
    }

    fn of(&mut self, owner: Owner) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().map(|(_, entry)| entry).filter(move |entry| entry.owner == Some(owner))
    }

    /// Makes the ticker sweep at least at `pace` from now on.
    fn hurry(&mut self, pace: Pace) {
        if self.pace == Pace::Rest || (pace == Pace::Fine && self.pace == Pace::Coarse) {
            self.pace = pace;
            self.alarm.notify_one();
        }
    }

    fn sweep(&mut self) -> Pace {
        let now = self.tick();
        let mut pace = if self.entries.is_empty() { Pace::Rest } else { Pace::Coarse };
        for (_, entry) in &mut self.entries {
            if std::mem::take(&mut entry.has_moved) {
                entry.active = now;
                if entry.silence > 0 {
                    entry.due = now.saturating_add(entry.silence);
                }
            }
            if self.is_draining || entry.is_quiet {
                pace = Pace::Fine;
                if now >= entry.active.saturating_add(ticks(QUIET)) {
                    entry.active = now;
                    entry.give(Order::Quiet(if self.is_draining { Scope::All } else { Scope::Worker }));
                }
            }
            if entry.due <= now {
                entry.due = NEVER;
                entry.give(Order::Due);
            } else if entry.due != NEVER && entry.silence == 0 {
                pace = Pace::Fine;
            }
        }
        self.pace = pace;
        pace
    }
}

impl Entry {
    fn give(&mut self, order: Order) {
        self.order = self.order.max(Some(order));
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

/// Ticks that cover `time` in full, whatever part of the present tick is over.
fn ticks(time: Duration) -> u32 {
    let whole = time.as_millis().div_ceil(TICK.as_millis()) + 1;
    u32::try_from(whole).unwrap_or(NEVER - 1)
}

/// Wakes connections whose time has come. Runs for the life of the thread.
pub(crate) async fn run_ticker() {
    let alarm = CONNS.with_borrow(|conns| Arc::clone(&conns.alarm));
    loop {
        match CONNS.with_borrow_mut(Conns::sweep) {
            Pace::Rest => alarm.notified().await,
            Pace::Fine => sleep(TICK).await,
            Pace::Coarse => tokio::select! {
                () = alarm.notified() => {}
                () = sleep(COARSE) => {}
            },
        }
    }
}

/// Tells the connections of one ended process so. `summons` is for those that its queue gave back, if it did.
pub(crate) fn orphan(owner: Owner, summons: Option<&Arc<Summons>>) {
    CONNS.with_borrow_mut(|conns| {
        conns.quiet.retain(|quiet| *quiet != owner);
        for entry in conns.of(owner) {
            entry.is_quiet = false;
            entry.summons = summons.cloned();
            entry.give(Order::Orphaned);
        }
    });
}

/// Tells the connections of one living process that what waited in its queue was taken out of it.
pub(crate) fn recall(owner: Owner, summons: &Arc<Summons>) {
    CONNS.with_borrow_mut(|conns| {
        for entry in conns.of(owner) {
            entry.summons = Some(Arc::clone(summons));
            entry.give(Order::Recalled);
        }
    });
}

/// From now on, tells each connection of one process that has been silent for a second to end if it owes nothing.
pub(crate) fn quieten(owner: Owner) {
    CONNS.with_borrow_mut(|conns| {
        if !conns.quiet.contains(&owner) {
            conns.quiet.push(owner);
        }
        conns.of(owner).for_each(|entry| entry.is_quiet = true);
        conns.hurry(Pace::Fine);
    });
}

/// Tells the connections of one process to end now, those that owe nothing first.
pub(crate) fn cut(owner: Owner) {
    CONNS.with_borrow_mut(|conns| {
        for owes in [false, true] {
            let theirs = conns.of(owner).filter(|entry| entry.owes == owes);
            theirs.for_each(|entry| entry.give(Order::Cut(Scope::Worker)));
        }
    });
}

/// Tells the oldest connection of this thread that has carried no byte, of that pool or of any, to end for a new client.
/// False if there is none that is older than a moment.
pub(crate) fn reclaim(pool: Option<u32>) -> bool {
    CONNS.with_borrow_mut(|conns| {
        let now = conns.tick();
        let entries = conns.entries.iter_mut().map(|(_, entry)| entry);
        let unused = entries.filter(|entry| {
            let is_meant = pool.is_none_or(|pool| pool == entry.pool);
            is_meant && entry.is_unused && now >= entry.active.saturating_add(ticks(UNUSED))
        });
        let oldest = unused.min_by_key(|entry| entry.active);
        let is_there = oldest.is_some();
        if let Some(entry) = oldest {
            // Asked once: it ends, or was used.
            entry.is_unused = false;
            entry.give(Order::Reclaim);
        }
        is_there
    })
}

/// From now on, tells each connection of this thread that has been silent for a second to end if it owes nothing.
pub(crate) fn drain_quiet() {
    CONNS.with_borrow_mut(|conns| {
        conns.is_draining = true;
        conns.hurry(Pace::Fine);
    });
}

/// Tells every connection of this thread to end now, those that owe nothing first.
pub(crate) fn cut_all() {
    CONNS.with_borrow_mut(|conns| {
        for owes in [false, true] {
            let all = conns.entries.iter_mut().filter(|(_, entry)| entry.owes == owes);
            all.for_each(|(_, entry)| entry.give(Order::Cut(Scope::All)));
        }
    });
}

/// A connection's place in its thread's registry, left when dropped.
#[derive(Debug)]
pub(crate) struct Place(u32);

impl Place {
    /// Enters this thread's registry.
    pub(crate) fn enter(pool: u32) -> Self {
        CONNS.with_borrow_mut(|conns| {
            let active = conns.tick();
            let entry = Entry {
                waker: None,
                pool,
                is_unused: true,
                owner: None,
                due: NEVER,
                silence: 0,
                has_moved: false,
                owes: false,
                is_quiet: false,
                active,
                order: None,
                summons: None,
            };
            conns.hurry(Pace::Coarse);
            Self(u32::try_from(conns.entries.insert(entry)).unwrap_or(NEVER))
        })
    }

    fn with<T: Default>(&self, change: impl FnOnce(&mut Conns, usize) -> T) -> T {
        let key = self.0 as usize;
        // Not there only while the thread ends, and then nothing is due any more.
        CONNS.try_with(|conns| change(&mut conns.borrow_mut(), key)).unwrap_or_default()
    }

    fn entry<T: Default>(&self, change: impl FnOnce(&mut Entry) -> T) -> T {
        self.with(|conns, key| conns.entries.get_mut(key).map(change).unwrap_or_default())
    }

    /// The order given since the last call. Called first at each poll: it keeps the task's waker too.
    pub(crate) fn order(&self, cx: &Context<'_>) -> Option<Order> {
        self.entry(|entry| {
            entry.waker.get_or_insert_with(|| cx.waker().clone());
            entry.order.take()
        })
    }

    /// Says which process it is connected to, if any. An order that was for the last one is none for the next.
    pub(crate) fn belongs_to(&self, owner: Option<Owner>) {
        let summons = self.with(|conns, key| {
            let is_quiet = owner.is_some_and(|owner| conns.quiet.contains(&owner));
            if is_quiet {
                conns.hurry(Pace::Fine);
            }
            let entry = conns.entries.get_mut(key)?;
            (entry.owner, entry.is_quiet) = (owner, is_quiet);
            entry.summons.take()
        });
        drop(summons);
    }

    /// Returns the barrier that came with [`Order::Orphaned`] or [`Order::Recalled`], once. The worker's other connections
    /// wait until it is dropped.
    pub(crate) fn summons(&self) -> Option<Arc<Summons>> {
        self.entry(|entry| entry.summons.take())
    }

    /// Says that bytes moved, and whether the client is owed some since.
    pub(crate) fn moved(&self, owes: bool) {
        self.entry(|entry| (entry.has_moved, entry.owes, entry.is_unused) = (true, owes, false));
    }

    /// Due once, after `time`, whatever moves.
    pub(crate) fn due_in(&self, time: Duration) {
        self.with(|conns, key| {
            let due = conns.tick().saturating_add(ticks(time));
            if let Some(entry) = conns.entries.get_mut(key) {
                (entry.due, entry.silence) = (due, 0);
            }
            conns.hurry(Pace::Fine);
        });
    }

    /// Due after `time` without a byte; zero is never.
    pub(crate) fn due_when_silent(&self, time: Duration) {
        self.with(|conns, key| {
            let now = conns.tick();
            if let Some(entry) = conns.entries.get_mut(key) {
                entry.has_moved = false;
                entry.silence = if time.is_zero() { 0 } else { ticks(time) };
                entry.due = if time.is_zero() { NEVER } else { now.saturating_add(entry.silence) };
            }
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The waker is dropped outside of the borrow.
        let left = self.with(|conns, key| conns.entries.try_remove(key));
        drop(left);
    }
}

#[cfg(test)]
mod tests;
