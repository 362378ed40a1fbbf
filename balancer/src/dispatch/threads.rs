//! The data threads: start, commands about a worker's connections, drain, cut, join.

use std::io;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::permits::ConnectionLimit;
use super::pools::PoolEntry;
use super::shard::{DrainCounters, ReportUpstream, UpstreamReport};
use crate::channel::Channel;
use crate::net::connect;
use crate::net::listeners::Listener;
use crate::net::open_connections::{self, Owner};
use crate::net::recovery::{Recovery, RecoveryBarrier};
use crate::pool::Pool;
use crate::rotation::SlotId;
use crate::stats::AcceptLimit;

/// Bounds over all pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections open at once; more wait in the backlog. A pool's own limit is in its configuration.
    pub max_connections: usize,
    /// The source of that number.
    pub set_by: AcceptLimit,
}

/// The result of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Connections that ended by themselves since the drain began.
    pub finished: u64,
    /// Connections that awaited no response and were closed by FIN: silent for a second, or still open at the deadline.
    pub closed: u64,
    /// Connections that awaited a response and were reset, at the deadline or by [`DataThreads::abort_all`].
    pub cut: u64,
}

impl Drained {
    /// Returns the counts since `before`.
    pub fn since(self, before: Self) -> Self {
        let since = |now: u64, then: u64| now.saturating_sub(then);
        Self {
            finished: since(self.finished, before.finished),
            closed: since(self.closed, before.closed),
            cut: since(self.cut, before.cut),
        }
    }
}

/// The threads that accept and relay. Dropping it ends them without waiting.
#[derive(Debug)]
pub struct DataThreads {
    pub(super) threads: Vec<DataThread>,
    pub(super) pools: Mutex<Vec<PoolEntry>>,
    /// The bound over all pools.
    pub(super) limit: Arc<ConnectionLimit>,
    /// The source of the limit.
    pub(super) set_by: AcceptLimit,
    pub(super) counters: Arc<DrainCounters>,
    pub(super) report: ReportUpstream,
    pub(super) ephemeral: RangeInclusive<u16>,
    /// Ends the accept loops.
    pub(super) stop: CancellationToken,
}

#[derive(Debug)]
pub(super) struct DataThread {
    commands: mpsc::UnboundedSender<ThreadCommand>,
    /// Where its accept loops are started from outside.
    pub(super) runtime: runtime::Handle,
    handle: JoinHandle<()>,
}

#[derive(Clone, Debug)]
enum ThreadCommand {
    WorkerExited(Owner, Option<Arc<RecoveryBarrier>>),
    Recall(Owner, Arc<RecoveryBarrier>),
    CloseIdle(Owner),
    Abort(Owner),
    CloseAllIdle,
    AbortAll,
}

impl DataThreads {
    /// Starts `threads` threads (at least one) that serve every pool on its listeners, as the pool's accept state says.
    /// The threads call `report`, which must not block.
    ///
    /// # Errors
    ///
    /// When a runtime, a thread or another handle of a listener cannot be made; nothing is left running then.
    pub fn start(
        threads: usize,
        pools: Vec<(Arc<Pool>, Vec<Listener>)>,
        limits: Limits,
        report: impl Fn(UpstreamReport) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let mut started = Self {
            threads: Vec::new(),
            pools: Mutex::default(),
            limit: Arc::new(ConnectionLimit::new(limits.max_connections)),
            set_by: limits.set_by,
            counters: Arc::default(),
            report: ReportUpstream::new(report),
            ephemeral: connect::ephemeral_ports(),
            stop: CancellationToken::new(),
        };
        for thread in 0..threads.max(1) {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let within = runtime.handle().clone();
            let (commands, received) = mpsc::unbounded_channel();
            let name = format!("data-{thread}");
            let handle = std::thread::Builder::new().name(name).spawn(move || serve(&runtime, received))?;
            started.threads.push(DataThread { commands, runtime: within, handle });
        }
        for (pool, listeners) in pools {
            started.add_pool(pool, listeners)?;
        }
        Ok(started)
    }

    /// Tells the connections of a worker's process that it has ended. What the worker sent is still delivered. The
    /// kernel then ends the connections; one whose socket another process holds is reset after a second of silence.
    /// Call this once the process is dead, not before.
    ///
    /// `recovered` are the sockets that another holder accepted from the dead worker's listener: the worker's ends of
    /// our connections, from which no process has read. Those connections take back what they sent and go to another
    /// worker. The sockets may be blocking or not. A worker's end that belongs to no connection of that worker is
    /// closed. To recover all, see that no connect is under way any more (the upstream is dead and its `connecting` is
    /// 0) before the queue is emptied.
    pub fn worker_exited(&self, pool: usize, slot: SlotId, incarnation: u64, recovered: Vec<OwnedFd>) {
        let barrier = (!recovered.is_empty()).then(|| RecoveryBarrier::new(Recovery::new(recovered)));
        self.tell(&ThreadCommand::WorkerExited(owner(pool, slot, incarnation), barrier));
    }

    /// Tells the connections of a living process, which is out of rotation, that these worker's ends were taken out of
    /// its queue: the connections that they belong to take back what they sent and go to another worker. Other
    /// connections go on.
    pub fn recall(&self, pool: usize, slot: SlotId, incarnation: u64, recovered: Vec<OwnedFd>) {
        let barrier = RecoveryBarrier::new(Recovery::new(recovered));
        self.tell(&ThreadCommand::Recall(owner(pool, slot, incarnation), barrier));
    }

