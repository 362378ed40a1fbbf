//! The configuration: every option once, as plain data.
//!
//! [`Config::default`] is the configuration that `config/roundelay.toml` documents; a test keeps the two equal. The
//! modules beside this one read files, environment and flags into it. Nothing here touches the system.

mod address;
mod change;
mod check;
mod codec;
mod control;
mod frame;
mod health;
mod keys;
mod layers;
mod load;
mod pool;
mod problem;
mod restart;
mod show;
mod socket_passing;
mod source;
mod value;
mod walk;
mod worker_log;

use std::path::PathBuf;

pub use address::{Address, AddressError};
pub use change::{Change, compare};
pub use check::{Violation, check};
pub use health::{Health, Probe};
pub use layers::{FLAGS, Flag, variable};
pub use load::{Loaded, Sources, load};
pub use pool::{Drain, EndpointKind, MOST_WORKERS, PoolConfig, Program, ProxyProtocol, Ready, StopSignal, WorkerCount};
pub use problem::{Position, Problem, Problems, Severity};
pub use restart::{GiveUp, Restart};
pub use show::{Origins, show};
pub use socket_passing::{Launch, PassedAs, SocketPassing};
pub use source::{Source, candidates};
pub(crate) use value::nearest;
pub(crate) use walk::name_is_valid;
pub use worker_log::{LineFormat, LogTarget, WorkerLog};

/// The whole configuration of one master.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The process itself.
    pub master: Master,
    /// The admin port.
    pub admin: Admin,
    /// The master's own log.
    pub log: Log,
    /// One entry for each application, sorted by name. Empty only while the configuration is being loaded.
    pub pools: Vec<PoolConfig>,
}

/// `[master]`: the process itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Master {
    /// The unix socket to which `roundelay list` and other commands connect. Default `auto`.
    pub control: Control,
    /// The number of data threads. Default `auto`: half the CPUs that this process may use, at least 1, since workers
    /// need the rest.
    pub threads: Threads,
    /// The number of client connections that may be open at once, over all pools. More clients wait in the backlog.
    /// Default: as many as the descriptor limit allows at two descriptors a connection, less a reserve.
    pub max_connections: Option<usize>,
    /// The number of workers started per second, over all pools. It bounds crash loops. Default 20.
    pub spawn_rate: u32,
}

/// The place of the control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// `$XDG_RUNTIME_DIR/roundelay/control.sock`; as root `/run/roundelay/control.sock`; else below the temporary
    /// directory, in a folder of this user.
    Auto,
    /// No control socket.
    Off,
    /// At this path.
    Path(PathBuf),
}

/// The number of data threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// max(1, CPUs / 2). CPUs are those that affinity and cgroup quota leave.
    Auto,
    /// This many, 1 to 256.
    Count(usize),
}

/// `[admin]`: health, metrics and state over HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// The address of the admin port. Default `127.0.0.1:9900`; `None` is `off`. Only loopback addresses are allowed as
    /// long as there is no token.
    pub listen: Option<std::net::SocketAddr>,
}

/// `[log]`: the master's own log, on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The level: `error`, `warn`, `info` (default), `debug` or `trace`. `RUST_LOG` overrides it.
    pub level: String,
    /// The format. Default `auto`.
    pub format: LogFormat,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `pretty` on a terminal, `json` otherwise.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Returns the pool of that name.
    pub fn pool(&self, name: &str) -> Option<&PoolConfig> {
        self.pools.iter().find(|pool| pool.name == name)
    }
}

impl Default for Master {
    fn default() -> Self {
        Self { control: Control::Auto, threads: Threads::Auto, max_connections: None, spawn_rate: 20 }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: Some(std::net::SocketAddr::from(([127, 0, 0, 1], 9900))) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Auto }
    }
}

impl Threads {
    /// Returns the number of threads where `cpus` may be used; at least 1.
    pub fn resolve(self, cpus: usize) -> usize {
        match self {
            Threads::Auto => (cpus / 2).max(1),
            Threads::Count(n) => n.max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_threads_are_half_the_cpus_and_at_least_one() {
        assert_eq!([1, 2, 3, 8].map(|cpus| Threads::Auto.resolve(cpus)), [1, 1, 1, 4]);
        assert_eq!(Threads::Count(3).resolve(1), 3);
    }
}
