//! The worker itself: who it is, what it accepts, how it leaves.

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

/// How long a worker that leaves tries to say so to a master whose queue is full.
const COURTESY: Duration = Duration::from_secs(1);

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
    /// Beats for as long as the worker exists, also while it drains.
    _heartbeat: Option<Heartbeat>,
}

impl Worker {
    /// Listens as the environment says and begins to watch for SIGTERM. Call once in a process.
    ///
    /// Where the master hands connections over (`ROUNDELAY_CHANNEL_FD`), they come from there and nothing is listened on.
    /// Else inherited sockets (`LISTEN_FDS`) win over `PORT`, which is a port number on `HOST` (default `127.0.0.1`; port 0 is
    /// any free one) or the absolute path of a unix socket to be made. An existing file there is never replaced.
    /// Without a master the worker is slot 0 of 1 in a pool called `worker`: `PORT=3000 ./worker` is enough.
    ///
    /// If the supervisor asks for signs of life (`WATCHDOG_USEC`, in microseconds), a task of this runtime sends
    /// `WATCHDOG=1` at a quarter of that interval until the worker has finished. It proves that the runtime's loop turns,
    /// not that your code is right: a deadlock between tasks goes on beating, and on a runtime with many threads so does
    /// a worker of which one thread is blocked.
    ///
    /// Not cancel safe: dropped half-way, inherited descriptors are gone for this process.
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
        let draining = Draining::default();
        let incoming = Incoming::open(lookup, &draining).await?;
        Self::with(incoming, draining, lookup)
    }

    /// One that is handed its connections over this socket, in an otherwise empty environment.
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
    /// Clients that were already waiting on an address of our own still come out before `None`, and only then is that
    /// address closed; what waits on an inherited socket is left to those who share it. Connections that the master has
    /// handed over come out too, and those that it sends after `None` are refused, so that it gives them to another worker.
    /// The end of its channel, which is the end of the master, begins the drain. A connection that fails while it
    /// waits is skipped, and while descriptors have run out this waits (once draining has begun, 5 s in all). Cancel safe.
    ///
    /// # Errors
    ///
    /// If the listening socket itself is broken: exit, and the master starts anew.
    pub async fn accept(&mut self) -> io::Result<Option<Stream>> {
        tokio::select! {
            biased;
            () = self.draining.begun() => Ok(self.incoming.last().await),
            accepted = self.incoming.next() => accepted.map(Some),
        }
    }

    /// Runs `future` as a task that [`Worker::finish`] waits for. Dropping the handle does not end the task.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(future)
    }

    /// Tells the master that connections are answered from now on, and that SIGTERM makes this worker drain: it says
    /// `READY=1` and [`X_ROUNDELAY_DRAIN`](crate::protocol::X_ROUNDELAY_DRAIN)`=signal` in one datagram. Without a master,
    /// does nothing. Cancel safe.
    ///
    /// So a worker that uses this keeps the promise of the drain: its connections end by themselves, for HTTP by
    /// `Connection: close`, and none is cut because it was told so early.
    ///
    /// # Errors
    ///
    /// If the master named a socket that cannot be reached; it will not count this worker as ready then.
    pub async fn ready(&self) -> Result<(), NotifyError> {
        self.notifier.ready_and_drains().await
    }

    /// For status lines beside [`Worker::ready`]; clone it to report from a task.
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// Tells connections when to finish. It stays valid after the worker is gone.
    pub fn draining(&self) -> Draining {
        self.draining.clone()
    }

    /// What the program and the master say to each other beside the connections. Only a master that hands connections over
    /// has a channel for it; elsewhere nothing is received, and sending is an error. Needs the feature `messages`.
    #[cfg(feature = "messages")]
    pub fn messages(&self) -> crate::Messages {
        crate::Messages::over(self.incoming.link())
    }

    /// Stops accepting, if that has not happened yet, and waits for every task of [`Worker::spawn`]; then until a master that
    /// hands connections over has been told of every end, for 1 s at most.
    ///
    /// Without a deadline of its own: the master has one, and ends with SIGKILL what does not finish. Without a master,
    /// wrap it in `tokio::time::timeout`; dropped half-way it has stopped accepting, and the tasks go on.
    pub async fn finish(mut self) {
        self.draining.begin();
        self.incoming.close().await;
        // News for a master that listens. One that does not changes nothing for the clients that are still served.
        let _ = tokio::time::timeout(COURTESY, self.notifier.stopping()).await;
        self.tasks.close();
        self.tasks.wait().await;
        // A master that does not read hears the rest from the end of the process.
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
