//! Looks after listening sockets that workers inherit from the master.
//!
//! The master accepts no client on them while workers do, but it keeps them open: a queue belongs to the socket, not to
//! a worker, so no worker's exit loses the clients that wait in it. A worker can harm all others by one call:
//! `shutdown` on the listener. That is detected and undone here.

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

/// The interval at which listeners are checked.
const INTERVAL: Duration = Duration::from_millis(250);
/// The most clients of one listener that are rejected in one check.
const MOST_REJECTED: usize = 1024;

/// The listeners that a pool's workers inherit; none if the master accepts.
#[derive(Debug)]
pub(in crate::supervisor) struct InheritedListeners {
    public: Public,
    /// Handles of the listeners that all workers share.
    handles: Vec<Arc<OwnedFd>>,
    next: Instant,
}

impl InheritedListeners {
    /// Makes the handles that workers inherit.
    ///
    /// # Errors
    ///
    /// If no descriptor is left for the handles.
    pub(in crate::supervisor) fn new(public: Public, now: Instant) -> io::Result<Self> {
        let handles = match &public {
            Public::Listeners(listeners) => {
                listeners.iter().map(|listener| listener.hand_over().map(Arc::new)).collect::<io::Result<_>>()?
            }
            Public::Groups(_) => Vec::new(),
        };
        Ok(Self { public, handles, next: now + INTERVAL })
    }

    /// Returns another handle of a shared listener: that of `address`, or the first. It is non-blocking: a Node worker
    /// does not change it, and its event loop would block on a blocking one.
    ///
    /// # Errors
    ///
    /// If there is none, or no descriptor is left.
    pub(in crate::supervisor) fn share(&self, address: Option<&Address>) -> io::Result<OwnedFd> {
        let is_meant = |listener: &&Listener| address.is_none_or(|address| listener.address() == address);
        let Public::Listeners(listeners) = &self.public else { return Err(io::ErrorKind::NotFound.into()) };
        listeners.iter().find(is_meant).ok_or(io::ErrorKind::NotFound)?.share()
    }

    /// Adds one more listener that all workers share.
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    pub(in crate::supervisor) fn add(&mut self, listener: Listener) -> io::Result<()> {
        if let Public::Listeners(listeners) = &mut self.public {
            self.handles.push(Arc::new(listener.share()?));
            listeners.push(listener);
        }
        Ok(())
    }

    /// Drops a shared listener: it stays open until the last worker has closed it.
    pub(in crate::supervisor) fn remove(&mut self, address: &Address) {
        let Public::Listeners(listeners) = &mut self.public else { return };
        if let Some(at) = listeners.iter().position(|listener| listener.address() == address) {
            listeners.remove(at);
            self.handles.remove(at);
        }
    }

    /// Returns handles for a worker of that slot to inherit. A slot's own listener becomes blocking for the slot's
    /// first process; a process that starts beside it gets the listener as the first one set it.
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    pub(in crate::supervisor) fn handles(&self, slot: usize, is_first: bool) -> io::Result<Vec<Arc<OwnedFd>>> {
        let Public::Groups(groups) = &self.public else { return Ok(self.handles.clone()) };
        let own = groups.iter().filter_map(|group| group.member(slot));
        own.map(|member| if is_first { member.hand_over() } else { member.hand_on() }.map(Arc::new)).collect()
    }

    /// Returns true if a client waits to be accepted by a worker.
    pub(in crate::supervisor) fn has_queue(&self) -> bool {
        match &self.public {
            Public::Listeners(listeners) => listeners.iter().any(Listener::has_queue),
            Public::Groups(groups) => groups.iter().any(Group::has_queue),
        }
    }

    /// Resets the waiting clients, up to a limit, and returns how many. Only for use while no worker accepts there.
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

    /// Returns the groups in which each slot has a member; none in other modes.
    pub(in crate::supervisor) fn groups(&self) -> &[Group] {
        match &self.public {
            Public::Groups(groups) => groups,
            Public::Listeners(_) => &[],
        }
    }

    /// Lets only these slots get new connections, if each slot has a listener of its own; lets all slots if `slots` is
    /// empty.
    ///
    /// # Errors
    ///
    /// If the kernel does not support such a choice: then all slots get them.
    pub(in crate::supervisor) fn set_eligible(&mut self, slots: &[usize]) -> io::Result<()> {
        match &mut self.public {
            Public::Groups(groups) => {
                groups.iter_mut().map(|group| group.set_eligible(slots)).fold(Ok(()), io::Result::and)
            }
            Public::Listeners(_) => Ok(()),
        }
    }

    /// Drops the listeners because the pool stops. They stay open until the last worker has closed them; after that new
    /// clients are rejected instead of waiting in a queue that no process reads. A unix path is removed at once.
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

    /// Checks the listeners if that is due. Returns true if it was.
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

    /// Makes listeners listen again that another process shut down.
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
            "several listeners were shut down at once: new connections can now go to a worker that is not ready, \
             and may wait half a second before another gets them; a restart of the master fixes that"
        );
    }
}
