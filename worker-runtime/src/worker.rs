//! The worker itself: who it is, what it accepts, how it leaves.

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::str::FromStr;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::StartError;
use crate::incoming::Incoming;
use crate::listener::Endpoint;
use crate::notify::{Notifier, NotifyError};
use crate::protocol::{ROUNDELAY_GENERATION, ROUNDELAY_POOL, ROUNDELAY_WORKER, ROUNDELAY_WORKERS};
use crate::stream::Stream;

/// A worker process, as the environment describes it.
#[derive(Debug)]
pub struct Worker {
    pool: String,
    slot: u32,
    workers: u32,
    generation: u64,
    incoming: Incoming,
    notifier: Notifier,
    draining: Draining,
    tasks: TaskTracker,
}

impl Worker {
    /// Listens as the environment says and begins to watch for SIGTERM. Call once in a process.
    ///
    /// Without a master the worker is slot 0 of 1 in a pool called `worker`; `PORT` has to be set then.
    ///
    /// # Errors
    ///
    /// If there is nothing to listen on, the address is taken, or a variable of the contract makes no sense.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its I/O and time drivers (`enable_all`), as all of tokio does.
    pub async fn from_env() -> Result<Self, StartError> {
        let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signal)?;
        let worker = Self::open(&|name: &str| std::env::var_os(name)).await?;
        let draining = worker.draining();
        tokio::spawn(async move {
            terminate.recv().await;
            draining.begin();
        });
        Ok(worker)
    }

    /// [`Worker::from_env`] with another environment and without the signal.
    pub(crate) async fn open(lookup: &impl Fn(&str) -> Option<OsString>) -> Result<Self, StartError> {
        let pool = lookup(ROUNDELAY_POOL).map(|pool| pool.to_string_lossy().into_owned());
        Ok(Self {
            pool: pool.unwrap_or_else(|| "worker".to_owned()),
            slot: number(lookup, ROUNDELAY_WORKER)?.unwrap_or(0),
            workers: number(lookup, ROUNDELAY_WORKERS)?.unwrap_or(1),
            generation: number(lookup, ROUNDELAY_GENERATION)?.unwrap_or(0),
            incoming: Incoming::open(lookup).await?,
            notifier: Notifier::to(lookup(crate::protocol::NOTIFY_SOCKET)),
            draining: Draining::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// The pool's name.
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// This worker's place in its pool, from 0. A replacement gets the same one, so it can name shards or files.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// How many places the pool had when this worker was started.
    pub fn workers(&self) -> u32 {
        self.workers
    }

    /// The pool's generation, which a reload bumps.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Where connections arrive; nothing once the worker drains.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell.
    pub fn endpoints(&self) -> io::Result<Vec<Endpoint>> {
        self.incoming.endpoints()
    }

    /// The next connection, or `None` for ever after draining has begun.
    ///
    /// Clients that were already waiting on an address of our own still come out before `None`; what waits on an
    /// inherited socket is left to those who share it. A connection that fails while it waits is skipped, and while
    /// descriptors have run out this waits. Cancel safe.
    ///
    /// # Errors
    ///
    /// If the listening socket itself is broken: exit, and the master starts anew.
    pub async fn accept(&mut self) -> io::Result<Option<Stream>> {
        tokio::select! {
            biased;
            () = self.draining.begun() => Ok(self.incoming.last()),
            accepted = self.incoming.next() => accepted.map(Some),
        }
    }

    /// Runs `future` as a task that [`Worker::finish`] waits for.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(future)
    }

    /// Tells the master that connections are answered from now on. Without a master, does nothing.
    ///
    /// # Errors
    ///
    /// If the master named a socket that cannot be reached; it will not count this worker as ready then.
    pub async fn ready(&self) -> Result<(), NotifyError> {
        self.notifier.ready().await
    }

    /// For status lines and heartbeats beside [`Worker::ready`].
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// Tells connections when to finish. Clones are independent of the worker's life.
    pub fn draining(&self) -> Draining {
        self.draining.clone()
    }

    /// Stops accepting, if that has not happened yet, and waits for every task of [`Worker::spawn`].
    ///
    /// Without a deadline of its own: the master has one, and ends with SIGKILL what does not finish.
    ///
    /// # Errors
    ///
    /// If the master cannot be told. The tasks have been waited for all the same.
    pub async fn finish(mut self) -> Result<(), NotifyError> {
        self.draining.begin();
        while let Some(stream) = self.incoming.last() {
            // Nobody accepts any more: closing it is all that is left. A worker that accepts until `None` has none here.
            drop(stream);
        }
        let told = self.notifier.stopping().await;
        self.tasks.close();
        self.tasks.wait().await;
        told
    }
}

/// The wish of the master that this worker finishes what it has and leaves. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Draining {
    token: CancellationToken,
}

impl Draining {
    /// Resolves when draining begins; at once if it has. Cancel safe.
    ///
    /// A worker that speaks HTTP then says `Connection: close`, since a kept connection would never end by itself.
    pub async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// Whether draining has begun. It never ends.
    pub fn has_begun(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Begins draining, as SIGTERM does: for a worker that leaves of its own accord.
    pub fn begin(&self) {
        self.token.cancel();
    }
}

fn number<T: FromStr>(lookup: &impl Fn(&str) -> Option<OsString>, name: &'static str) -> Result<Option<T>, StartError> {
    let Some(value) = lookup(name) else { return Ok(None) };
    let number = value.to_str().and_then(|value| value.parse().ok());
    number.map(Some).ok_or_else(|| StartError::variable(name, &value, "a whole number"))
}

#[cfg(test)]
mod tests;
