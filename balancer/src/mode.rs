//! How a connection reaches a worker, as one table. Pure.
//!
//! Code asks the table ("does the master accept?"), not for a mode's name.

/// A way to hand connections to workers: one row of [`Mode::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The master accepts and relays bytes to the worker's private endpoint. Works with any program.
    Proxy,
    /// The master accepts and passes the accepted socket to the worker by `SCM_RIGHTS`.
    Handoff,
    /// The workers accept from the one listening socket.
    Shared,
    /// Each worker accepts from its slot's own `SO_REUSEPORT` socket.
    Reuseport,
}

/// Who calls `accept` on the public socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptor {
    /// The master does, and its `--strategy` chooses the worker.
    Master,
    /// The workers do, and the kernel chooses.
    Workers,
}

impl Mode {
    /// Every mode, in the order help and documentation list them.
    pub const ALL: [Mode; 4] = [Mode::Proxy, Mode::Handoff, Mode::Shared, Mode::Reuseport];

    /// The word in flags, files, metrics and pages.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Proxy => "proxy",
            Mode::Handoff => "handoff",
            Mode::Shared => "shared",
            Mode::Reuseport => "reuseport",
        }
    }

    /// Who accepts the client's connection.
    pub const fn acceptor(self) -> Acceptor {
        match self {
            Mode::Proxy | Mode::Handoff => Acceptor::Master,
            Mode::Shared | Mode::Reuseport => Acceptor::Workers,
        }
    }

    /// Whether this version can run the mode; the rest of the table is named so that an error can say "not yet".
    pub const fn is_built(self) -> bool {
        matches!(self, Mode::Proxy)
    }
}
