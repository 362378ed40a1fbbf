//! The accept loop: one for each public listener on each data thread.
//!
//! It waits until the listener has something, takes a permit and *then* accepts. So no idle loop sits on a permit that
//! another needs, and what is over the limit stays in the kernel's backlog.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connection::Connection;
use super::handoff::Handoff;
use super::lane::{Lane, Tally, Ticket};
use crate::config::Address;
use crate::mode::Inherits;
use crate::net::conns;
use crate::net::listeners::Listener;
use crate::net::stream::{Family, reset_at_close};
use crate::pool::Limited;
use crate::rotation::Gate;
use crate::stats::{AcceptError, AcceptLimit, Refusal};

/// Accepts in a row before other tasks of the thread run.
const BATCH: usize = 16;
/// How soon workers are looked at again that have no room for what they would be handed.
const CROWDED: Duration = Duration::from_millis(5);
/// How soon another connection is asked to make room, when the last one could not.
const RECLAIM: Duration = Duration::from_millis(50);
/// How long accepting rests when descriptors or memory are used up.
const PAUSE: Duration = Duration::from_millis(50);

/// A client's socket as it comes from the queue, non-blocking.
pub(super) struct Accepted {
    pub(super) socket: OwnedFd,
    pub(super) family: Family,
    /// The client's address; a client on a unix socket has none.
    pub(super) peer: Option<SocketAddr>,
}

/// How a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The queue is empty.
    Empty,
    /// There may be more.
    More,
    /// No permit is left.
    Full,
    /// Every worker has as many as it may that it has not taken: more wait in the kernel.
    Crowded,
    /// No descriptor or memory is left.
    Exhausted,
}

/// What happens to what is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Serve,
    TurnAway(Refusal),
}

/// Accepts from one listener for one lane.
pub(super) struct AcceptLoop {
    lane: Arc<Lane>,
    listener: AsyncFd<Listener>,
    family: Family,
    stop: CancellationToken,
    door: Door,
    is_handed_over: bool,
    /// Dropped last: the listener is closed when a drain hears of it.
    _running: Running,
}

/// What the loops of one listener share, to be told when it is not wanted any more.
#[derive(Clone)]
pub(super) struct Door {
    /// Its number among the pool's public listeners; all that the rules name have the same.
    pub(super) number: u32,
    /// Cancelled when the listener is to be emptied and closed.
    pub(super) retired: CancellationToken,
    /// Says that it is closed when the last loop drops it.
    pub(super) _closed: Arc<DropGuard>,
}

impl AcceptLoop {
    /// Registers the listener with the runtime that is entered; `stop` ends it at once, `door` when its queue is empty.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch the listener.
    pub(super) fn new(lane: Arc<Lane>, listener: Listener, stop: CancellationToken, door: Door) -> io::Result<Self> {
        let running = Running::begin(&lane);
        let family = match listener.address() {
            Address::Tcp(_) | Address::Passed(_) => Family::Tcp,
            Address::Unix(_) => Family::Unix,
        };
        // tokio's own listeners register what they accept at once; here the client's first bytes are read before that.
        #[expect(deprecated, reason = "its successor is unsafe for types that change their descriptor; ours keeps one")]
        let listener = AsyncFd::with_interest(listener, tokio::io::Interest::READABLE)?;
        let is_handed_over = lane.pool.mode.inherits() == Inherits::Channel;
        Ok(Self { lane, listener, family, stop, door, is_handed_over, _running: running })
    }

