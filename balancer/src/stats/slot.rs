//! The counters of one slot. They outlive the slot's processes and only grow until the master ends.

use super::{Check, ConnectError, Counter, Gauge, Outcome, Restart, Stream};

/// The events in one slot since the master started.
///
/// Aligned to two cache lines so that slots do not share one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct SlotStats {
    /// Connections whose bytes were given to this slot's workers. A recovered one counts for both of its workers.
    pub connections: Counter,
    /// Bytes from clients that were written to the worker, without the PROXY header, which the master writes.
    pub rx_bytes: Counter,
    /// Bytes from the worker that were written to clients.
    pub tx_bytes: Counter,
    /// Failed connects, by [`ConnectError`].
    pub connect_errors: [Counter; ConnectError::COUNT],
    /// Connections that moved to another worker before the first byte: after a failed connect, or because the worker
    /// drained.
    pub retries: Counter,
    /// Ended connections, by [`Outcome`].
    pub closes: [Counter; Outcome::COUNT],
    /// Replacements, by [`Restart`].
    pub restarts: [Counter; Restart::COUNT],
    /// Health probes, by [`Check`].
    pub checks: [Counter; Check::COUNT],
    /// Flips between healthy and unhealthy.
    pub health_transitions: Counter,
    /// Lines of the worker that were written, by [`Stream`]. Where the pool's log is off: lines that were read.
    pub log_lines: [Counter; Stream::COUNT],
    /// Lines that were dropped because the log was slower than the worker or failed, by [`Stream`].
    pub log_dropped: [Counter; Stream::COUNT],
    /// Messages from its program, on its channel.
    pub messages_from: Counter,
    /// Messages to its program that were put on its channel.
    pub messages_to: Counter,
    /// The last exit: the code, 128 + n for signal n, or -1 before the first exit.
    pub last_exit: LastExit,
}

/// A gauge that starts at -1, for "none yet".
#[derive(Debug)]
pub struct LastExit(Gauge);

impl Default for LastExit {
    fn default() -> Self {
        let gauge = Gauge::default();
        gauge.set(-1);
        Self(gauge)
    }
}

impl LastExit {
    /// Replaces the value.
    pub fn set(&self, code: i64) {
        self.0.set(code);
    }

    /// Returns the present value.
    pub fn get(&self) -> i64 {
        self.0.get()
    }
}
