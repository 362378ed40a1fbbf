//! Looks after listening sockets that workers hold too.
//!
//! The master never accepts on them, but it keeps them: a queue belongs to the socket, not to a worker, so no worker's end
//! loses what waits in it. One thing a worker can do to all others is `shutdown` on it; that is seen and undone here.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config;
use crate::net::listeners::Listener;
use crate::stats::PoolStats;

/// How often a listener is looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// The listeners that a pool's workers inherit; none where the master accepts.
#[derive(Debug)]
pub(super) struct Watch {
    listeners: Vec<Listener>,
    next: Instant,
}

impl Watch {
    pub(super) fn new(listeners: Vec<Listener>, now: Instant) -> Self {
        Self { listeners, next: now + INTERVAL }
    }

    /// Handles for a worker to inherit.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub(super) fn handles(&self) -> std::io::Result<Vec<Arc<OwnedFd>>> {
        self.listeners.iter().map(|listener| listener.hand_over().map(Arc::new)).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        (!self.listeners.is_empty()).then_some(self.next)
    }

    /// Makes those listen again that somebody stopped, if it is time to look.
    pub(super) fn look_if_due(&mut self, pool: &config::Pool, stats: &PoolStats, now: Instant) {
        if self.next_deadline().is_none_or(|due| due > now) {
            return;
        }
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