    /// Accepts until the gate closes or the listener is retired, and the queue is empty, or until it is stopped; then closes
    /// the listener. A retired one with clients in its queue waits at a held gate as any other: they wait for a worker too.
    pub(super) async fn run(self) {
        let mut gate = self.lane.pool.rotation.gate();
        let mut last = Turn::More;
        let mut limited: Option<Limited> = None;
        loop {
            let now = *gate.borrow_and_update();
            let way = match now {
                Gate::Open => Some(Way::Serve),
                Gate::Refuse => Some(Way::TurnAway(Refusal::NoWorker)),
                Gate::Hold => None,
                Gate::Closing => return self.close().await,
            };
            let is_retired = self.door.retired.is_cancelled();
            if is_retired {
                self.listener.get_ref().unlink();
                // Nobody waits here, and nobody shall come: it is not kept open for a worker that may never be ready.
                if way.is_none() && !self.listener.get_ref().has_queue() {
                    return;
                }
            }
            let is_full = last == Turn::Full && way == Some(Way::Serve);
            last = tokio::select! {
                biased;
                () = self.stop.cancelled() => return self.turn_away_rest(),
                // The pool outlives its loops, so the gate does too.
                _ = gate.changed() => Turn::More,
                () = self.door.retired.cancelled(), if !is_retired => Turn::More,
                () = self.lane.room(), if is_full => Turn::More,
                () = self.client_waits(), if is_full && limited.is_none() => Turn::Full,
                () = sleep(RECLAIM), if is_full && limited.is_some() => Turn::Full,
                turn = self.next_turn(way.unwrap_or(Way::Serve), is_retired), if way.is_some() && !is_full => turn,
            };
            if last == Turn::Full && self.listener.get_ref().has_queue() {
                // Silent clients do not lock the others out.
                conns::reclaim(self.lane.limited_pool());
            }
            let limit = match last {
                Turn::Exhausted => Some(AcceptLimit::Exhausted),
                Turn::Full if self.listener.get_ref().has_queue() => Some(self.lane.limit()),
                // One client may have come in for one that went: the next turn tells.
                Turn::More if way == Some(Way::Serve) => limited.as_ref().map(|limited| limited.limit),
                _ => None,
            };
            if limit != limited.as_ref().map(|limited| limited.limit) {
                // What begins now begins before what was ends.
                limited = limit.map(|limit| Limited::begin(&self.lane.pool, limit));
            }
            match last {
                Turn::Empty if is_retired => return,
                Turn::More => tokio::task::yield_now().await,
                Turn::Exhausted => sleep(PAUSE).await,
                Turn::Crowded => sleep(CROWDED).await,
                Turn::Empty | Turn::Full => {}
            }
        }
    }

    /// Resolves when a client waits in the queue. Cancel safe.
    async fn client_waits(&self) {
        while let Ok(mut ready) = self.listener.readable().await {
            if self.listener.get_ref().has_queue() {
                return;
            }
            ready.clear_ready();
        }
    }

    /// Waits for the listener unless it is retired, then accepts one batch. Cancel safe: the batch itself does not wait.
    async fn next_turn(&self, way: Way, is_retired: bool) -> Turn {
        if is_retired {
            return self.batch(way);
        }
        let Ok(mut ready) = self.listener.readable().await else {
            return Turn::Exhausted;
        };
        let turn = self.batch(way);
        if turn == Turn::Empty {
            ready.clear_ready();
        }
        turn
    }

    fn batch(&self, way: Way) -> Turn {
        for _ in 0..BATCH {
            if way == Way::Serve && self.is_crowded() {
                return Turn::Crowded;
            }
            let mut ticket = match way {
                Way::Serve => Ticket::take(&self.lane),
                Way::TurnAway(_) => None,
            };
            if way == Way::Serve && ticket.is_none() {
                return Turn::Full;
            }
            let client = match self.accept() {
                Ok(client) => client,
                Err(Turn::More) => continue,
                Err(turn) => return turn,
            };
            self.lane.pool.stats.accepted.increment();
            let is_admitted = ticket.as_mut().is_none_or(|ticket| ticket.admits(client.peer.map(|peer| peer.ip())));
            match (ticket, way) {
                (Some(_), _) if !is_admitted => self.refuse(&client, Refusal::PerSource),
                (Some(ticket), _) => self.serve(ticket, client),
                (None, Way::TurnAway(why)) => self.refuse(&client, why),
                (None, Way::Serve) => {}
            }
        }
        Turn::More
    }

