//! The counters of one slot. They outlive its processes, so they only grow until the master ends.

use super::{Check, ConnectError, Counter, Gauge, Outcome, Restart, Stream};

/// The events in one slot since the master started.
///
/// Aligned to two cache lines so that slots do not share one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct SlotStats {
    /// Connections whose bytes this slot's workers were given. One that was recovered counts for both its workers.
    pub connections: Counter,
    /// Bytes from clients written to the worker; a PROXY header, which is ours, is not among them.
    pub rx_bytes: Counter,
    /// Bytes from the worker written to clients.
    pub tx_bytes: Counter,
    /// Failed connects, by [`ConnectError`].
    pub connect_errors: [Counter; ConnectError::COUNT],
    /// Connections moved to another worker before one byte: after a failed connect, or since the worker drained.
    pub retries: Counter,
    /// Ended connections, by [`Outcome`].
    pub closes: [Counter; Outcome::COUNT],
    /// Replacements, by [`Restart`].
    pub restarts: [Counter; Restart::COUNT],
    /// Health probes, by [`Check`].
    pub checks: [Counter; Check::COUNT],
    /// Flips between healthy and unhealthy.
    pub health_transitions: Counter,
    /// Lines of the worker that were written, or only read where its pool's log is off, by [`Stream`].
    pub log_lines: [Counter; Stream::COUNT],
    /// Lines dropped because what they are written to was slower than the worker or failed, by [`Stream`].
    pub log_dropped: [Counter; Stream::COUNT],
    /// Messages of its program, on its channel.
    pub messages_from: Counter,
    /// Messages to its program that were put on its channel.
    pub messages_to: Counter,
    /// The last exit: the code, 128 + n for signal n, -1 while none is known.
    pub last_exit: LastExit,
}

/// A gauge that starts at -1, "none yet".
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

    /// The present value.
    pub fn get(&self) -> i64 {
        self.0.get()
    }
}
