//! Looks after listening sockets that workers hold too.
//!
//! The master accepts nobody on them as long as workers do, but it keeps them: a queue belongs to the socket, not to a
//! worker, so no worker's end loses what waits in it. One thing a worker can do to all others is `shutdown` on it; that is
//! seen and undone here.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{self, Address};
use crate::net::group::Group;
use crate::net::listeners::Listener;
use crate::net::public::Public;
use crate::net::stream::reset_at_close;
use crate::stats::PoolStats;

/// How often a listener is looked at.
const INTERVAL: Duration = Duration::from_millis(250);
/// How many clients of one listener are rejected at a look.
const MOST_REJECTED: usize = 1024;

/// The listeners that a pool's workers inherit; none where the master accepts.
#[derive(Debug)]
pub(in crate::supervisor) struct InheritedListeners {
    public: Public,
    /// Of those that all workers share.
    handles: Vec<Arc<OwnedFd>>,
    next: Instant,
}

impl InheritedListeners {
    /// # Errors
    ///
    /// When no descriptor is left for the handles.
    pub(in crate::supervisor) fn new(public: Public, now: Instant) -> io::Result<Self> {
        let handles = match &public {
            Public::Listeners(listeners) => {
                listeners.iter().map(|listener| listener.hand_over().map(Arc::new)).collect::<io::Result<_>>()?
            }
            Public::Groups(_) => Vec::new(),
        };
        Ok(Self { public, handles, next: now + INTERVAL })
    }

    /// Another handle of one that all workers share: that of an address, or the first. Non-blocking: a Node worker takes it as
    /// it is, and would stand still at a blocking one.
    ///
    /// # Errors
    ///
    /// There is none, or no descriptor is left.
    pub(in crate::supervisor) fn share(&self, address: Option<&Address>) -> io::Result<OwnedFd> {
        let is_meant = |listener: &&Listener| address.is_none_or(|address| listener.address() == address);
        let Public::Listeners(listeners) = &self.public else { return Err(io::ErrorKind::NotFound.into()) };
        listeners.iter().find(is_meant).ok_or(io::ErrorKind::NotFound)?.share()
    }

