//! The counters of one pool that belong to no slot.

use super::{
    AcceptError, AcceptLimits, CONNECT_BUCKETS, Counter, DURATION_BUCKETS, Fate, Gauge, OperationResult, Outcome,
    Rejection, SPAWN_BUCKETS, Sharded,
};

/// The events in one pool since the master started, without those that its slots count.
#[derive(Debug)]
pub struct PoolStats {
    /// Connections accepted on the public listeners.
    pub accepted: Counter,
    /// Connections that a dead worker had not read from, and that were given to another worker with all they had sent.
    pub recovered: Counter,
    /// Connections whose client belongs to one worker and was given to another.
    pub displaced: Counter,
    /// Client connections open now.
    pub active: Gauge,
    /// Clients rejected, by [`Rejection`].
    pub rejected: [Counter; Rejection::COUNT],
    /// The number of times that a public listener which workers hold too was found stopped and was made to listen
    /// again.
    pub revived: Counter,
    /// Failed `accept` calls, by [`AcceptError`].
    pub accept_errors: [Counter; AcceptError::COUNT],
    /// The limits at which clients wait to be accepted.
    pub accept_limits: AcceptLimits,
    /// Connections that ended without a worker, by [`Outcome`] (`unreachable`, `no_upstream` and early client ends).
    pub unassigned: [Counter; Outcome::COUNT],
    /// The time from accept to the end of both directions.
    pub duration: Sharded,
    /// The time from accept to the worker's first byte.
    pub first_byte: Sharded,
    /// The time from the master's `connect` to the established connection.
    pub connect: Sharded,
    /// The time from a worker's spawn to ready.
    pub spawn: Sharded,
    /// The duration of health probes.
    pub check: Sharded,
    /// The operations on the pool, by verb, in the order of
    /// [`OperationKind::ALL`](crate::pool::operation::OperationKind::ALL).
    pub operations: [OperationStats; OperationStats::VERBS],
}

/// The operations of one verb.
#[derive(Debug, Default)]
pub struct OperationStats {
    /// Ended operations, by [`OperationResult`].
    pub ended: [Counter; OperationResult::COUNT],
    /// Connections meanwhile, by [`Fate`].
    pub connections: [Counter; Fate::COUNT],
}

impl OperationStats {
    /// The number of verbs.
    pub const VERBS: usize = 6;
}

impl PoolStats {
    /// Makes counters at zero, for `threads` data threads.
    pub fn new(threads: usize) -> Self {
        Self {
            accepted: Counter::default(),
            recovered: Counter::default(),
            displaced: Counter::default(),
            active: Gauge::default(),
            rejected: Default::default(),
            revived: Counter::default(),
            accept_errors: Default::default(),
            accept_limits: AcceptLimits::default(),
            unassigned: Default::default(),
            duration: Sharded::new(DURATION_BUCKETS, threads),
            first_byte: Sharded::new(DURATION_BUCKETS, threads),
            connect: Sharded::new(CONNECT_BUCKETS, threads),
            spawn: Sharded::new(SPAWN_BUCKETS, 1),
            check: Sharded::new(CONNECT_BUCKETS, 1),
            operations: Default::default(),
        }
    }
}
