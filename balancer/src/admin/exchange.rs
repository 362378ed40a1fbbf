//! One connection, as its requests see it: where it came in, who is there, and whether an order of theirs goes on.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use super::orders::{CommandClient, Told};

/// The process at the other end of the control socket.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Its user.
    pub(super) uid: u32,
    /// The process, where the kernel tells it.
    pub(super) pid: Option<i32>,
    /// True if it still waits.
    pub(super) client: CommandClient,
}

/// Where a request came in.
#[derive(Clone, Debug)]
pub(super) enum Entrance {
    /// The admin port, which any program of this machine reaches, and any page that a browser on it shows.
    Port,
    /// The control socket, which only our user and root reach.
    Control(Peer),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Where it came in.
    pub(super) entrance: Entrance,
    order: Mutex<Option<mpsc::WeakUnboundedSender<Told>>>,
}

impl Exchange {
    pub(super) fn new(entrance: Entrance) -> Self {
        Self { entrance, order: Mutex::new(None) }
    }

    /// An order was given, of which `reply` is told.
    pub(super) fn begins(&self, reply: &mpsc::UnboundedSender<Told>) {
        *self.order.lock().unwrap_or_else(PoisonError::into_inner) = Some(reply.downgrade());
    }

    /// Whether the last order of this connection goes on, so that there will be more to tell.
    pub(super) fn is_under_way(&self) -> bool {
        let order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.as_ref().is_some_and(|reply| reply.upgrade().is_some())
    }
}
