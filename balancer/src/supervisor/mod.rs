//! Keeps a pool's workers alive.
//!
//! Each pool has one task. Events and deadlines come in, the pure parts (`slot`, `listeners::hold`,
//! `operation::startup`) decide, effects go out, and the task publishes the changes. No other task changes the pool, so
//! membership, health and drain change together. Nothing here waits for a worker.

mod actor;
mod budget;
mod effects;
mod listeners;
mod memory;
mod monitor;
mod operation;
mod publish;
mod replacement_limit;
mod resources;
mod slot;
mod worker;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::channel::{self, Channel};
use crate::config::Address;
use crate::dispatch::Client;
use crate::failure::{Failure, code};
use crate::net::listeners::Listener;
use crate::net::public::Public;
use crate::os::accept_queue::{PeerId, ServerSide};
use crate::os::child::ChildEvent;
use crate::os::inspect::Usage;
use crate::os::memory::GroupMemory;
use crate::pool::Pool;
use crate::pool::message::{Delivery, Message};
use crate::pool::operation::{OperationRequest, OperationStep, Progress};
use crate::rotation::SlotId;
use actor::Supervisor;
use listeners::inherited::InheritedListeners;
use operation::ledger::Closes;
use worker::notify::NotifyMessage;
use worker::probe::CheckResult;

pub use budget::SpawnBudget;
pub use operation::stop_report::StopReport;
pub use resources::Resources;
pub use worker::spec::DEMO_COMMAND;

/// The connections of a pool's workers, as its supervisor needs them: the data path, or a test's double.
pub trait DataPath: Send + Sync {
    /// Ends the connections of a process that has exited: the data path still delivers the bytes that the process had
    /// sent, and resets connections that another process holds open. `recovered` are the worker's ends of the master's
    /// connections that waited in its accept queue, accepted from it: each of those connections goes to another worker
    /// with all that it had sent.
    fn worker_exited(&self, slot: SlotId, incarnation: u64, recovered: Vec<OwnedFd>);

    /// Takes back the connections that wait in the queue of a process that goes on running. `recovered` are the
    /// worker's ends of the master's connections, accepted from its listener. Each goes to another worker with all that
    /// it had sent.
    fn recall(&self, slot: SlotId, incarnation: u64, recovered: Vec<OwnedFd>);

    /// From now on closes, by FIN, each connection of that process that has no response pending and was silent for a
    /// second. A connection that has sent the worker nothing goes to another worker in rotation.
    fn close_idle(&self, slot: SlotId, incarnation: u64);

    /// Runs a worker's channel on the thread that hands its connections over.
    fn run_channel(&self, slot: SlotId, channel: Channel);

    /// Accepts on one more public listener; its clients are handed to the worker that listens there.
    ///
    /// # Errors
    ///
    /// If the listener cannot be watched, or another handle of it cannot be made.
    fn add_listener(&self, listener: Listener, listener_id: u32) -> std::io::Result<()>;

    /// Accepts the clients that wait at that listener and closes it.
    fn close_listener(&self, address: &Address);

    /// Ends the open connections of that process now: by FIN those that have no response pending, by reset the others.
    /// A connection that has sent the worker nothing goes to another worker in rotation.
    fn abort(&self, slot: SlotId, incarnation: u64);

    /// Accepts clients with `next` and relays each to the pool's public address number `address`, where workers accept
    /// by themselves. Stops when `next` returns `None` or a limit is reached. Returns how many. Blocks while `next`
    /// blocks.
    fn relay_to_public(&self, address: usize, next: &mut dyn FnMut() -> Option<Client>) -> usize;
}

/// The ways in which the application stops a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Empty the public listeners and close them; the workers go on. If the workers accept, only they can: then this is
    /// a `Stop`.
    Close,
    /// Drain every worker and end it.
    Stop,
    /// End every worker now.
    Kill,
}

/// An input of a pool's task. All but commands name the incarnation that they are about.
#[derive(Debug)]
enum Input {
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
enum WorkerEvent {
    Child(ChildEvent),
    Notify(NotifyMessage),
    Channel(channel::ChannelEvent),
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
    PortOwner(worker::listener_owner::OwnerCheck),
    /// The worker said that it is ready, and waits at the listeners that it was handed, or may do so.
    Accepts,
    /// The addresses at which the worker's process group listens, and the CPU seconds that it has used, if they were
    /// read.
    Listens(Vec<std::net::SocketAddr>, Option<f64>),
}

/// A running pool, as the rest of the master uses it.
#[derive(Debug)]
pub struct SupervisorHandle {
    inputs: mpsc::UnboundedSender<Input>,
    task: JoinHandle<Result<StopReport, Failure>>,
}

/// Reports failed connects from the data path to the supervisor. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Informer(mpsc::UnboundedSender<Input>);

impl SupervisorHandle {
    /// Starts the pool's task, and with it its workers, on the present runtime. `inherited` are the listeners that the
    /// workers are handed, if they accept by themselves.
    ///
    /// # Errors
    ///
    /// If there is no descriptor left to hand a listener on.
    pub fn start(
        pool: Arc<Pool>,
        resources: Arc<Resources>,
        data_path: Arc<dyn DataPath>,
        inherited: Public,
    ) -> std::io::Result<Self> {
        let (inputs, inbox) = mpsc::unbounded_channel();
        let inherited = InheritedListeners::new(inherited, Instant::now())?;
        let task = tokio::spawn(Supervisor::new(pool, resources, data_path, inherited, inputs.clone()).run(inbox));
        Ok(Self { inputs, task })
    }

    /// Closes, stops or kills the pool; does nothing if the pool has ended.
    pub fn shut_down(&self, shutdown: Shutdown) {
        let _ = self.inputs.send(Input::Shutdown(shutdown));
    }

    /// Starts an operation on the pool. `reply` gets its progress, and is dropped without a last report if the pool
    /// ends.
    pub fn start_operation(&self, request: OperationRequest, reply: mpsc::UnboundedSender<Progress>) {
        let _ = self.inputs.send(Input::Operate(request, reply));
    }

    /// Sends a message to the programs in the pool's workers. `reply` gets the outcome within about a second, and is
    /// dropped if the pool has ended.
    pub fn say(&self, message: Message, reply: oneshot::Sender<Vec<Delivery>>) {
        let _ = self.inputs.send(Input::Say(message, reply));
    }

    /// Returns an informer for the data path.
    pub fn informer(&self) -> Informer {
        Informer(self.inputs.clone())
    }

    /// Resolves when every worker has ended: by a command, or because the pool gave up. Cancel safe.
    ///
    /// # Errors
    ///
    /// The reason why the pool gave up.
    pub async fn ended(&mut self) -> Result<StopReport, Failure> {
        match (&mut self.task).await {
            Ok(result) => result,
            Err(error) => Err(Failure::new(code::FAILED, "a pool's supervisor ended").cause(error)),
        }
    }
}

impl Informer {
    /// Reports that a connect to that incarnation failed: the supervisor probes it at once.
    pub fn connect_failed(&self, slot: SlotId, incarnation: u64) {
        let _ = self.0.send(Input::Worker { slot: slot.index(), incarnation, event: WorkerEvent::ConnectFailed });
    }
}