    /// Whether a connection would have to wait for a worker to take what it was handed before.
    fn is_crowded(&self) -> bool {
        if !self.is_handed_over {
            return false;
        }
        let snapshot = self.lane.pool.rotation.snapshot();
        !snapshot.upstreams.is_empty() && !snapshot.upstreams.iter().any(|upstream| upstream.has_room())
    }

    fn accept(&self) -> Result<Accepted, Turn> {
        match acceptfrom_with(self.listener.as_fd(), SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok((socket, peer)) => {
                let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                Ok(Accepted { socket, family: self.family, peer })
            }
            Err(rustix::io::Errno::AGAIN) => Err(Turn::Empty),
            Err(error) => {
                let kind = classify(error);
                self.lane.pool.stats.accept_errors[kind as usize].increment();
                match kind {
                    AcceptError::Exhausted => Err(Turn::Exhausted),
                    AcceptError::Other => Err(Turn::More),
                }
            }
        }
    }

    fn serve(&self, ticket: Ticket, client: Accepted) {
        if self.is_handed_over {
            return Handoff::start(ticket, client, self.door.number);
        }
        match Connection::start(ticket, client) {
            Ok(connection) => drop(tokio::spawn(connection)),
            // Nothing but a lack of memory for one more watched socket.
            Err(_) => self.lane.pool.stats.accept_errors[AcceptError::Exhausted as usize].increment(),
        }
    }

    fn refuse(&self, client: &Accepted, why: Refusal) {
        if client.family == Family::Tcp {
            reset_at_close(client.socket.as_fd());
        }
        self.lane.pool.stats.refused[why as usize].increment();
    }

    /// Serves who waits already, then closes. Who cannot be served, since no worker is left, is turned away at once.
    async fn close(self) {
        // Nobody finds a unix listener after this; a TCP port keeps taking clients until it is closed.
        self.listener.get_ref().unlink();
        while !self.stop.is_cancelled() {
            let is_empty = self.lane.pool.rotation.snapshot().upstreams.is_empty();
            let turn = self.batch(if is_empty { Way::TurnAway(Refusal::Shutdown) } else { Way::Serve });
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = async {
                    match turn {
                        Turn::Empty => {}
                        Turn::More => tokio::task::yield_now().await,
                        Turn::Full => self.lane.room().await,
                        Turn::Crowded => sleep(CROWDED).await,
                        Turn::Exhausted => sleep(PAUSE).await,
                    }
                } => {}
            }
            if turn == Turn::Empty {
                return;
            }
        }
        self.turn_away_rest();
    }

    fn turn_away_rest(&self) {
        while self.batch(Way::TurnAway(Refusal::Shutdown)) == Turn::More {}
    }
}

/// Counts a loop as running until it is dropped.
struct Running(Arc<Tally>);

impl Running {
    fn begin(lane: &Lane) -> Self {
        lane.tally.loops.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&lane.tally))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.leave(&self.0.loops);
    }
}

/// Whether an error means a lack of something here; anything else concerns one connection only. Treating those as fatal
/// would be a switch in the hands of strangers.
fn classify(error: rustix::io::Errno) -> AcceptError {
    use rustix::io::Errno;
    match error {
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => AcceptError::Exhausted,
        _ => AcceptError::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn only_a_lack_of_descriptors_or_memory_pauses_accepting() {
        for error in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(classify(error), AcceptError::Exhausted, "{error}");
        }
        let of_one_client = [Errno::CONNABORTED, Errno::PROTO, Errno::NETDOWN, Errno::PERM, Errno::NETUNREACH];
        for error in of_one_client {
            assert_eq!(classify(error), AcceptError::Other, "{error}");
        }
    }
}
