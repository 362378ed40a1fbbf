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

use super::context::ProcessContext;
use super::endpoint::PrivateEndpoint;
use super::probe;
use crate::os::accept_queue::QueueReader;
use crate::os::duplicate::{self, AcceptEnd};
use crate::rotation::{Endpoint, Upstream};
use crate::supervisor::{DataPath, WorkerEvent};

/// The pause between two looks at connects that are under way.
const LOOK: Duration = Duration::from_millis(2);
/// The longest wait for connects that are under way.
const RECOVERY: Duration = Duration::from_secs(1);
/// The most connections that are accepted in a row.
const BATCH: usize = 4096;

/// The listener of one process, as far as the master holds it too.
pub(super) struct WorkerListener {
    private: PrivateEndpoint,
    /// A duplicate of the listener that the process made: with it waiting clients can be saved if the process dies.
    duplicate: Option<OwnedFd>,
}

impl WorkerListener {
    pub(super) fn new(private: PrivateEndpoint) -> Self {
        Self { private, duplicate: None }
    }

    /// The address at which the program makes a listener of its own: none if the master made it. A listener that the
    /// program was handed is not one that it has opened.
    pub(super) fn opened_by_program(&self) -> &Endpoint {
        if self.is_inherited() { &Endpoint::Inherited } else { &self.private.endpoint }
    }

    /// Returns true if the master made the listener, and the process inherits it.
    pub(super) fn is_inherited(&self) -> bool {
        self.private.listener.is_some()
    }

    /// Returns true if the master holds a duplicate of the listener that the process made.
    pub(super) fn has_duplicate(&self) -> bool {
        self.duplicate.is_some()
    }

    /// Stores a duplicate of the listener that the process made.
    pub(super) fn hold(&mut self, duplicate: OwnedFd) {
        self.duplicate = Some(duplicate);
    }

    /// Closes the duplicate: the process will close its listener, and a duplicate would keep the port alive.
    pub(super) fn release(&mut self) {
        self.duplicate = None;
    }

    /// Takes a duplicate of the listener that a ready process has made, on a thread that may block on `/proc`.
    pub(super) fn duplicate(&self, process: &ProcessContext) {
        // The duplicate of a TCP listener was already taken when the owner of the port was checked.
        let is_port = matches!(process.upstream.endpoint, Endpoint::Tcp(_));
        let is_wanted = process.config.recover_queue && !self.is_inherited() && !is_port;
        let (Some(pid), true, false) = (process.pid(), is_wanted, self.has_duplicate()) else { return };
        let (endpoint, report) = (process.upstream.endpoint.clone(), process.reporter());
        tokio::task::spawn_blocking(move || {
            if let Some(taken) = duplicate_of(&endpoint, pid).transpose() {
                report(WorkerEvent::ListenerDup(taken));
            }
        });
    }

    /// Has other workers answer the clients in the queue of a process that is out of rotation and will not get to them.
    /// The duplicate goes with it: it would keep open a listener from which no process accepts.
    pub(super) fn recall(&mut self, process: &ProcessContext) {
        if let Some(listener) = self.take() {
            let data_path = Arc::clone(&process.shared.data_path);
            let sources = process.config.source_addresses;
            tokio::spawn(recall(listener, Arc::clone(&process.upstream), data_path, sources));
        }
    }

    /// Gives the clients in the queue of an exited process to other workers, if the master holds the listener.
    pub(super) fn recover(&mut self, process: &ProcessContext) {
        let data_path = Arc::clone(&process.shared.data_path);
        match self.take() {
            Some(listener) => drop(tokio::spawn(recover(listener, Arc::clone(&process.upstream), data_path))),
            None => data_path.worker_exited(process.slot(), process.incarnation(), Vec::new()),
        }
    }

    /// Returns the listener if the master holds it. A duplicate is given away.
    fn take(&mut self) -> Option<Arc<OwnedFd>> {
        let own = self.private.listener.clone();
        own.or_else(|| self.duplicate.take().map(Arc::new))
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
async fn recover(listener: Arc<OwnedFd>, upstream: Arc<Upstream>, data_path: Arc<dyn DataPath>) {
    let recovered = empty(&listener, &upstream).await;
    if !recovered.is_empty() {
        tracing::info!(slot = %upstream.slot, connections = recovered.len(), "recovered clients from a dead worker's queue");
    }
    data_path.worker_exited(upstream.slot, upstream.incarnation, recovered);
}

/// Takes back the connections in the queue of a process that lives, is out of rotation and too busy to take them, or ends.
/// Connections that the process takes meanwhile stay with it: each connection is accepted once.
async fn recall(listener: Arc<OwnedFd>, upstream: Arc<Upstream>, data_path: Arc<dyn DataPath>, sources: u8) {
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
