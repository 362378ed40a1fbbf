//! Recovers the connections in the accept queue of a process that died.
//!
//! The master has both ends of such a connection. The near end is a client's relay, which has written what its client
//! sent; the worker's end was never accepted. The connection outlives the process as long as another process holds the
//! listener: the master, which made it (`inherited`) or took a duplicate of it. So the master accepts the worker's ends
//! here and gives them to other workers, with every byte.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::WorkerSlot;
use super::probe;
use crate::os::accept_queue::QueueReader;
use crate::os::duplicate::{self, AcceptEnd};
use crate::rotation::{Endpoint, Upstream};
use crate::supervisor::DataPath;

/// The pause between two looks at connects that are under way.
const LOOK: Duration = Duration::from_millis(2);
/// The longest wait for connects that are under way.
const RECOVERY: Duration = Duration::from_secs(1);
/// The most connections that are accepted in a row.
const BATCH: usize = 4096;

impl WorkerSlot {
    /// Takes a duplicate of the listener that a ready process has made, on a thread that may block on `/proc`.
    pub(super) fn take_listener_dup(&self, incarnation: u64) {
        let Some(process) = self.processes.get(&incarnation) else { return };
        // The duplicate of a TCP listener was already taken when the owner of the port was checked.
        let is_port = matches!(process.context.upstream.endpoint, Endpoint::Tcp(_));
        let is_wanted = process.context.config.recover_queue && process.private.listener.is_none() && !is_port;
        let (Some(pid), true, true) = (process.context.pid(), is_wanted, process.listener_dup.is_none()) else {
            return;
        };
        let (endpoint, report) = (process.context.upstream.endpoint.clone(), process.context.reporter());
        tokio::task::spawn_blocking(move || {
            if let Some(taken) = duplicate_of(&endpoint, pid).transpose() {
                report(super::WorkerEvent::ListenerDup(taken));
            }
        });
    }

    /// Stores the duplicate of a process's listener, or logs why there is none.
    pub(in crate::supervisor) fn listener_dup(&mut self, incarnation: u64, taken: std::io::Result<OwnedFd>) {
        let name = self.name();
        let Some(process) = self.processes.get_mut(&incarnation).filter(|process| process.drain.is_none()) else {
            return;
        };
        match taken {
            Ok(listener) => process.listener_dup = Some(listener),
            Err(error) => {
                tracing::debug!(worker = %name, %error, "no duplicate of the worker's listener: if the worker dies, the clients in its queue are lost")
            }
        }
    }
}

fn duplicate_of(endpoint: &Endpoint, pid: u32) -> std::io::Result<Option<OwnedFd>> {
    let mut reader = QueueReader::new()?;
    let listening = match endpoint {
        Endpoint::Unix(path) | Endpoint::UnixOf(path, _) => reader.unix(path)?,
        Endpoint::Tcp(_) | Endpoint::Inherited | Endpoint::Channel => return Ok(None),
    };
    let Some(first) = listening.first() else { return Ok(None) };
    duplicate::duplicate_listener(pid, first.inode).map(Some)
}

/// Accepts the connections that wait at `listener`, whose process is dead, until no connect to it is under way any
/// more, and hands them on.
pub(super) async fn recover(listener: Arc<OwnedFd>, upstream: Arc<Upstream>, data_path: Arc<dyn DataPath>) {
    let recovered = empty(&listener, &upstream).await;
    if !recovered.is_empty() {
        tracing::info!(slot = %upstream.slot, connections = recovered.len(), "recovered clients from a dead worker's queue");
    }
    data_path.worker_exited(upstream.slot, upstream.incarnation, recovered);
}

/// Takes back the connections in the queue of a process that lives, is out of rotation and too busy to take them, or ends.
/// Connections that the process takes meanwhile stay with it: each connection is accepted once.
pub(super) async fn recall(listener: Arc<OwnedFd>, upstream: Arc<Upstream>, data_path: Arc<dyn DataPath>, sources: u8) {
    let of = Arc::clone(&upstream);
    let mut taking = tokio::task::spawn_blocking(move || take_beside(&listener, &of));
    let taken = loop {
        match tokio::time::timeout(2 * RECOVERY, &mut taking).await {
            Ok(taken) => break taken.unwrap_or_default(),
            // The worker was faster, and the `accept` blocks until the next connection: this makes one.
            Err(_) => drop(probe::connect(&upstream.endpoint, sources).await),
        }
    };
    if !taken.is_empty() {
        tracing::info!(slot = %upstream.slot, connections = taken.len(), "moved clients out of a living worker's queue");
        data_path.recall(upstream.slot, upstream.incarnation, taken);
    }
}

/// Accepts beside the worker until none waits and no connect to it is under way any more.
fn take_beside(listener: &OwnedFd, upstream: &Upstream) -> Vec<OwnedFd> {
    let deadline = Instant::now() + RECOVERY;
    let mut taken = Vec::new();
    loop {
        let is_last = upstream.connecting() == 0 || Instant::now() >= deadline;
        let accepted = duplicate::accept_beside(listener, BATCH);
        taken.extend(accepted.connections.into_iter().map(|(socket, _)| socket));
        if is_last || taken.len() >= BATCH {
            return taken;
        }
        std::thread::sleep(LOOK);
    }
}

/// Accepts the connections that wait at `listener`, which no process holds any more, until it is empty and no connect
/// to it is under way.
async fn empty(listener: &OwnedFd, upstream: &Upstream) -> Vec<OwnedFd> {
    let deadline = Instant::now() + RECOVERY;
    let mut recovered = Vec::new();
    loop {
        // The counter is read first: a connect that ends after that is seen by the next look.
        let is_late = Instant::now() >= deadline;
        let is_last = upstream.connecting() == 0 || is_late;
        let accepted = duplicate::accept_all(listener, BATCH).unwrap_or_else(|error| duplicate::Accepted {
            connections: Vec::new(),
            broken: 0,
            end: AcceptEnd::Refused(error),
        });
        recovered.extend(accepted.connections.into_iter().map(|(socket, _)| socket));
        match accepted.end {
            AcceptEnd::Limit if !is_late => tokio::task::yield_now().await,
            AcceptEnd::Limit => break,
            AcceptEnd::Empty if is_last => break,
            AcceptEnd::Empty => tokio::time::sleep(LOOK).await,
            // Other users of descriptors may free some.
            AcceptEnd::Refused(_) if !is_late => tokio::time::sleep(LOOK).await,
            AcceptEnd::Refused(error) => {
                tracing::error!(slot = %upstream.slot, %error, "cannot accept the clients in a dead worker's queue");
                break;
            }
        }
    }
    recovered
}
