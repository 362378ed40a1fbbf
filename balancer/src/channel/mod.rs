//! A worker's control channel: how accepted connections are handed over to it, and what it says of them.
//!
//! Each channel belongs to one task on a data thread, which alone reads and writes its socket and knows which
//! connections the worker was given. Three rules make a handoff safe:
//!
//! 1. *Our copy stays open until the worker says that it has taken the connection*, and it says so before it reads a
//!    byte. So a connection that was not taken is as the client made it, and can go to another worker.
//! 2. *Not while the worker might still take it.* What a dead worker had said is read to its end first; a living one is
//!    only relieved of what it provably has not read: that is taken out of its queue
//!    ([`worker_socket`](crate::os::worker_socket)), and a message can be read once.
//! 3. *No worker has more than a few untaken ones*: the sender ensures that by
//!    [`Upstream::has_room`](crate::rotation::Upstream::has_room).
//!
//! Two protocols: `native` packets for workers made with `worker-runtime`, and Node's.

mod native;
pub mod node;
mod node_protocol;
mod pending;
mod rate_limit;
mod socket;
mod task;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::SocketType;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::config::PassedAs;
use crate::os::worker_socket::inode_of;
use crate::pool::{Limited, Pool};
use crate::rotation::{HandedConnection, HandoffSender, Standing, Upstream};
use crate::stats::AcceptLimit;

/// The descriptor that is the worker's end, where listeners would begin.
pub const WORKER_FD: i32 = 3;
/// For how long a worker may leave a connection unread that another could have: about as long as a busy machine takes
/// to run it. With 100 ms, short requests beside one that blocks its worker for 50 ms at a time waited 32 ms on
/// average.
const PATIENCE: Duration = Duration::from_millis(25);
/// Another worker has much less to take if this many times that is no more than what this one has.
const MUCH_LESS: usize = 4;
/// The interval at which untaken connections are checked.
const LOOK: Duration = Duration::from_millis(10);
/// The number of inputs of one kind that are taken before the others are checked.
const BATCH: usize = 32;

/// The message by which a program says that it is ready, where it says so by message: `process.send('ready')`, which
/// PM2's `wait_ready` made customary. Passed on whatever else was said.
pub const READY: &str = "\"ready\"";

/// A command to a channel.
#[derive(Debug)]
pub enum ChannelCommand {
    /// Ask the worker whether it is alive; the answer is sent, or the sender dropped when there will be none.
    Ping(oneshot::Sender<()>),
    /// Say this JSON value to the worker's program.
    Message(String, oneshot::Sender<Result<(), Unsent>>),
    /// Where it is Node's: leave the cluster, which closes its listeners and ends it when its connections have ended.
    Disconnect,
    /// Where it is Node's: what a `listen` of its program is answered.
    Answer {
        /// Of the query.
        seq: u64,
        /// The message.
        answer: node::Answer,
        /// The public listener whose connections belong to that server.
        listener_id: Option<u32>,
        /// The socket that goes with a shared answer, non-blocking.
        listener: Option<Arc<OwnedFd>>,
    },
    /// Its process has ended and was reaped: read what it said, then give what it had not taken to others.
    Ended {
        /// True if the channel was told to end: then the connections that it still had count as cut.
        was_asked: bool,
    },
}

/// Why a message was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// It is longer than the channel takes.
    #[error("it has {0} bytes, and a message may have {most}", most = worker_runtime::protocol::packet::MAX_MESSAGE)]
    TooLong(usize),
    /// As much as may wait for the worker waits already.
    #[error("the worker has not read the messages before it")]
    Full,
    /// It is not what a message may be.
    #[error("it cannot be a message: {0}")]
    NoJson(String),
    /// The worker has closed the channel.
    #[error("the worker has closed its channel")]
    Closed,
}

/// A message of a worker, or a change of its channel.
#[derive(Debug)]
pub enum ChannelEvent {
    /// Its program sent this JSON value; of a long one this is the beginning.
    Message(String),
    /// Its program sent so many more within a second, which are not told.
    LeftOut(u64),
    /// An event that only Node reports: that it runs, listens, closes a server, leaves. Its mark is dropped when it was
    /// heard.
    Node(node::NodeEvent, EventPermit),
    /// It said what cannot be understood, and nothing after it can: it has to be ended.
    Broken,
    /// It has closed the channel and lives: it can be handed nothing.
    Closed,
    /// It said what it may not: in words, said once a kind.
    Strange(String),
}

/// The number of Node events of one worker that may wait for its supervisor: beyond that its channel is not read.
const MAX_PENDING_EVENTS: usize = 64;

