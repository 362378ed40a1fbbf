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

/// The side that calls `accept` on the public socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptor {
    /// The master does, and its `--strategy` chooses the worker.
    Master,
    /// The workers do, and the kernel chooses.
    Workers,
}

/// The descriptor that a worker inherits to get its connections from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherits {
    /// Nothing: it binds its private endpoint itself.
    Nothing,
    /// The pool's public listening sockets, which all workers share.
    PublicListeners,
    /// Its slot's own listening socket.
    SlotListener,
    /// A channel on which accepted sockets are handed over.
    Channel,
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

    /// The side that accepts the client's connection.
    pub const fn acceptor(self) -> Acceptor {
        match self {
            Mode::Proxy | Mode::Handoff => Acceptor::Master,
            Mode::Shared | Mode::Reuseport => Acceptor::Workers,
        }
    }

    /// The descriptor that a worker inherits.
    pub const fn inherits(self) -> Inherits {
        match self {
            Mode::Proxy => Inherits::Nothing,
            Mode::Handoff => Inherits::Channel,
            Mode::Shared => Inherits::PublicListeners,
            Mode::Reuseport => Inherits::SlotListener,
        }
    }
}
