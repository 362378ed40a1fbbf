//! One connection, as its requests see it: its listener, its peer, and whether a command of it goes on.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use super::commands::{CommandClient, CommandUpdate};

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
pub(super) enum ApiListener {
    /// The admin port, which any program of this machine reaches, and any page that a browser on it shows.
    AdminPort,
    /// The control socket, which only our user and root reach.
    ControlSocket(Peer),
}

/// One connection.
#[derive(Debug)]
pub(super) struct ConnectionContext {
    /// Where it came in.
    pub(super) listener: ApiListener,
    command: Mutex<Option<mpsc::WeakUnboundedSender<CommandUpdate>>>,
}

impl ConnectionContext {
    pub(super) fn new(listener: ApiListener) -> Self {
        Self { listener, command: Mutex::new(None) }
    }

    /// A command was given, of which `reply` is told.
    pub(super) fn begins(&self, reply: &mpsc::UnboundedSender<CommandUpdate>) {
        *self.command.lock().unwrap_or_else(PoisonError::into_inner) = Some(reply.downgrade());
    }

    /// Returns true if the last command of this connection goes on, so that there will be more to tell.
    pub(super) fn is_under_way(&self) -> bool {
        let command = self.command.lock().unwrap_or_else(PoisonError::into_inner);
        command.as_ref().is_some_and(|reply| reply.upgrade().is_some())
    }
}
