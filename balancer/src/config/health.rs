//! The options of health checks.

use std::time::Duration;

/// Health checks of ready workers.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// The kind of probe. Default `tcp`.
    pub probe: Probe,
    /// The time between checks, ±10 %. Default 1 s.
    pub interval: Duration,
    /// The time between checks after a first failure. Default 200 ms.
    pub fast_interval: Duration,
    /// The longest time for one check. Default 1 s.
    pub timeout: Duration,
    /// Failures in a row that take a worker out of rotation. Default 3.
    pub fall: u32,
    /// Successes in a row that bring it back. Default 2.
    pub rise: u32,
    /// The interval that workers get as `WATCHDOG_USEC`. A worker that has sent `WATCHDOG=1` once becomes suspect when
    /// it has been silent for this long. Default 1 s; 0 off.
    pub heartbeat: Duration,
    /// A worker that shows no sign of life, serves no client and uses no CPU time for this long is killed and replaced.
    /// So is one whose processes are all stopped. Default 3 s; 0 never.
    pub hang_timeout: Duration,
    /// The same for a worker that serves no client and computes. A worker that serves clients and makes no progress for
    /// this long, while clients wait, gets another process beside it and serves on. Default 30 s; 0 never.
    pub busy_timeout: Duration,
}

/// The kind of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// No probe: a running worker is a healthy one.
    None,
    /// Connects. The check is good when the program accepts the connection. Only an idle worker is asked, every 10 s: a
    /// worker that serves clients shows the same by serving.
    Tcp,
    /// Looks in the kernel's table for a listener at the endpoint. Never connects once the worker is ready. So a
    /// program that listens and accepts no connection is found only when a client waits.
    ListenTable,
    /// Asks the worker on its channel, where it has one. The check is good when the worker answers.
    Channel,
    /// Sends `GET` for this path. The check is good when the answer is 200 to 399.
    Http {
        /// Absolute path, such as `/health`.
        path: String,
    },
}

impl Default for Health {
    fn default() -> Self {
        Self {
            probe: Probe::Tcp,
            interval: Duration::from_secs(1),
            fast_interval: Duration::from_millis(200),
            timeout: Duration::from_secs(1),
            fall: 3,
            rise: 2,
            heartbeat: Duration::from_secs(1),
            hang_timeout: Duration::from_secs(3),
            busy_timeout: Duration::from_secs(30),
        }
    }
}