    /// Looks after one more that all workers share.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub(in crate::supervisor) fn add(&mut self, listener: Listener) -> io::Result<()> {
        if let Public::Listeners(listeners) = &mut self.public {
            self.handles.push(Arc::new(listener.share()?));
            listeners.push(listener);
        }
        Ok(())
    }

    /// Lets go of one: it is open until the last worker has closed it.
    pub(in crate::supervisor) fn remove(&mut self, address: &Address) {
        let Public::Listeners(listeners) = &mut self.public else { return };
        if let Some(at) = listeners.iter().position(|listener| listener.address() == address) {
            listeners.remove(at);
            self.handles.remove(at);
        }
    }

    /// Handles for a worker of that slot to inherit. What a slot has for itself is blocking for the first process that has
    /// it, and as that one set it for those beside it.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub(in crate::supervisor) fn handles(&self, slot: usize, is_first: bool) -> io::Result<Vec<Arc<OwnedFd>>> {
        let Public::Groups(groups) = &self.public else { return Ok(self.handles.clone()) };
        let own = groups.iter().filter_map(|group| group.member(slot));
        own.map(|member| if is_first { member.hand_over() } else { member.hand_on() }.map(Arc::new)).collect()
    }

    /// True if a client waits to be accepted by a worker.
    pub(in crate::supervisor) fn has_queue(&self) -> bool {
        match &self.public {
            Public::Listeners(listeners) => listeners.iter().any(Listener::has_queue),
            Public::Groups(groups) => groups.iter().any(Group::has_queue),
        }
    }

    /// Resets the clients that wait, up to a bound, and returns how many. Only while no worker accepts there.
    pub(in crate::supervisor) fn reject_waiting(&self) -> u64 {
        let listeners: Vec<&Listener> = match &self.public {
            Public::Listeners(listeners) => listeners.iter().collect(),
            Public::Groups(groups) => groups.iter().flat_map(Group::members).collect(),
        };
        let waiting = |listener: &Listener| {
            let next = || listener.accept_waiting().ok().flatten();
            std::iter::from_fn(next).take(MOST_REJECTED).inspect(|(client, _)| reset_at_close(client.as_fd())).count()
        };
        listeners.into_iter().map(|listener| waiting(listener) as u64).sum()
    }

    /// Those of which each slot has a member; none elsewhere.
    pub(in crate::supervisor) fn groups(&self) -> &[Group] {
        match &self.public {
            Public::Groups(groups) => groups,
            Public::Listeners(_) => &[],
        }
    }

    /// Lets only these slots get new connections, where each has a listener of its own; all, if there are none.
    ///
    /// # Errors
    ///
    /// The kernel takes no such choice: all get them.
    pub(in crate::supervisor) fn set_eligible(&mut self, slots: &[usize]) -> io::Result<()> {
        match &mut self.public {
            Public::Groups(groups) => {
                groups.iter_mut().map(|group| group.set_eligible(slots)).fold(Ok(()), io::Result::and)
            }
            Public::Listeners(_) => Ok(()),
        }
    }

    /// Lets go of the listeners, because the pool stops: they are open until the last worker has closed them, and then new
    /// clients are rejected instead of waiting for nobody. A unix path goes at once.
    pub(in crate::supervisor) fn close(&mut self) {
        self.public = Public::Listeners(Vec::new());
        self.handles.clear();
    }

    pub(in crate::supervisor) fn next_deadline(&self) -> Option<Instant> {
        let is_empty = match &self.public {
            Public::Listeners(listeners) => listeners.is_empty(),
            Public::Groups(groups) => groups.is_empty(),
        };
        (!is_empty).then_some(self.next)
    }

    /// Looks if it is time to; whether it was.
    pub(in crate::supervisor) fn look_if_due(
        &mut self,
        pool: &config::PoolConfig,
        stats: &PoolStats,
        now: Instant,
    ) -> bool {
        let is_due = self.next_deadline().is_some_and(|due| due <= now);
        if is_due {
            self.look(pool, stats, now);
        }
        is_due
    }

    /// Makes those listen again that somebody stopped.
    pub(in crate::supervisor) fn look(&mut self, pool: &config::PoolConfig, stats: &PoolStats, now: Instant) {
        self.next = now + INTERVAL;
        match &mut self.public {
            Public::Listeners(listeners) => {
                listeners.iter().for_each(|listener| look_at_listener(listener, pool, stats));
            }
            Public::Groups(groups) => groups.iter_mut().for_each(|group| look_at_group(group, pool, stats)),
        }
    }
}

fn look_at_listener(listener: &Listener, pool: &config::PoolConfig, stats: &PoolStats) {
    let (name, address) = (&pool.name, listener.address());
    match listener.revive(pool.backlog) {
        Ok(false) => {}
        Ok(true) => {
            stats.revived.increment();
            tracing::error!(
                pool = %name, %address,
                "a worker shut the shared listener down and the clients in its queue are lost; listening again. \
                 A worker should close its listener, not shut it down"
            );
        }
        Err(error) => tracing::error!(pool = %name, %address, %error, "shared listener stopped listening"),
    }
}

fn look_at_group(group: &mut Group, pool: &config::PoolConfig, stats: &PoolStats) {
    let found = group.revive(pool.backlog);
    let (name, address) = (&pool.name, group.address());
    for (slot, listens) in found.members {
        match listens {
            Ok(()) => {
                stats.revived.increment();
                tracing::error!(
                    pool = %name, %address, slot,
                    "a worker shut its listener down and the clients in its queue are lost; listening again. \
                     A worker should close its listener, not shut it down"
                );
            }
            Err(error) => {
                tracing::error!(pool = %name, %address, slot, %error, "worker's listener stopped listening")
            }
        }
    }
    if found.has_lost_order {
        tracing::warn!(
            pool = %name, %address,
            "several listeners were shut down at once: new connections cannot be kept away any more from a worker that is \
             not ready, and may wait half a second before another gets them; a restart of the master mends that"
        );
    }
}
