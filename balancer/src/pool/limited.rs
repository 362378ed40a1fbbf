//! Counts the times that clients wait in the kernel because a limit is reached, and logs each episode once.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::warn;

use super::Pool;
use crate::stats::AcceptLimit;

/// A guard for clients that wait at a limit. The wait counts until the guard is dropped.
pub(crate) struct Limited {
    pool: Arc<Pool>,
    pub(crate) limit: AcceptLimit,
}

impl Limited {
    /// Begins to count the wait. Logs it if an episode begins.
    pub(crate) fn begin(pool: &Arc<Pool>, limit: AcceptLimit) -> Self {
        if pool.stats.accept_limits.begin(limit, Instant::now()) {
            say_limited(&pool.name, limit);
        }
        Self { pool: Arc::clone(pool), limit }
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        self.pool.stats.accept_limits.end(self.limit, Instant::now());
    }
}

/// Logs that clients of a pool begin to wait.
fn say_limited(pool: &str, limit: AcceptLimit) {
    match limit {
        AcceptLimit::Exhausted => warn!(%pool, "clients wait: out of descriptors or memory, accepting pauses"),
        AcceptLimit::OpenFiles => warn!(
            %pool,
            "clients wait: there are as many connections as the limit of open files allows; raise it (LimitNOFILE=, ulimit -n)"
        ),
        AcceptLimit::WorkerOpenFiles => {
            warn!(%pool, "clients wait: a worker has as many descriptors open as its limit allows; raise limit-nofile");
        }
        AcceptLimit::MasterMaxConnections => warn!(%pool, "clients wait: master.max-connections is reached"),
        AcceptLimit::MaxConnections => warn!(%pool, "clients wait: max-connections of the pool is reached"),
    }
}
