//! One batch of an accept loop: permit, accept, and serve or reject. It never waits.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};

use super::AcceptLoop;
use crate::dispatch::handed::Handoff;
use crate::dispatch::relayed::Connection;
use crate::dispatch::shard::ConnectionPermit;
use crate::net::stream::{Family, reset_at_close};
use crate::os::limits::is_exhausted;
use crate::stats::{AcceptError, Rejection};

/// The number of accepts in a row before other tasks of the thread run.
const BATCH: usize = 16;

/// A client's socket as it comes from the queue, non-blocking.
pub(in crate::dispatch) struct Accepted {
    pub(in crate::dispatch) socket: OwnedFd,
    pub(in crate::dispatch) family: Family,
    /// The client's address; a client on a unix socket has none.
    pub(in crate::dispatch) peer: Option<SocketAddr>,
}

/// The end of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchResult {
    /// The queue is empty.
    Empty,
    /// There may be more.
    More,
    /// No permit is left.
    Full,
    /// Every worker has as many pending connections as it may have. Further clients wait in the kernel's backlog.
    Crowded,
    /// No descriptor or memory is left.
    Exhausted,
}

/// The action for an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AcceptAction {
    Serve,
    Reject(Rejection),
}

impl AcceptLoop {
    /// Waits for the listener unless it is retired, then accepts one batch. Cancel safe: the batch itself does not
    /// wait.
    pub(super) async fn next_batch(&self, action: AcceptAction, is_retired: bool) -> BatchResult {
        if is_retired {
            return self.batch(action);
        }
        let Ok(mut ready) = self.listener.readable().await else {
            return BatchResult::Exhausted;
        };
        let result = self.batch(action);
        if result == BatchResult::Empty {
            ready.clear_ready();
        }
        result
    }

    pub(super) fn batch(&self, action: AcceptAction) -> BatchResult {
        for _ in 0..BATCH {
            if action == AcceptAction::Serve && self.is_crowded() {
                return BatchResult::Crowded;
            }
            let mut permit = match action {
                AcceptAction::Serve => ConnectionPermit::take(&self.shard),
                AcceptAction::Reject(_) => None,
            };
            if action == AcceptAction::Serve && permit.is_none() {
                return BatchResult::Full;
            }
            let client = match self.accept() {
                Ok(client) => client,
                Err(BatchResult::More) => continue,
                Err(result) => return result,
            };
            self.shard.pool.stats.accepted.increment();
            let is_admitted = permit.as_mut().is_none_or(|permit| permit.admits(client.peer.map(|peer| peer.ip())));
            match (permit, action) {
                (Some(_), _) if !is_admitted => self.reject(&client, Rejection::PerSource),
                (Some(permit), _) => self.serve(permit, client),
                (None, AcceptAction::Reject(why)) => self.reject(&client, why),
                (None, AcceptAction::Serve) => {}
            }
        }
        BatchResult::More
    }

    /// Returns true if a connection would have to wait until a worker takes earlier ones.
    fn is_crowded(&self) -> bool {
        if !self.is_handed_over {
            return false;
        }
        let snapshot = self.shard.pool.rotation.snapshot();
        !snapshot.upstreams.is_empty() && !snapshot.upstreams.iter().any(|upstream| upstream.has_room())
    }

    fn accept(&self) -> Result<Accepted, BatchResult> {
        match acceptfrom_with(self.listener.as_fd(), SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok((socket, peer)) => {
                let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                Ok(Accepted { socket, family: self.family, peer })
            }
            Err(Errno::AGAIN) => Err(BatchResult::Empty),
            Err(error) => {
                let kind = classify(error);
                self.shard.pool.stats.accept_errors[kind as usize].increment();
                match kind {
                    AcceptError::Exhausted => Err(BatchResult::Exhausted),
                    AcceptError::Other => Err(BatchResult::More),
                }
            }
        }
    }

    fn serve(&self, permit: ConnectionPermit, client: Accepted) {
        if self.is_handed_over {
            return Handoff::start(permit, client, self.handle.number);
        }
        match Connection::start(permit, client) {
            Ok(connection) => drop(tokio::spawn(connection)),
            // The runtime has no memory to watch one more socket.
            Err(_) => self.shard.pool.stats.accept_errors[AcceptError::Exhausted as usize].increment(),
        }
    }

    fn reject(&self, client: &Accepted, why: Rejection) {
        if client.family == Family::Tcp {
            reset_at_close(client.socket.as_fd());
        }
        self.shard.pool.stats.rejected[why as usize].increment();
    }
}

/// Returns the class of an accept error: a resource of ours is used up, or one connection failed. A failed connection
/// does not stop the loop, since any client can cause that.
fn classify(error: Errno) -> AcceptError {
    if is_exhausted(&error.into()) { AcceptError::Exhausted } else { AcceptError::Other }
}

#[cfg(test)]
mod tests {
    use super::*;

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
