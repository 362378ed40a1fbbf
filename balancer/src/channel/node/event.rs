//! The events that a worker's channel reports, and the reasons why something cannot be sent. Pure.

use serde_json::Value;

use super::broken::Broken;
use super::outbox::MOST_WAITING;
use super::query::{AddressType, Query};
use crate::rotation::MAX_PENDING;

/// An event of a worker, in the order in which it sent them.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeEvent {
    /// Node runs. About the app nothing is known yet.
    Online,
    /// The app listens and waits for an [`Answer`](super::Answer).
    Query(Query),
    /// A server of the app is up: the worker is ready.
    Listening {
        /// The address as the app asked for it.
        address: Option<String>,
        /// The real port.
        port: Option<i32>,
        /// The kind of address that the app asked for.
        address_type: AddressType,
    },
    /// The app closed the server of this key. Connections already on their way to it come back as refused.
    Closed {
        /// The key of the server.
        key: String,
    },
    /// The app has this connection. The master's copy can be closed.
    Taken(u64),
    /// The app does not have this connection and has read nothing of it: it can go to another worker.
    Refused(u64, Why),
    /// The app asked to leave the cluster, and was told that we know. The exit that follows is intended.
    Disconnecting,
    /// The app sent a message by `process.send`.
    Message(Value),
    /// The worker's event loop runs: the answer to [`Session::ping`](super::Session::ping).
    Pong(u64),
    /// The worker sent a socket, which was acknowledged. We have no use for one: close it, and warn.
    StrayDescriptor,
    /// A message that has no meaning for us, and the reason. It is harmless and logged once.
    Ignored(&'static str),
    /// The channel cannot go on and reports nothing more. The worker has to be ended.
    Broken(Broken),
}

/// The reason why a connection was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was sent four times and its descriptor never arrived: the worker is out of descriptors.
    NoDescriptorAfterRetries,
    /// The server is closed, or has as many connections as its `maxConnections` allows.
    NotAccepted,
}

/// The reason why something cannot be sent to a worker. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The worker was told to stop, or said that it stops.
    #[error("the worker is disconnecting")]
    Disconnecting,
    /// See [`NodeEvent::Broken`].
    #[error("the worker's channel is broken")]
    Broken,
    /// The worker has no server with this key that is handed connections.
    #[error("the worker has no server {0} that takes connections from the master")]
    NotOn(String),
    /// A second answer with the same key would end the worker.
    #[error("the worker has a server {0} already")]
    AlreadyOn(String),
    /// No open query has this number.
    #[error("the worker did not send query {0}, or has its answer already")]
    NotAsked(u64),
    /// The worker has too many connections that it has not answered for.
    #[error(
        "the worker has not answered for {} connections: it hangs, or is too slow for what it is given",
        MAX_PENDING
    )]
    Full,
    /// Two connections must not have the same number.
    #[error("the worker was given connection {0} already")]
    GivenTwice(u64),
    /// The worker would take the message for one of Node's own.
    #[error("a message whose `cmd` begins with NODE_ is Node's own: choose another name")]
    OfNode,
    /// The worker does not read, and too many bytes of the app's messages wait already.
    #[error("a message of {0} bytes does not fit: at most {MOST_WAITING} bytes wait for a worker that does not read")]
    NoRoom(usize),
}
