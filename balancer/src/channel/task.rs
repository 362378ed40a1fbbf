//! The task that owns a channel, whatever its protocol.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;

use rustix::net::{Shutdown, shutdown};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::pending::PendingTable;
use super::rate_limit::MessageRate;
use super::socket::{self, Received};
use super::{BATCH, Channel, ChannelCommand, ChannelEvent, LOOK, PATIENCE, READY, Unsent, WORKER_FD, WorkerContext};
use crate::os::limits::is_exhausted;
use crate::os::worker_socket::worker_socket;
use crate::rotation::HandedConnection;
use crate::stats::{ConnectError, Outcome};

/// The number of bytes of a message that are passed on.
const MOST_TOLD: usize = 1024;
/// The number of different complaints about one worker that are reported.
const MOST_COMPLAINTS: usize = 16;

/// The parts common to both protocols: the socket, the connections handed over, the pending pings.
pub(super) struct Core {
    pub(super) worker: WorkerContext,
    pub(super) socket: AsyncFd<OwnedFd>,
    pub(super) pending: PendingTable,
    /// The senders of pings, by the token that the answer will carry.
    pings: Vec<(u64, oneshot::Sender<()>)>,
    last_token: u64,
    look: Option<Pin<Box<Sleep>>>,
    message_rate: MessageRate,
    /// Set while messages are left out: the time at which their number is reported.
    tell: Option<Pin<Box<Sleep>>>,
    has_said_ready: bool,
    complained: HashSet<String>,
    is_closed: bool,
    /// True if there may be more to read: reading was paused for other work.
    has_unread: bool,
    /// True if connections cannot be taken back from the worker's queue on this machine.
    is_final: bool,
}

/// The protocol of a worker's channel. Output that the socket does not take yet waits in the protocol.
pub(super) trait ChannelProtocol {
    /// The length limit of one read, in bytes.
    const LONGEST: usize;

    /// True if messages run together in a stream, instead of arriving as packets.
    const IS_STREAM: bool;

    /// Hands over the connection of that number; the worker's answer comes to [`ChannelProtocol::on_received`].
    fn give(&mut self, core: &mut Core, id: u64);

    /// Asks the worker for a sign of life; the answer comes as [`Core::ponged`] with this token or a later one.
    fn ping(&mut self, token: u64);

    /// Sends a JSON value to the worker's program.
    fn message(&mut self, json: &str) -> Result<(), Unsent>;

    /// Handles a command that only this protocol knows.
    fn handle(&mut self, core: &mut Core, command: ChannelCommand);

    /// Handles bytes that were read.
    fn on_received(&mut self, core: &mut Core, bytes: &[u8], received: &Received);

    /// Writes the waiting output as far as the socket takes it.
    fn flush(&mut self, core: &mut Core);

    /// Returns true if data waits to be written.
    fn has_more(&self) -> bool;

    /// Takes connections back from the worker, by reading its unread queue at `end`. Returns those connections, and
    /// those that were not written yet. Everything else that was read is sent again.
    fn reclaim(&mut self, core: &mut Core, end: &OwnedFd, buffer: &mut [u8]) -> Vec<u64>;

    /// The worker has closed its end, so waiting output is dropped. Returns the connections in it.
    fn close(&mut self) -> Vec<u64>;
}

