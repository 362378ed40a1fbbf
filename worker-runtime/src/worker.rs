//! The worker: its identity from the environment, its connections, and its graceful shutdown.

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::draining::Draining;
use crate::error::StartError;
use crate::heartbeat::Heartbeat;
use crate::incoming::Incoming;
use crate::listener::Endpoint;
use crate::notify::{Notifier, NotifyError};
use crate::protocol::{ROUNDELAY_GENERATION, ROUNDELAY_POOL, ROUNDELAY_WORKER, ROUNDELAY_WORKERS};
use crate::stream::Stream;

/// The time for which an exiting worker tries to report to a master that does not read.
const COURTESY: Duration = Duration::from_secs(1);

/// This worker process, as the environment describes it.
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
    /// Sends heartbeats for as long as the worker exists, also while it drains.
    _heartbeat: Option<Heartbeat>,
}

impl Worker {
    /// Listens as the environment says and begins to catch SIGTERM. Call it once in a process.
    ///
    /// If the master hands connections over (`ROUNDELAY_CHANNEL_FD`), connections come from the master and the worker
    /// does not listen. Otherwise inherited sockets (`LISTEN_FDS`) win over `PORT`. `PORT` is a port number on `HOST`
    /// (default `127.0.0.1`; port 0 is any free port), or the absolute path of a unix socket to be made. An existing
    /// file at that path is never replaced. Without a master the worker is slot 0 of 1 in a pool named `worker`:
    /// `PORT=3000 ./worker` is enough.
    ///
    /// If the supervisor asks for heartbeats (`WATCHDOG_USEC`, in microseconds), a task of this runtime sends
    /// `WATCHDOG=1` at a quarter of that interval until the worker has finished. The heartbeat proves that the
    /// runtime's loop runs, not that your code is right. A deadlock between tasks does not stop it. On a runtime with
    /// many threads, one blocked thread does not stop it either.
    ///
    /// Not cancel safe: if the future is dropped half-way, this process cannot use its inherited descriptors any more.
    ///
    /// # Errors
    ///
    /// Fails if there is nothing to listen on, the address is taken, or a variable of the worker contract is invalid.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with its I/O and time drivers (`enable_all`), as all of tokio does.
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

    /// Does the same as [`Worker::from_env`] with another environment, and without catching SIGTERM.
    pub(crate) async fn open(lookup: &impl Fn(&str) -> Option<OsString>) -> Result<Self, StartError> {
        let draining = Draining::default();
        let incoming = Incoming::open(lookup, &draining).await?;
        Self::with(incoming, draining, lookup)
    }

    /// Makes a worker that gets its connections over this socket, in an otherwise empty environment.
    #[cfg(test)]
    pub(crate) fn over(channel: std::os::fd::OwnedFd) -> Self {
        let draining = Draining::default();
        let incoming = crate::channel::Channel::over(channel, &draining).map(Incoming::Channel).expect("a channel");
        Self::with(incoming, draining, &|_: &str| None).expect("a worker")
    }

