//! Keeps a pool's workers alive.
//!
//! One task a pool: events and deadlines come in, the pure parts (`slot`, `listeners::hold`, `operation::startup`) decide, effects go out, and
//! what changed is published. Nobody else changes a pool, so membership, health and drain change together. Nothing here
//! waits for a worker.

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
    /// That process has ended: what it said is still delivered, what something else holds open is reset. `recovered` are
    /// the worker's ends of connections of ours that waited in its queue, accepted from it: each of those connections goes to
    /// another worker with all it had sent.
    fn worker_exited(&self, slot: SlotId, incarnation: u64, recovered: Vec<OwnedFd>);

    /// Takes back what waits in the queue of that process, which lives on: `recovered` are the worker's ends of connections of
    /// ours, accepted from its listener. Each goes to another worker with all that it had sent.
    fn recall(&self, slot: SlotId, incarnation: u64, recovered: Vec<OwnedFd>);

    /// From now on closes each connection of that process that is owed nothing and was silent for a second, by FIN; one that
    /// has given it nothing goes to another worker in rotation.
    fn close_idle(&self, slot: SlotId, incarnation: u64);

    /// Runs a worker's channel where connections are handed over.
    fn run_channel(&self, slot: SlotId, channel: Channel);

    /// Accepts on one more public listener; what comes by it is handed to the worker that listens there.
    ///
    /// # Errors
    ///
    /// When it cannot be watched, or another handle of it cannot be made.
    fn add_listener(&self, listener: Listener, listener_id: u32) -> std::io::Result<()>;

    /// Accepts what waits at that listener and closes it.
    fn close_listener(&self, address: &Address);

    /// Ends what is open on that process now: by FIN what is owed nothing, by reset the rest; one that has given it nothing
    /// goes to another worker in rotation.
    fn abort(&self, slot: SlotId, incarnation: u64);

    /// Has whom `next` accepts served by workers that accept by themselves, by way of the pool's public address of that
    /// number, until it accepts nobody or the limits allow no more; how many. It may wait as long as `next` does.
    fn relay_to_public(&self, address: usize, next: &mut dyn FnMut() -> Option<Client>) -> usize;
}

/// How the application stops a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Empty the public listeners and close them; the workers go on. Where the workers accept, only they can: a `Stop`.
    Close,
    /// Drain every worker and end it.
    Stop,
    /// End every worker now.
    Kill,
}

/// What reaches a pool's task. All but commands name the incarnation they are about.
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
    /// The resources that process groups of the pool use, and client sockets of the groups that were asked for.
    Usage(HashMap<u32, Usage>, HashMap<u32, Vec<ServerSide>>),
    /// Memory of process groups of the pool, measured exactly.
    Memory(HashMap<u32, GroupMemory>),
}

/// What is new of one incarnation.
#[derive(Debug)]
enum WorkerEvent {
    Child(ChildEvent),
    Notify(NotifyMessage),
    Channel(channel::ChannelEvent),
    /// A check of ours has connected from there.
    Checking(PeerId),
    /// A probe's verdict; `None` where our own clock was too late for one.
    Probed(Option<CheckResult>),
    /// The data path could not connect to it.
    ConnectFailed,
    /// Out of rotation and without a connection.
    Drained,
    /// A duplicate of its listener, or why there is none.
    ListenerDup(std::io::Result<OwnedFd>),
    /// It had left the rotation and is gone, and its connections have all ended.
    Counted(OperationStep, Closes),
    /// Its output has ended, or a second has passed since its exit.
    LastLines(Arc<[String]>),
    /// The owner of its private port was checked.
    PortOwner(worker::listener_owner::OwnerCheck),
    /// It said ready, and waits at the listeners that it was handed, or may do so.
    Accepts,
    /// Where its process group listens, and the CPU seconds that it has used, where that was looked at.
    Listens(Vec<std::net::SocketAddr>, Option<f64>),
}

/// A running pool, from outside.
#[derive(Debug)]
pub struct SupervisorHandle {
    inputs: mpsc::UnboundedSender<Input>,
    task: JoinHandle<Result<StopReport, Failure>>,
}

/// Lets the data path tell what it saw of a worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Informer(mpsc::UnboundedSender<Input>);

impl SupervisorHandle {
    /// Starts the pool's task, and with it its workers, on the present runtime. `inherited` are the listeners that the
    /// workers are handed, where they accept by themselves.
    ///
    /// # Errors
    ///
    /// When there is no descriptor left to hand a listener on.
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

    /// Closes, stops or kills the pool; nothing if it has ended.
    pub fn shut_down(&self, shutdown: Shutdown) {
        let _ = self.inputs.send(Input::Shutdown(shutdown));
    }

    /// Asks the pool to do something; `reply` is told how it goes, and is dropped without a last word if the pool ends.
    pub fn start_operation(&self, request: OperationRequest, reply: mpsc::UnboundedSender<Progress>) {
        let _ = self.inputs.send(Input::Operate(request, reply));
    }

    /// Says something to the programs in its workers; `reply` is told within about a second what became of it, and dropped
    /// if the pool has ended.
    pub fn say(&self, message: Message, reply: oneshot::Sender<Vec<Delivery>>) {
        let _ = self.inputs.send(Input::Say(message, reply));
    }

    /// For the data path.
    pub fn informer(&self) -> Informer {
        Informer(self.inputs.clone())
    }

    /// Resolves when every worker has ended: by an order, or because the pool gave up. Cancel safe.
    ///
    /// # Errors
    ///
    /// Why the pool gave up.
    pub async fn ended(&mut self) -> Result<StopReport, Failure> {
        match (&mut self.task).await {
            Ok(result) => result,
            Err(error) => Err(Failure::new(code::FAILED, "a pool's supervisor ended").cause(error)),
        }
    }
}

impl Informer {
    /// A connect to that incarnation failed: it is probed at once.
    pub fn connect_failed(&self, slot: SlotId, incarnation: u64) {
        let _ = self.0.send(Input::Worker { slot: slot.index(), incarnation, event: WorkerEvent::ConnectFailed });
    }
}