/// Runs a channel until the worker is gone.
pub(super) async fn run<D: ChannelProtocol>(channel: Channel, mut protocol: D) {
    let Channel { ours, mut connections, mut commands, worker, .. } = channel;
    #[expect(deprecated, reason = "its successor is unsafe for types that change their descriptor; this one keeps it")]
    let socket = match AsyncFd::new(ours) {
        Ok(socket) => socket,
        Err(error) => {
            // Too little memory to watch one more socket. Connections for this worker are refused.
            (worker.events)(ChannelEvent::Strange(format!("the worker's channel cannot be watched: {error}")));
            return (worker.events)(ChannelEvent::Closed);
        }
    };
    let event_permits = Arc::clone(&worker.event_permits);
    let mut core = Core::new(worker, socket);
    let mut buffer = vec![0; D::LONGEST + 1].into_boxed_slice();
    let outcome = loop {
        let is_behind = core.worker.is_behind();
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(ChannelCommand::Ended { was_asked: false }) => break Outcome::UpstreamReset,
                // `None`: the master ends.
                Some(ChannelCommand::Ended { was_asked: true }) | None => break Outcome::Cut,
                Some(command) => core.handle(&mut protocol, command),
            },
            // Timers come first: a worker that sends without end, or an endless row of clients, is always ready.
            () = due(&mut core.look) => core.look(&mut protocol, &mut buffer),
            () = due(&mut core.tell) => core.tell_left_out(),
            Some(connection) = connections.recv() => {
                core.take_in(&mut protocol, connection);
                for connection in std::iter::from_fn(|| connections.try_recv().ok()).take(BATCH) {
                    core.take_in(&mut protocol, connection);
                }
                protocol.flush(&mut core);
            }
            ready = core.socket.writable(), if !core.is_closed && protocol.has_more() => {
                if let Ok(mut ready) = ready {
                    ready.clear_ready();
                }
                protocol.flush(&mut core);
            }
            // A worker that sends queries faster than its supervisor answers has to wait: its socket is not read.
            _ = event_permits.acquire(), if is_behind => {}
            ready = core.socket.readable(), if !core.is_closed && !is_behind => {
                if let Ok(mut ready) = ready {
                    ready.clear_ready();
                }
                core.listen(&mut protocol, &mut buffer);
                protocol.flush(&mut core);
            }
            // A worker that sends without end must not keep this thread from its other work.
            () = yield_now(), if core.has_unread && !core.is_closed && !is_behind => {
                core.listen(&mut protocol, &mut buffer);
                protocol.flush(&mut core);
            }
        }
    };
    core.end(&mut protocol, &mut buffer, connections, outcome);
}

/// Returns the beginning of a message, long enough to recognize it. A worker may send megabytes many times a second.
fn beginning(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MOST_TOLD));
    message
}

async fn due(look: &mut Option<Pin<Box<Sleep>>>) {
    match look {
        Some(sleep) => sleep.as_mut().await,
        None => std::future::pending().await,
    }
}

impl Core {
    fn new(worker: WorkerContext, socket: AsyncFd<OwnedFd>) -> Self {
        Self {
            worker,
            socket,
            pending: PendingTable::default(),
            pings: Vec::new(),
            last_token: 0,
            look: None,
            message_rate: MessageRate::default(),
            tell: None,
            has_said_ready: false,
            complained: HashSet::new(),
            is_closed: false,
            has_unread: false,
            is_final: false,
        }
    }

    fn take_in(&mut self, protocol: &mut impl ChannelProtocol, connection: Box<dyn HandedConnection>) {
        if self.is_closed {
            return connection.returned(ConnectError::Refused);
        }
        let id = self.pending.add(connection, Instant::now());
        protocol.give(self, id);
        self.look.get_or_insert_with(|| Box::pin(sleep(LOOK)));
    }

    fn handle(&mut self, protocol: &mut impl ChannelProtocol, command: ChannelCommand) {
        match command {
            ChannelCommand::Ping(reply) if !self.is_closed => {
                self.last_token += 1;
                self.pings.retain(|(_, asker)| !asker.is_closed());
                self.pings.push((self.last_token, reply));
                protocol.ping(self.last_token);
            }
            // Dropping the sender tells the asker that there will be no answer.
            ChannelCommand::Ping(_) => {}
            ChannelCommand::Message(_, reply) if self.is_closed => drop(reply.send(Err(Unsent::Closed))),
            ChannelCommand::Message(json, reply) => {
                let said = protocol.message(&json);
                if said.is_ok() {
                    self.worker.upstream.stats.messages_to.increment();
                }
                let _ = reply.send(said);
            }
            command => protocol.handle(self, command),
        }
        protocol.flush(self);
    }

    /// Records a sign that the worker reads its channel: it took a connection, or answered.
    pub(super) fn reads(&self) {
        self.worker.upstream.set_stalled(false);
    }

    /// Answers the ping with that token, and all earlier ones.
    pub(super) fn ponged(&mut self, token: u64) {
        self.reads();
        let (answered, waiting) = std::mem::take(&mut self.pings).into_iter().partition(|(asked, _)| *asked <= token);
        self.pings = waiting;
        let answered: Vec<(u64, oneshot::Sender<()>)> = answered;
        for (_, asker) in answered {
            let _ = asker.send(());
        }
    }

    /// Passes on a message of the worker's program, within the rate limit.
    pub(super) fn said(&mut self, json: String) {
        self.worker.upstream.stats.messages_from.increment();
        let is_first_ready = json == READY && !std::mem::replace(&mut self.has_said_ready, true);
        match self.message_rate.said(Instant::now(), is_first_ready) {
            None => (self.worker.events)(ChannelEvent::Message(beginning(json))),
            Some(until) => drop(self.tell.get_or_insert_with(|| Box::pin(sleep_until(until)))),
        }
    }

