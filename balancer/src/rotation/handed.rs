//! A connection that is handed over to a worker, and the way into the worker's channel.
//!
//! The thread that accepted it and the task that owns the channel know each other only by these: the one gives, the
//! other says what became of it.

use std::fmt;
use std::os::fd::BorrowedFd;

use tokio::sync::mpsc;

use crate::stats::{ConnectError, Outcome};

/// An accepted connection on its way to a worker, or in a worker's hands. Our copy of the socket stays open until the worker
/// says that it has taken it: up to then nobody has read a byte, and it can go to another one.
pub trait HandedConnection: Send {
    /// Our copy of the socket, while there is one.
    fn socket(&self) -> Option<BorrowedFd<'_>>;

    /// By which of the pool's public listeners it came.
    fn listener_id(&self) -> u32;

    /// The worker has taken it. Our copy is closed; the connection is kept until its end is told, or dropped at once where ends
    /// are not told.
    fn taken(&mut self);

    /// It has ended, after it was taken.
    fn ended(self: Box<Self>, outcome: Outcome);

    /// This worker will not have it, and has not read from it: it goes to another.
    fn returned(self: Box<Self>, why: ConnectError);
}

/// The way into a worker's channel. Cheap to clone, and never waits: what is given queues up, within the bound that the
/// giver keeps to.
#[derive(Clone)]
pub struct HandoffSender(mpsc::UnboundedSender<Box<dyn HandedConnection>>);

impl HandoffSender {
    /// A way in, and where it comes out.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Box<dyn HandedConnection>>) {
        let (way_in, way_out) = mpsc::unbounded_channel();
        (Self(way_in), way_out)
    }

    /// Gives a connection to the worker; back at once if its channel is closed.
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
