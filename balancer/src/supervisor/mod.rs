//! Keeps a pool's workers alive.
//!
//! One task a pool: events and deadlines come in, the pure parts (`slot`, `gate`, `boot`) decide, effects go out, and
//! what changed is published. Nobody else changes a pool, so membership, health and drain change together. Nothing here
//! waits for a worker.

mod allowance;
mod backoff;
mod boot;
mod budget;
mod elsewhere;
mod endpoint;
mod farewell;
mod foreground;
mod gate;
mod hang;
mod health;
mod launch;
mod ledger;
mod life;
mod member;
mod memory;
mod message;
mod note;
mod notify;
mod operate;
mod perform;
mod port_owner;
mod porter;
mod probe;
mod publish;
mod relief;
mod resources;
mod roll;
mod seldom;
mod slot;
mod sockets_seen;
mod suspicion;
mod vigil;
mod warden;
mod watch;
mod weights;

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
use crate::pool::operation::{Ask, Progress, Step};
use crate::rotation::SlotId;
use ledger::Closes;
use notify::Said;
use probe::Verdict;
use warden::Warden;
use watch::Watch;

pub use budget::SpawnBudget;
pub use farewell::Ended;
pub use launch::DEMO_COMMAND;
pub use resources::Resources;

/// The connections of a pool's workers, as its supervisor needs them: the data path, or a test's double.
pub trait Connections: Send + Sync {
    /// That process has ended: what it said is still delivered, what something else holds open is reset. `recovered` are
    /// the far ends of connections of ours that waited in its queue, accepted from it: each of those connections goes to
    /// another worker with all it had sent.
    fn orphan(&self, slot: SlotId, incarnation: u64, recovered: Vec<OwnedFd>);

    /// Takes back what waits in the queue of that process, which lives on: `recovered` are the worker's ends of connections of
    /// ours, accepted from its listener. Each goes to another worker with all that it had sent.
    fn recall(&self, slot: SlotId, incarnation: u64, recovered: Vec<OwnedFd>);

    /// From now on closes each connection of that process that is owed nothing and was silent for a second, by FIN; one that
    /// has given it nothing goes to another worker in rotation.
    fn quieten(&self, slot: SlotId, incarnation: u64);

    /// Runs a worker's channel where connections are handed over.
    fn host(&self, slot: SlotId, channel: Channel);

    /// Accepts on one more public listener; what comes by it is handed to who listens at this door.
    ///
    /// # Errors
    ///
    /// When it cannot be watched, or another handle of it cannot be made.
    fn open_door(&self, listener: Listener, door: u32) -> std::io::Result<()>;

    /// Accepts what waits at that listener and closes it.
    fn close_door(&self, address: &Address);

    /// Ends what is open on that process now: by FIN what is owed nothing, by reset the rest; one that has given it nothing
    /// goes to another worker in rotation.
    fn cut(&self, slot: SlotId, incarnation: u64);

    /// Has whom `next` accepts served by workers that accept by themselves, by way of the pool's public address of that
    /// number, until it accepts nobody or the limits allow no more; how many. It may wait as long as `next` does.
    fn detour(&self, address: usize, next: &mut dyn FnMut() -> Option<Client>) -> usize;
}

/// What the application asks of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Empty the public listeners and close them; the workers go on. Where the workers accept, only they can: a `Stop`.
    Close,
    /// Drain every worker and end it.
    Stop,
    /// End every worker now.
    Kill,
}

/// What reaches a pool's task. All but orders name the incarnation they are about.
#[derive(Debug)]
enum Input {
    Order(Order),
    Ask(Ask, mpsc::UnboundedSender<Progress>),
    Say(Message, oneshot::Sender<Vec<Delivery>>),
    Worker {
        slot: usize,
        incarnation: u64,
        news: News,
    },
    /// The resources that process groups of the pool use, and client sockets of the groups that were asked for.
    Usage(HashMap<u32, Usage>, HashMap<u32, Vec<ServerSide>>),
    /// Memory of process groups of the pool, measured exactly.
    Memory(HashMap<u32, GroupMemory>),
}

/// What is new of one incarnation.
#[derive(Debug)]
enum News {
    Child(ChildEvent),
    Said(Said),
    Channel(channel::News),
    /// A check of ours has connected from there.
    Checking(PeerId),
    /// A probe's verdict; `None` where our own clock was too late for one.
    Probed(Option<Verdict>),
    /// The data path could not connect to it.
    ConnectFailed,
    /// Out of rotation and without a connection.
    Drained,
    /// A duplicate of its listener, or why there is none.
    Spare(std::io::Result<OwnedFd>),
    /// It had left the rotation and is gone, and its connections have all ended.
    Counted(Step, Closes),
    /// Its output has ended, or a second has passed since its exit.
    LastWords(Arc<[String]>),
    /// The owner of its private port was checked.
    PortOwner(port_owner::Look),
    /// It said ready, and waits at the listeners that it was handed, or may do so.
    Accepts,
    /// Where its process group listens, and the CPU seconds that it has used, where that was looked at.
    Listens(Vec<std::net::SocketAddr>, Option<f64>),
}

/// A running pool, from outside.
#[derive(Debug)]
pub struct Supervisor {
    inputs: mpsc::UnboundedSender<Input>,
    task: JoinHandle<Result<Ended, Failure>>,
}

/// Lets the data path tell what it saw of a worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Informer(mpsc::UnboundedSender<Input>);

impl Supervisor {
    /// Starts the pool's task, and with it its workers, on the present runtime. `inherited` are the listeners that the
    /// workers are handed, where they accept by themselves.
    ///
    /// # Errors
    ///
    /// When there is no descriptor left to hand a listener on.
    pub fn start(
        pool: Arc<Pool>,
        resources: Arc<Resources>,
        connections: Arc<dyn Connections>,
        inherited: Public,
    ) -> std::io::Result<Self> {
        let (inputs, inbox) = mpsc::unbounded_channel();
        let watch = Watch::new(inherited, Instant::now())?;
        let task = tokio::spawn(Warden::new(pool, resources, connections, watch, inputs.clone()).run(inbox));
        Ok(Self { inputs, task })
    }

    /// Passes an order on; nothing if the pool has ended.
    pub fn order(&self, order: Order) {
        let _ = self.inputs.send(Input::Order(order));
    }

    /// Asks the pool to do something; `reply` is told how it goes, and is dropped without a last word if the pool ends.
    pub fn operate(&self, ask: Ask, reply: mpsc::UnboundedSender<Progress>) {
        let _ = self.inputs.send(Input::Ask(ask, reply));
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
    pub async fn ended(&mut self) -> Result<Ended, Failure> {
        match (&mut self.task).await {
            Ok(result) => result,
            Err(error) => Err(Failure::new(code::FAILED, "a pool's supervisor ended").cause(error)),
        }
    }
}

impl Informer {
    /// A connect to that incarnation failed: it is probed at once.
    pub fn connect_failed(&self, slot: SlotId, incarnation: u64) {
        let _ = self.0.send(Input::Worker { slot: slot.index(), incarnation, news: News::ConnectFailed });
    }
}
