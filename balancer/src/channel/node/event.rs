//! What a worker's channel tells its owner, and why it does not say something. Pure.

use serde_json::Value;

use super::broken::Broken;
use super::outbox::MOST_WAITING;
use super::pending::MAX_PENDING;
use super::query::{AddressType, Query};

/// The messages of a worker, in its order.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeEvent {
    /// Node runs. The app may still do anything, or nothing.
    Online,
    /// The app listens and waits for an [`Answer`](super::Answer).
    Query(Query),
    /// A server of the app is up: the worker is ready.
    Listening {
        /// As the app asked.
        address: Option<String>,
        /// The real one.
        port: Option<i32>,
        /// As the app asked.
        address_type: AddressType,
    },
    /// The app closed the server of this key. Connections that cross it come back as refused.
    Closed {
        /// Of the server.
        key: String,
    },
    /// The app has this connection: our copy can be closed.
    Taken(u64),
    /// The app does not have this connection and has read nothing of it: it can go to another worker.
    Refused(u64, Why),
    /// The app wishes to stop, and has been told that we know. The exit that follows is meant.
    Disconnecting,
    /// From the app, by `process.send`.
    Message(Value),
    /// The worker's loop turns: the answer to [`Session::ping`](super::Session::ping).
    Pong(u64),
    /// The worker sent a socket and was told that it came. Nothing here wants one: close it, and warn.
    StrayDescriptor,
    /// Something that means nothing to us, and why. Harmless; worth a line of log once.
    Ignored(&'static str),
    /// The channel cannot go on, and says nothing more. The worker has to be ended.
    Broken(Broken),
}

/// Why a connection was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was sent four times and the descriptor never arrived: the worker is out of them.
    NoDescriptorAfterRetries,
    /// The server is closed, or has as many connections as its `maxConnections` allows.
    NotAccepted,
}

/// Why something is not said to a worker. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It was told to stop, or said that it does.
    #[error("the worker is disconnecting")]
    Disconnecting,
    /// See [`NodeEvent::Broken`].
    #[error("the worker's channel is broken")]
    Broken,
    /// It has no server that takes connections from us by this key.
    #[error("the worker has no server {0} that is handed connections")]
    NotOn(String),
    /// A key twice would end it.
    #[error("the worker is on {0} already")]
    AlreadyOn(String),
    /// No open query has this number.
    #[error("the worker asked nothing by the number {0}, or has its answer")]
    NotAsked(u64),
    /// It has so many connections that it has not answered for.
    #[error(
        "the worker has not answered for {} connections: it hangs, or is too slow for what it is given",
        MAX_PENDING
    )]
    Full,
    /// One number, two clients.
    #[error("the worker was given connection {0} already")]
    GivenTwice(u64),
    /// A worker would take it for Node's own.
    #[error("a message whose `cmd` begins with NODE_ is Node's own: choose another name")]
    OfNode,
    /// The worker does not read what the app's messages say.
    #[error("a message of {0} bytes does not fit: at most {MOST_WAITING} bytes wait for a worker that does not read")]
    NoRoom(usize),
}
