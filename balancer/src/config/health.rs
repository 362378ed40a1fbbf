//! How a worker's health is judged.

use std::time::Duration;

/// Health checks of ready workers.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// The question. Default `tcp`.
    pub probe: Probe,
    /// Between checks, ±10 %. Default 1 s.
    pub interval: Duration,
    /// Between checks after a first failure. Default 200 ms.
    pub fast_interval: Duration,
    /// For one check. Default 1 s.
    pub timeout: Duration,
    /// Failures in a row that take a worker out of rotation. Default 3.
    pub fall: u32,
    /// Successes in a row that bring it back. Default 2.
    pub rise: u32,
    /// The time that is given to workers as `WATCHDOG_USEC`. One that has sent `WATCHDOG=1` once is suspect when it has
    /// been silent for as long. Default 1 s; 0 off.
    pub heartbeat: Duration,
    /// A worker that shows no sign of life, serves nobody and uses no CPU time for this long is killed and replaced; so is one
    /// whose processes are all stopped. Default 3 s; 0 never.
    pub hang_timeout: Duration,
    /// The same for one that serves nobody and computes. One that serves clients and shows no progress for this long, while
    /// clients wait, gets another process beside it, and serves on. Default 30 s; 0 never.
    pub busy_timeout: Duration,
}

/// The question of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Nothing: a running worker is a healthy one.
    None,
    /// Connects; good when the program accepts the connection. Asked of an idle worker only, every 10 s: one that serves clients says the same.
    Tcp,
    /// Looks for a listener at the endpoint in the kernel's table. Never connects once the worker is ready: a program that
    /// listens and takes nobody is found only when a client waits.
    ListenTable,
    /// The worker answers on its channel, where it has one.
    Channel,
    /// `GET` of this path answers 200 to 399.
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
