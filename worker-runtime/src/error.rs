//! Why a worker cannot start.

use std::ffi::OsStr;
use std::io;

use crate::fds::InheritError;

/// Why a worker cannot start. Print it with its [`source`](std::error::Error::source) and exit; the master retries.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Neither inherited sockets nor `PORT`.
    #[error("nothing to listen on: set PORT to a port number or to an absolute path, or start this under Roundelay")]
    NothingToListenOn,
    /// A variable of the contract has a value that cannot be.
    #[error("{name} must be {expected}; it is `{value}`")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// The address could not be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address, or the path of the unix socket.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The promised descriptors are not there, or were already taken.
    #[error(transparent)]
    Inherit(#[from] InheritError),
    /// An inherited descriptor is not a socket that a worker can use.
    #[error("cannot listen on an inherited socket")]
    Inherited(#[source] io::Error),
    /// The channel to the master could not be watched.
    #[error("cannot use the channel that ROUNDELAY_CHANNEL_FD names")]
    Channel(#[source] io::Error),
    /// SIGTERM could not be caught, so this worker could not drain.
    #[error("cannot catch SIGTERM")]
    Signal(#[source] io::Error),
}

impl StartError {
    pub(crate) fn variable(name: &'static str, value: &OsStr, expected: &'static str) -> Self {
        StartError::Variable { name, value: value.to_string_lossy().into_owned(), expected }
    }
}