    /// From now on closes each connection of a worker's process that awaits no response and was silent for a second, by
    /// FIN; one that has given the worker nothing yet goes to another, as long as one is in rotation. In force until
    /// [`DataThreads::worker_exited`] is called for that process.
    pub fn close_idle(&self, pool: usize, slot: SlotId, incarnation: u64) {
        self.tell(&ThreadCommand::CloseIdle(owner(pool, slot, incarnation)));
    }

    /// Ends the connections of a worker's process, dead or alive: those that await no response first, by FIN, then the
    /// rest by reset. One that has given the worker nothing yet goes to another, as long as one is in rotation.
    pub fn abort(&self, pool: usize, slot: SlotId, incarnation: u64) {
        self.tell(&ThreadCommand::Abort(owner(pool, slot, incarnation)));
    }

    /// Runs a worker's channel on one of the threads, for as long as it runs by itself.
    pub fn run_channel(&self, slot: SlotId, channel: Channel) {
        // There is at least one thread.
        if let Some(thread) = self.threads.get(slot.index() % self.threads.len().max(1)) {
            thread.runtime.spawn(channel.run());
        }
    }

    /// Waits until every accept loop has emptied its queue and closed its listener, at most until `deadline`. Set the
    /// accept states to [`crate::rotation::AcceptState::Closing`] first. Cancel safe.
    pub async fn closed(&self, deadline: Instant) {
        let _ = timeout_at(deadline, self.counters.closed()).await;
    }

    /// Returns true if every public listener has been closed.
    pub fn is_closed(&self) -> bool {
        self.counters.loops.load(Ordering::SeqCst) == 0
    }

    /// From now on ends each connection of any worker that has been silent for a second and awaits no response.
    pub fn close_all_idle(&self) {
        self.tell(&ThreadCommand::CloseAllIdle);
    }

    /// Returns the ends of connections since the start.
    pub fn ends(&self) -> Drained {
        let [ended, closed, cut] = [&self.counters.ended, &self.counters.closed, &self.counters.cut]
            .map(|number| number.load(Ordering::SeqCst));
        Drained { finished: ended.saturating_sub(closed + cut), closed, cut }
    }

    /// Waits until every connection has ended and every accept loop has emptied its queue, or ends what is left at
    /// `deadline`. Set the accept states to [`crate::rotation::AcceptState::Closing`] first.
    ///
    /// A connection that has been silent for a second and awaits no response (an idle keep-alive one) is ended by FIN:
    /// its client would hold the drain for as long as it likes. Cancel safe; cancelling stops the wait, not the drain.
    pub async fn drain(&self, deadline: Instant) -> Drained {
        self.tell(&ThreadCommand::CloseAllIdle);
        let before = self.ends();
        if timeout_at(deadline, self.counters.idle()).await.is_err() {
            self.abort_all();
            self.counters.idle().await;
        }
        self.ends().since(before)
    }

    /// Ends every connection (by FIN what awaits no response, by reset the rest), rejects the clients in the queues,
    /// and accepts nothing more.
    pub fn abort_all(&self) {
        self.stop.cancel();
        self.tell(&ThreadCommand::AbortAll);
    }

    /// Returns the limit over all pools, if no more connections may be opened now.
    pub fn full(&self) -> Option<AcceptLimit> {
        (!self.limit.has_room()).then_some(self.set_by)
    }

    /// Returns the number of connections open now, over all pools and threads.
    pub fn open(&self) -> usize {
        self.counters.open.load(Ordering::SeqCst)
    }

    /// Ends the threads and waits for them. Connections that are still open are closed. Blocks, though not for long.
    pub fn join(self) {
        for thread in self.threads {
            drop(thread.commands);
            // A thread ends in a panic only by a bug of ours, which has been printed.
            let _ = thread.handle.join();
        }
    }

    fn tell(&self, command: &ThreadCommand) {
        for thread in &self.threads {
            // A thread that has ended has no connections.
            let _ = thread.commands.send(command.clone());
        }
    }
}

/// Runs one data thread until the sender of its commands is dropped.
fn serve(runtime: &runtime::Runtime, mut commands: mpsc::UnboundedReceiver<ThreadCommand>) {
    runtime.block_on(async {
        tokio::spawn(open_connections::run_ticker());
        while let Some(command) = commands.recv().await {
            match command {
                ThreadCommand::WorkerExited(owner, barrier) => open_connections::worker_exited(owner, barrier.as_ref()),
                ThreadCommand::Recall(owner, barrier) => open_connections::recall(owner, &barrier),
                ThreadCommand::CloseIdle(owner) => open_connections::close_idle(owner),
                ThreadCommand::Abort(owner) => open_connections::abort(owner),
                ThreadCommand::CloseAllIdle => open_connections::close_all_idle(),
                ThreadCommand::AbortAll => open_connections::abort_all(),
            }
        }
    });
}

fn owner(pool: usize, slot: SlotId, incarnation: u64) -> Owner {
    Owner { pool: u32::try_from(pool).unwrap_or(u32::MAX), slot, incarnation }
}
