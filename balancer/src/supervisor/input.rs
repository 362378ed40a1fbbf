//! The inputs of a pool's task.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::Shutdown;
use super::operation::ledger::Closes;
use super::worker::listener_owner::OwnerCheck;
use super::worker::notify::NotifyMessage;
use super::worker::probe::CheckResult;
use crate::channel::ChannelEvent;
use crate::os::accept_queue::{PeerId, ServerSide};
use crate::os::child::ChildEvent;
use crate::os::inspect::Usage;
use crate::os::memory::GroupMemory;
use crate::pool::message::{Delivery, Message};
use crate::pool::operation::{OperationRequest, OperationStep, Progress};

/// An input of a pool's task. All but commands name the incarnation that they are about.
#[derive(Debug)]
pub(super) enum Input {
    Shutdown(Shutdown),
    Operate(OperationRequest, mpsc::UnboundedSender<Progress>),
    Say(Message, oneshot::Sender<Vec<Delivery>>),
    Worker {
        slot: usize,
        incarnation: u64,
        event: WorkerEvent,
    },
    /// The resources that process groups of the pool use, and the client sockets of the groups that were asked for.
    Usage(HashMap<u32, Usage>, HashMap<u32, Vec<ServerSide>>),
    /// The memory of process groups of the pool, measured exactly.
    Memory(HashMap<u32, GroupMemory>),
}

/// A change in one incarnation.
#[derive(Debug)]
pub(super) enum WorkerEvent {
    Child(ChildEvent),
    Notify(NotifyMessage),
    Channel(ChannelEvent),
    /// A check of ours has connected from this address.
    Checking(PeerId),
    /// A probe's verdict; `None` if our own clock was too late for a verdict.
    Probed(Option<CheckResult>),
    /// The data path could not connect to the worker.
    ConnectFailed,
    /// The worker is out of rotation and has no connection.
    Drained,
    /// A duplicate of the worker's listener, or the error that prevented it.
    ListenerDup(std::io::Result<OwnedFd>),
    /// The process had left the rotation and has exited, and all its connections have ended.
    Counted(OperationStep, Closes),
    /// The worker's output has ended, or a second has passed since its exit.
    LastLines(Arc<[String]>),
    /// The owner of the worker's private port was checked.
    PortOwner(OwnerCheck),
    /// The worker said that it is ready, and waits at the listeners that it was handed, or may do so.
    Accepts,
    /// The addresses at which the worker's process group listens, and the CPU seconds that it has used, if they were
    /// read.
    Listens(Vec<std::net::SocketAddr>, Option<f64>),
}
