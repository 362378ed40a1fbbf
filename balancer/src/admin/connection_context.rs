//! One HTTP connection as its requests see it: its listener, its peer, and the command that it still watches.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use super::commands::{CommandClient, CommandUpdate};

/// The process at the other end of the control socket.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// The user that the process runs as.
    pub(super) uid: u32,
    /// The process id, if the kernel reports it.
    pub(super) pid: Option<i32>,
    /// The connection, to see whether the client still waits.
    pub(super) client: CommandClient,
}

/// The listener that a request came in on.
#[derive(Clone, Debug)]
pub(super) enum ApiListener {
    /// The admin port. Any program on this machine can reach it, and so can any web page in a browser on it.
    AdminPort,
    /// The control socket. Only our user and root can reach it.
    ControlSocket(Peer),
}

/// One connection.
#[derive(Debug)]
pub(super) struct ConnectionContext {
    /// The listener that accepted it.
    pub(super) listener: ApiListener,
    command: Mutex<Option<mpsc::WeakUnboundedSender<CommandUpdate>>>,
}

impl ConnectionContext {
    pub(super) fn new(listener: ApiListener) -> Self {
        Self { listener, command: Mutex::new(None) }
    }

    /// Notes that a command was given; its updates go to `reply`.
    pub(super) fn begins(&self, reply: &mpsc::UnboundedSender<CommandUpdate>) {
        *self.command.lock().unwrap_or_else(PoisonError::into_inner) = Some(reply.downgrade());
    }

    /// Returns true while the last command of this connection goes on, so that further lines will follow.
    pub(super) fn is_under_way(&self) -> bool {
        let command = self.command.lock().unwrap_or_else(PoisonError::into_inner);
        command.as_ref().is_some_and(|reply| reply.upgrade().is_some())
    }
}
