//! Reasons why a worker cannot start.

use std::ffi::OsStr;
use std::io;

use crate::fds::InheritError;

/// The reason why a worker cannot start. Print it with its [`source`](std::error::Error::source) and exit; the master
/// starts the worker again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The environment has neither inherited sockets nor `PORT`.
    #[error("nothing to listen on: set PORT to a port number or to an absolute path, or start this under Roundelay")]
    NothingToListenOn,
    /// A variable of the worker contract has an invalid value.
    #[error("{name} must be {expected}; it is `{value}`")]
    Variable {
        /// The name of the variable.
        name: &'static str,
        /// The value of the variable.
        value: String,
        /// The values that are valid.
        expected: &'static str,
    },
    /// The worker cannot listen on the address.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address, or the path of the unix socket.
        address: String,
        /// The cause.
        source: io::Error,
    },
    /// The inherited descriptors are not open, or were already taken.
    #[error(transparent)]
    Inherit(#[from] InheritError),
    /// An inherited descriptor is not a socket on which a worker can listen.
    #[error("cannot listen on an inherited socket")]
    Inherited(#[source] io::Error),
    /// The runtime cannot watch the channel to the master.
    #[error("cannot use the channel that ROUNDELAY_CHANNEL_FD names")]
    Channel(#[source] io::Error),
    /// SIGTERM cannot be caught, so this worker could not drain.
    #[error("cannot catch SIGTERM")]
    Signal(#[source] io::Error),
}

impl StartError {
    pub(crate) fn variable(name: &'static str, value: &OsStr, expected: &'static str) -> Self {
        StartError::Variable { name, value: value.to_string_lossy().into_owned(), expected }
    }
}