/// Counts an event that waits for the supervisor, until it is dropped.
#[derive(Debug)]
pub struct EventPermit {
    _permit: Option<OwnedSemaphorePermit>,
}

/// The supervisor's way to a channel. Commands to one that has ended go nowhere.
#[derive(Clone, Debug)]
pub struct ChannelHandle(mpsc::UnboundedSender<ChannelCommand>);

impl ChannelHandle {
    /// Sends a command.
    pub fn send(&self, command: ChannelCommand) {
        let _ = self.0.send(command);
    }
}

/// A channel that was made and is to be run.
pub struct Channel {
    ours: OwnedFd,
    passed_as: PassedAs,
    connections: mpsc::UnboundedReceiver<Box<dyn HandedConnection>>,
    commands: mpsc::UnboundedReceiver<ChannelCommand>,
    worker: WorkerContext,
}

/// The owner of a channel, and the receiver of its events.
struct WorkerContext {
    /// Of its end.
    inode: u64,
    pool: Arc<Pool>,
    upstream: Arc<Upstream>,
    events: Box<dyn Fn(ChannelEvent) + Send>,
    /// One permit for each event that may wait to be heard.
    event_permits: Arc<Semaphore>,
}

/// The result of [`open`].
pub struct OpenedChannel {
    /// To be run on a data thread.
    pub channel: Channel,
    /// The worker's end, for its descriptor [`WORKER_FD`].
    pub theirs: OwnedFd,
    /// For its supervisor.
    pub handle: ChannelHandle,
}

/// Makes the channel of a worker that is about to start, and the sender for handing connections over.
///
/// # Errors
///
/// No descriptor is left.
pub fn open(
    passed_as: PassedAs,
    pool: Arc<Pool>,
    upstream: Arc<Upstream>,
    events: impl Fn(ChannelEvent) + Send + 'static,
) -> io::Result<OpenedChannel> {
    let kind = if passed_as == PassedAs::Node { SocketType::STREAM } else { SocketType::SEQPACKET };
    let (ours, theirs) = socket::pair(kind)?;
    let inode = inode_of(&theirs)?;
    let (handoff_sender, connections) = HandoffSender::new();
    upstream.set_handoff_sender(handoff_sender);
    let (handle, commands) = mpsc::unbounded_channel();
    let worker = WorkerContext {
        inode,
        pool,
        upstream,
        events: Box::new(events),
        event_permits: Arc::new(Semaphore::new(MAX_PENDING_EVENTS)),
    };
    let channel = Channel { ours, passed_as, connections, commands, worker };
    Ok(OpenedChannel { channel, theirs, handle: ChannelHandle(handle) })
}

impl Channel {
    /// Hands over and listens until the worker is gone. Not cancel safe: what it holds is dropped.
    pub async fn run(self) {
        match self.passed_as {
            PassedAs::Node => task::run(self, node_protocol::NodeProtocol::default()).await,
            _ => task::run(self, native::NativeProtocol::default()).await,
        }
    }
}

impl WorkerContext {
    /// Tells what only Node says. What one read brought is told whole, so the bound is passed by that much.
    fn tell_node(&self, event: node::NodeEvent) {
        let permit = Arc::clone(&self.event_permits).try_acquire_owned().ok();
        (self.events)(ChannelEvent::Node(event, EventPermit { _permit: permit }));
    }

    /// True while the supervisor has enough to hear of this worker.
    fn is_behind(&self) -> bool {
        self.event_permits.available_permits() == 0
    }

    /// It could not take a connection, for its table of descriptors is full.
    fn has_no_descriptor(&self) {
        drop(Limited::begin(&self.pool, AcceptLimit::WorkerOpenFiles));
    }

    /// Returns true if another worker in rotation would sooner take what this one leaves. Where all have as much to do,
    /// moving it about helps nobody.
    fn has_alternative(&self) -> bool {
        // Its clients belong to it as long as it is in rotation.
        if self.upstream.standing() == Standing::Up && self.pool.is_sticky() {
            return false;
        }
        let others = self.pool.rotation.snapshot();
        let mine = self.upstream.connecting();
        let is_better = |other: &&Arc<Upstream>| {
            let is_other = !Arc::ptr_eq(other, &self.upstream) && other.standing() == Standing::Up;
            let theirs = other.connecting();
            is_other && !other.is_stalled() && (theirs == 0 || theirs * MUCH_LESS <= mine)
        };
        others.upstreams.iter().any(|other| is_better(&other))
    }
}
