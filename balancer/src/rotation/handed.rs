//! A connection that is handed over to a worker, and the sender into the worker's channel.
//!
//! The shard that accepted the connection and the task that owns the channel know each other only by these two types.
//! The shard gives the connection. The task reports its fate: taken, ended or returned.

use std::fmt;
use std::os::fd::BorrowedFd;

use tokio::sync::mpsc;

use crate::stats::{ConnectError, Outcome};

/// An accepted connection on its way to a worker, or in a worker's hands. The master's copy of the socket stays open
/// until the worker reports that it took the connection. Until then no worker has read a byte, and the connection can
/// go to another one.
pub trait HandedConnection: Send {
    /// Returns the master's copy of the socket, while there is one.
    fn socket(&self) -> Option<BorrowedFd<'_>>;

    /// Returns the number of the pool's public listener that accepted it.
    fn listener_id(&self) -> u32;

    /// Records that the worker took the connection, and closes the master's copy. The caller keeps the connection until
    /// the worker reports its end, or drops it at once where ends are not reported.
    fn taken(&mut self);

    /// Records that the connection ended after it was taken.
    fn ended(self: Box<Self>, outcome: Outcome);

    /// Returns the connection: this worker does not take it and has not read from it, so it goes to another worker.
    fn returned(self: Box<Self>, why: ConnectError);
}

/// The sender into a worker's channel. Cheap to clone. It never blocks: connections queue up, within the bound that the
/// sender keeps.
#[derive(Clone)]
pub struct HandoffSender(mpsc::UnboundedSender<Box<dyn HandedConnection>>);

impl HandoffSender {
    /// Makes a sender and the receiver of its connections.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Box<dyn HandedConnection>>) {
        let (way_in, way_out) = mpsc::unbounded_channel();
        (Self(way_in), way_out)
    }

    /// Gives a connection to the worker. If its channel is closed, the connection is returned at once.
    pub fn give(&self, connection: Box<dyn HandedConnection>) {
        if let Err(mpsc::error::SendError(connection)) = self.0.send(connection) {
            connection.returned(ConnectError::Refused);
        }
    }
}

impl fmt::Debug for HandoffSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandoffSender").finish_non_exhaustive()
    }
}
