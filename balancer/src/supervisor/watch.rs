//! Looks after listening sockets that workers hold too.
//!
//! The master never accepts on them, but it keeps them: a queue belongs to the socket, not to a worker, so no worker's end
//! loses what waits in it. One thing a worker can do to all others is `shutdown` on it; that is seen and undone here.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{self, Address};
use crate::net::listeners::Listener;
use crate::stats::PoolStats;

/// How often a listener is looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// The listeners that a pool's workers inherit; none where the master accepts.
#[derive(Debug)]
pub(super) struct Watch {
    listeners: Vec<Listener>,
    handles: Vec<Arc<OwnedFd>>,
    next: Instant,
}

impl Watch {
    /// # Errors
    ///
    /// When no descriptor is left for the handles.
    pub(super) fn new(listeners: Vec<Listener>, now: Instant) -> std::io::Result<Self> {
        let handles = listeners.iter().map(|listener| listener.hand_over().map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Self { listeners, handles, next: now + INTERVAL })
    }

    /// Another handle of one of them: that of an address, or the first. Non-blocking: a Node worker takes it as it is, and
    /// would stand still at a blocking one.
    ///
    /// # Errors
    ///
    /// There is none, or no descriptor is left.
    pub(super) fn share(&self, address: Option<&Address>) -> std::io::Result<OwnedFd> {
        let is_meant = |listener: &&Listener| address.is_none_or(|address| listener.address() == address);
        let listener = self.listeners.iter().find(is_meant).ok_or(std::io::ErrorKind::NotFound)?;
        listener.share()
    }

    /// Looks after one more.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub(super) fn add(&mut self, listener: Listener) -> std::io::Result<()> {
        self.handles.push(Arc::new(listener.share()?));
        self.listeners.push(listener);
        Ok(())
    }

    /// Lets go of one: it is open until the last worker has closed it.
    pub(super) fn remove(&mut self, address: &Address) {
        if let Some(at) = self.listeners.iter().position(|listener| listener.address() == address) {
            self.listeners.remove(at);
            self.handles.remove(at);
        }
    }

    /// Handles for a worker to inherit.
    pub(super) fn handles(&self) -> &[Arc<OwnedFd>] {
        &self.handles
    }

    /// Lets go of the listeners, because the pool stops: they are open until the last worker has closed them, and then new
    /// clients are refused instead of waiting for nobody. A unix path goes at once.
    pub(super) fn close(&mut self) {
        self.listeners.clear();
        self.handles.clear();
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        (!self.listeners.is_empty()).then_some(self.next)
    }

    /// Looks if it is time to.
    pub(super) fn look_if_due(&mut self, pool: &config::Pool, stats: &PoolStats, now: Instant) {
        if self.next_deadline().is_some_and(|due| due <= now) {
            self.look(pool, stats, now);
        }
    }

    /// Makes those listen again that somebody stopped.
    pub(super) fn look(&mut self, pool: &config::Pool, stats: &PoolStats, now: Instant) {
        self.next = now + INTERVAL;
        for listener in &self.listeners {
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
                Err(error) => {
                    tracing::error!(pool = %name, %address, %error, "the shared listener does not listen any more")
                }
            }
        }
    }
}
