//! A worker's control channel: hands accepted connections over to the worker, and reads its reports about them.
//!
//! Each channel belongs to one task on a data thread. Only this task reads and writes the channel's socket, and it
//! knows which connections the worker was given. Three rules make a handoff safe:
//!
//! 1. *Our copy of the socket stays open until the worker says that it has taken the connection*, and the worker says
//!    so before it reads a byte. So a connection that was not taken is still untouched, and can go to another worker.
//! 2. *A connection goes to another worker only when the first one can no longer take it.* After a worker's death
//!    everything that it sent is read first. From a living worker, a connection is taken back by reading it out of the
//!    worker's own end of the channel ([`worker_socket`](crate::os::worker_socket)): a message can be read only once.
//! 3. *A worker has only few untaken connections*: the sender ensures that by
//!    [`Upstream::has_room`](crate::rotation::Upstream::has_room).
//!
//! There are two protocols: `native` packets for workers made with `worker-runtime`, and the one of Node's cluster.

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

/// The descriptor of the worker's end of the channel; in other modes inherited listeners begin at this number.
pub const WORKER_FD: i32 = 3;
/// The time that a connection may stay unread by its worker before another worker can get it: about as long as a busy
/// machine takes to run the worker. With 100 ms, short requests behind a request that blocks the worker for 50 ms
/// waited 32 ms on average.
const PATIENCE: Duration = Duration::from_millis(25);
/// Another worker counts as less loaded if this one has at least this many times as many untaken connections.
const MUCH_LESS: usize = 4;
/// The interval at which untaken connections are checked.
const LOOK: Duration = Duration::from_millis(10);
/// The number of inputs of one kind that are handled before the other kinds get their turn.
const BATCH: usize = 32;

/// The message by which a program says that it is ready, if it uses messages for that: `process.send('ready')`, known
/// from PM2's `wait_ready`. It is passed on even if the rate limit drops other messages.
pub const READY: &str = "\"ready\"";

/// A command from the supervisor to a channel.
#[derive(Debug)]
pub enum ChannelCommand {
    /// Ask the worker for a sign of life. The answer goes to the sender; the sender is dropped if there will be no
    /// answer.
    Ping(oneshot::Sender<()>),
    /// Send this JSON value to the worker's program.
    Message(String, oneshot::Sender<Result<(), Unsent>>),
    /// Only Node: leave the cluster. The worker then closes its listeners, and ends when its connections have ended.
    Disconnect,
    /// Only Node: the answer to a `listen` of the program.
    Answer {
        /// The number of its query.
        seq: u64,
        /// The message.
        answer: node::Answer,
        /// The public listener whose connections belong to that server.
        listener_id: Option<u32>,
        /// The socket that goes with a shared answer, non-blocking.
        listener: Option<Arc<OwnedFd>>,
    },
    /// The process has ended and was reaped: read what it still sent, then give the connections that it had not taken
    /// to others.
    Ended {
        /// True if the worker was told to end: then the connections that it still had count as cut.
        was_asked: bool,
    },
}

/// The reason why a message was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// It is longer than the channel allows.
    #[error("it has {0} bytes, and a message may have {most}", most = worker_runtime::protocol::packet::MAX_MESSAGE)]
    TooLong(usize),
    /// The worker does not read, and the messages that wait for it have reached their limit.
    #[error("the worker has not read the messages before it")]
    Full,
    /// It is not a valid message.
    #[error("it cannot be a message: {0}")]
    NoJson(String),
    /// The worker has closed the channel.
    #[error("the worker has closed its channel")]
    Closed,
}

/// A message of a worker, or a change of its channel.
#[derive(Debug)]
pub enum ChannelEvent {
    /// The program sent this JSON value; a long value is cut after its beginning.
    Message(String),
    /// The program sent this many further messages within a second, which are not passed on.
    LeftOut(u64),
    /// An event that only Node reports: it runs, listens, closes a server or leaves. The permit is dropped once the
    /// event was handled.
    Node(node::NodeEvent, EventPermit),
    /// It sent something that makes the rest of the stream unreadable: the worker has to be ended.
    Broken,
    /// It closed the channel but lives on: it can be handed no more connections.
    Closed,
    /// It sent something invalid, described in words; reported once for each kind.
    Strange(String),
}

/// The number of Node events of one worker that may wait for its supervisor. At this limit its channel is not read.
const MAX_PENDING_EVENTS: usize = 64;

/// Counts an event that waits for the supervisor, until this is dropped.
#[derive(Debug)]
pub struct EventPermit {
    _permit: Option<OwnedSemaphorePermit>,
}

/// The supervisor's handle of a channel. Commands to a channel that has ended are dropped.
#[derive(Clone, Debug)]
pub struct ChannelHandle(mpsc::UnboundedSender<ChannelCommand>);

impl ChannelHandle {
    /// Sends a command.
    pub fn send(&self, command: ChannelCommand) {
        let _ = self.0.send(command);
    }
}

/// A channel that is ready to be run.
pub struct Channel {
    ours: OwnedFd,
    passed_as: PassedAs,
    connections: mpsc::UnboundedReceiver<Box<dyn HandedConnection>>,
    commands: mpsc::UnboundedReceiver<ChannelCommand>,
    worker: WorkerContext,
}

/// The worker at the other end of a channel, and the receiver of its events.
struct WorkerContext {
    /// The inode of the worker's end.
    inode: u64,
    pool: Arc<Pool>,
    upstream: Arc<Upstream>,
    events: Box<dyn Fn(ChannelEvent) + Send>,
    /// Permits for the events that wait for the supervisor.
    event_permits: Arc<Semaphore>,
}

/// The result of [`open`].
pub struct OpenedChannel {
    /// The channel, to be run on a data thread.
    pub channel: Channel,
    /// The worker's end, which becomes its descriptor [`WORKER_FD`].
    pub theirs: OwnedFd,
    /// The handle for its supervisor.
    pub handle: ChannelHandle,
}

/// Makes the channel of a worker that is about to start, and gives the worker's upstream the sender for handing
/// connections over.
///
/// # Errors
///
/// There is no free descriptor.
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
    /// Hands connections over and reads the worker's reports until the worker is gone. Not cancel safe: connections
    /// that it holds are dropped.
    pub async fn run(self) {
        match self.passed_as {
            PassedAs::Node => task::run(self, node_protocol::NodeProtocol::default()).await,
            _ => task::run(self, native::NativeProtocol::default()).await,
        }
    }
}

impl WorkerContext {
    /// Reports an event of a Node worker. All events of one read are reported, so the limit may be exceeded by those.
    fn tell_node(&self, event: node::NodeEvent) {
        let permit = Arc::clone(&self.event_permits).try_acquire_owned().ok();
        (self.events)(ChannelEvent::Node(event, EventPermit { _permit: permit }));
    }

    /// Returns true while the supervisor has too many events of this worker waiting.
    fn is_behind(&self) -> bool {
        self.event_permits.available_permits() == 0
    }

    /// Notes that the worker could not take a connection because it has no free descriptor.
    fn has_no_descriptor(&self) {
        drop(Limited::begin(&self.pool, AcceptLimit::WorkerOpenFiles));
    }

    /// Returns true if another worker in rotation would take a connection sooner than this one. Where all have equally
    /// much to do, moving a connection helps no client.
    fn has_alternative(&self) -> bool {
        // With sticky sessions the clients belong to their worker as long as it is in rotation.
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