    fn with(
        incoming: Incoming,
        draining: Draining,
        lookup: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, StartError> {
        let notifier = Notifier::to(lookup(crate::protocol::NOTIFY_SOCKET));
        let pool = lookup(ROUNDELAY_POOL).map(|pool| pool.to_string_lossy().into_owned());
        Ok(Self {
            pool: pool.unwrap_or_else(|| "worker".to_owned()),
            slot: number(lookup, ROUNDELAY_WORKER)?.unwrap_or(0),
            workers: number(lookup, ROUNDELAY_WORKERS)?.unwrap_or(1),
            generation: number(lookup, ROUNDELAY_GENERATION)?.unwrap_or(0),
            incoming,
            _heartbeat: Heartbeat::start(lookup, &notifier)?,
            notifier,
            draining,
            tasks: TaskTracker::new(),
        })
    }

    /// Returns the name of the pool.
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// Returns this worker's slot in its pool, from 0. A replacement process gets the same slot, so a slot can name
    /// shards or files.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// Returns the number of slots that the pool had when this worker was started.
    pub fn workers(&self) -> u32 {
        self.workers
    }

    /// Returns the pool's generation, which each reload increases.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the sources of connections. Empty once the worker drains.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does not return an address.
    pub fn endpoints(&self) -> io::Result<Vec<Endpoint>> {
        self.incoming.endpoints()
    }

    /// Returns the next connection. After draining has begun, returns `None` for ever once the waiting connections are
    /// accepted.
    ///
    /// While the worker drains:
    ///
    /// - clients that wait on an address of this worker are still accepted before `None`. Only then is the address
    ///   closed;
    /// - clients that wait on an inherited socket are left to the other processes that share it;
    /// - connections that the master has handed over are still accepted before `None`. Those that the master sends
    ///   after `None` are refused, so that the master gives them to another worker.
    ///
    /// The end of the master's channel, which is the end of the master, begins the drain. A connection that fails while
    /// it waits is skipped. While descriptors have run out this function waits, but while draining only 5 s in all.
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// Fails if the listening socket itself is broken. Exit then; the master starts the worker again.
    pub async fn accept(&mut self) -> io::Result<Option<Stream>> {
        tokio::select! {
            biased;
            () = self.draining.begun() => Ok(self.incoming.last().await),
            accepted = self.incoming.next() => accepted.map(Some),
        }
    }

    /// Runs `future` as a task for which [`Worker::finish`] waits. Dropping the handle does not end the task.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(future)
    }

    /// Tells the master that this worker answers connections from now on, and that it drains at SIGTERM. Sends
    /// `READY=1` and [`X_ROUNDELAY_DRAIN`](crate::protocol::X_ROUNDELAY_DRAIN)`=signal` in one datagram. Without a
    /// master, does nothing. Cancel safe.
    ///
    /// With this the worker promises to drain at the signal: its connections end by themselves, for HTTP by
    /// `Connection: close`, and no connection is cut because the signal came early.
    ///
    /// # Errors
    ///
    /// Fails if the master named a socket that cannot be reached. The master then does not count this worker as ready.
    pub async fn ready(&self) -> Result<(), NotifyError> {
        self.notifier.ready_and_drains().await
    }

    /// Returns the notifier, for status lines beside [`Worker::ready`]. Clone it to report from a task.
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// Returns the signal that tells connections when to finish. It stays valid after the worker is gone.
    pub fn draining(&self) -> Draining {
        self.draining.clone()
    }

    /// Returns the messages between the program and the master. Only a master that hands connections over has a channel
    /// for them. Otherwise no message is received, and sending is an error. Needs the feature `messages`.
    #[cfg(feature = "messages")]
    pub fn messages(&self) -> crate::Messages {
        crate::Messages::over(self.incoming.link())
    }

    /// Stops accepting, if that has not happened yet, and waits for every task of [`Worker::spawn`]. Then waits until a
    /// master that hands connections over has been told of every end, for 1 s at most.
    ///
    /// The wait for the tasks has no deadline here, since the master has one: it kills a worker that does not finish
    /// with SIGKILL. Without a master, wrap this in `tokio::time::timeout`. If the future is dropped half-way, the
    /// worker has stopped accepting and its tasks go on.
    pub async fn finish(mut self) {
        self.draining.begin();
        self.incoming.close().await;
        // Tells the master, if it reads. A master that does not read changes nothing for the clients that are still
        // served.
        let _ = tokio::time::timeout(COURTESY, self.notifier.stopping()).await;
        self.tasks.close();
        self.tasks.wait().await;
        // A master that does not read learns of the other ends when the process ends.
        let _ = tokio::time::timeout(COURTESY, self.incoming.tell_all()).await;
    }
}

fn number<T: FromStr>(lookup: &impl Fn(&str) -> Option<OsString>, name: &'static str) -> Result<Option<T>, StartError> {
    let Some(value) = lookup(name) else { return Ok(None) };
    let number = value.to_str().and_then(|value| value.parse().ok());
    number.map(Some).ok_or_else(|| StartError::variable(name, &value, "a whole number"))
}

#[cfg(test)]
mod tests;