    fn tell_left_out(&mut self) {
        self.tell = None;
        if let left_out @ 1.. = self.message_rate.take_left_out() {
            (self.worker.events)(ChannelEvent::LeftOut(left_out));
        }
    }

    /// Reports each fault of a worker once.
    pub(super) fn complain(&mut self, what: String) {
        if self.complained.len() < MOST_COMPLAINTS && self.complained.insert(what.clone()) {
            (self.worker.events)(ChannelEvent::Strange(what));
        }
    }

    /// Reads what the worker has sent, at most a batch, so that the thread has time for other channels, too.
    fn listen<D: ChannelProtocol>(&mut self, protocol: &mut D, buffer: &mut [u8]) {
        self.has_unread = false;
        for _ in 0..BATCH {
            match socket::receive(self.socket.get_ref(), buffer) {
                Ok(Received { length: 0, .. }) => return self.close(protocol),
                Ok(received) => {
                    let bytes = buffer.get(..received.length).unwrap_or_default();
                    protocol.on_received(self, bytes, &received);
                    if self.worker.is_behind() {
                        break;
                    }
                    // A stream that gave less than the buffer holds is empty, unless a descriptor cut the read short.
                    if D::IS_STREAM && received.length < buffer.len() && received.descriptors.is_empty() {
                        return;
                    }
                }
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return,
                Err(_) => return self.close(protocol),
            }
        }
        self.has_unread = true;
    }

    /// Handles the close of the worker's end. The worker may still have read what was sent before; only the end of its
    /// process settles that.
    pub(super) fn close(&mut self, protocol: &mut impl ChannelProtocol) {
        if std::mem::replace(&mut self.is_closed, true) {
            return;
        }
        self.pings.clear();
        for id in protocol.close() {
            self.pending.returned(id, ConnectError::Refused);
        }
        (self.worker.events)(ChannelEvent::Closed);
    }

    /// Checks if the worker leaves connections unread that another worker could take.
    fn look(&mut self, protocol: &mut impl ChannelProtocol, buffer: &mut [u8]) {
        self.look = None;
        let Some(oldest) = self.pending.oldest() else { return };
        self.look = Some(Box::pin(sleep(LOOK)));
        if oldest.elapsed() >= PATIENCE && !self.is_final && !self.is_closed && self.worker.has_alternative() {
            self.reclaim(protocol, buffer);
        }
        // Retries a send that failed for lack of something other than socket space: no event reports its return.
        protocol.flush(self);
    }

    /// Gives connections that the worker has not read to others. The answer to a ping shows when it reads again.
    fn reclaim(&mut self, protocol: &mut impl ChannelProtocol, buffer: &mut [u8]) {
        let Some(process) = self.worker.upstream.process() else { return };
        let slot = self.worker.upstream.slot;
        let end = match worker_socket(process, WORKER_FD, self.worker.inode) {
            Ok(end) => end,
            Err(error) => {
                self.is_final = !is_exhausted(&error);
                tracing::debug!(%slot, %error, "cannot take back the connections that this worker leaves unread");
                return;
            }
        };
        let back = protocol.reclaim(self, &end, buffer);
        drop(end);
        if back.is_empty() {
            return;
        }
        // Set before the connections go back, so that this worker does not get them again.
        self.worker.upstream.set_stalled(true);
        protocol.ping(self.last_token);
        tracing::debug!(%slot, connections = back.len(), "connections taken back from a worker that did not read");
        for id in back {
            self.pending.returned(id, ConnectError::Timeout);
        }
    }

    /// Ends the channel: the worker is gone, or the master ends. Everything that the worker sent is read first.
    fn end(
        &mut self,
        protocol: &mut impl ChannelProtocol,
        buffer: &mut [u8],
        mut connections: mpsc::UnboundedReceiver<Box<dyn HandedConnection>>,
        outcome: Outcome,
    ) {
        // Stops further input: another process may hold the worker's end, and send without end.
        let _ = shutdown(self.socket.get_ref(), Shutdown::Read);
        self.has_unread = true;
        while self.has_unread && !self.is_closed {
            self.listen(protocol, buffer);
        }
        self.tell_left_out();
        connections.close();
        while let Ok(connection) = connections.try_recv() {
            connection.returned(ConnectError::Reset);
        }
        self.pending.clear(outcome);
    }
}
