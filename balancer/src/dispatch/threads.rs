//! The data threads: start, orders about a worker's connections, drain, cut, join.

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

use super::connect;
use super::lane::{Report, Tally};
use super::permits::Permits;
use super::served::Served;
use crate::channel::Channel;
use crate::net::conns::{self, Owner};
use crate::net::listeners::Listener;
use crate::net::recovery::{Recovery, Summons};
use crate::pool::Pool;
use crate::rotation::SlotId;
use crate::stats::AcceptLimit;

/// Bounds over all pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections open at once; more wait in the backlog. A pool's own limit is in its configuration.
    pub max_connections: usize,
    /// What set that number.
    pub set_by: AcceptLimit,
}

/// What a drain came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Connections that ended by themselves since the drain began.
    pub finished: u64,
    /// Connections that were owed nothing and were closed by FIN: silent for a second, or still open at the deadline.
    pub closed: u64,
    /// Connections that were owed something and were reset, at the deadline or by [`DataThreads::cut_now`].
    pub cut: u64,
}

impl Drained {
    /// What came after `before`.
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
    pub(super) pools: Mutex<Vec<Served>>,
    /// The bound over all pools.
    pub(super) permits: Arc<Permits>,
    /// What set it.
    pub(super) set_by: AcceptLimit,
    pub(super) tally: Arc<Tally>,
    pub(super) reports: mpsc::UnboundedSender<Report>,
    pub(super) ephemeral: RangeInclusive<u16>,
    /// Ends the accept loops.
    pub(super) stop: CancellationToken,
}

#[derive(Debug)]
pub(super) struct DataThread {
    orders: mpsc::UnboundedSender<Command>,
    /// Where its accept loops are started from outside.
    pub(super) runtime: runtime::Handle,
    handle: JoinHandle<()>,
}

#[derive(Clone, Debug)]
enum Command {
    Orphan(Owner, Option<Arc<Summons>>),
    Recall(Owner, Arc<Summons>),
    Quieten(Owner),
    Cut(Owner),
    Drain,
    CutAll,
}

impl DataThreads {
    /// Starts `threads` threads (at least one) that serve every pool on its listeners, as the pool's gate says.
    ///
    /// # Errors
    ///
    /// When a runtime, a thread or another handle of a listener cannot be made; nothing is left running then.
    pub fn start(
        threads: usize,
        pools: Vec<(Arc<Pool>, Vec<Listener>)>,
        limits: Limits,
        reports: mpsc::UnboundedSender<Report>,
    ) -> io::Result<Self> {
        let mut started = Self {
            threads: Vec::new(),
            pools: Mutex::default(),
            permits: Arc::new(Permits::new(limits.max_connections)),
            set_by: limits.set_by,
            tally: Arc::default(),
            reports,
            ephemeral: connect::ephemeral_ports(),
            stop: CancellationToken::new(),
        };
        for thread in 0..threads.max(1) {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let within = runtime.handle().clone();
            let (orders, received) = mpsc::unbounded_channel();
            let name = format!("data-{thread}");
            let handle = std::thread::Builder::new().name(name).spawn(move || serve(&runtime, received))?;
            started.threads.push(DataThread { orders, runtime: within, handle });
        }
        for (pool, listeners) in pools {
            started.add_pool(pool, listeners)?;
        }
        Ok(started)
    }

    /// Tells the connections of a worker's process that it has ended. What the worker had said is delivered; those that
    /// the kernel does not end after it, since something else holds their socket, are reset after a second of silence.
    /// Call it once the process is dead, not before.
    ///
    /// `recovered` are sockets accepted from the dead worker's listener by one who held it too: the far ends of connections
    /// of ours that nobody has read from. Those connections take back what they sent and go to another worker, whatever
    /// mode the sockets are in. A far end that belongs to no connection of that worker is closed. To recover all, see that
    /// no connect is under way any more (the upstream is dead and its `connecting` is 0) before the queue is emptied.
    pub fn orphan(&self, pool: usize, slot: SlotId, incarnation: u64, recovered: Vec<OwnedFd>) {
        let summons = (!recovered.is_empty()).then(|| Summons::new(Recovery::new(recovered)));
        self.tell(&Command::Orphan(owner(pool, slot, incarnation), summons));
    }

    /// Tells the connections of a living process, which is out of rotation, that these far ends were taken out of its queue: the
    /// connections that they belong to take back what they sent and go to another worker. The others stay as they are.
    pub fn recall(&self, pool: usize, slot: SlotId, incarnation: u64, recovered: Vec<OwnedFd>) {
        let summons = Summons::new(Recovery::new(recovered));
        self.tell(&Command::Recall(owner(pool, slot, incarnation), summons));
    }

    /// From now on closes each connection of a worker's process that is owed nothing and was silent for a second, by FIN;
    /// one that has given the worker nothing yet goes to another, as long as one is in rotation. Holds until that process
    /// is said to have ended ([`DataThreads::orphan`]).
    pub fn quieten(&self, pool: usize, slot: SlotId, incarnation: u64) {
        self.tell(&Command::Quieten(owner(pool, slot, incarnation)));
    }

    /// Ends the connections of a worker's process, dead or alive: those that are owed nothing first, by FIN, then the rest
    /// by reset. One that has given the worker nothing yet goes to another, as long as one is in rotation.
    pub fn cut(&self, pool: usize, slot: SlotId, incarnation: u64) {
        self.tell(&Command::Cut(owner(pool, slot, incarnation)));
    }

    /// Runs a worker's channel on one of the threads, for as long as it runs by itself.
    pub fn host(&self, slot: SlotId, channel: Channel) {
        // There is at least one thread.
        if let Some(thread) = self.threads.get(slot.index() % self.threads.len().max(1)) {
            thread.runtime.spawn(channel.run());
        }
    }

    /// Waits until every accept loop has emptied its queue and closed its listener, at most until `deadline`. Set the gates
    /// to [`crate::rotation::Gate::Closing`] first. Cancel safe.
    pub async fn closed(&self, deadline: Instant) {
        let _ = timeout_at(deadline, self.tally.closed()).await;
    }

    /// Whether every public listener has been closed.
    pub fn is_closed(&self) -> bool {
        self.tally.loops.load(Ordering::SeqCst) == 0
    }

    /// From now on ends each connection that has been silent for a second and owes nothing, whosever it is.
    pub fn quieten_all(&self) {
        self.tell(&Command::Drain);
    }

    /// How connections have ended since the start.
    pub fn ends(&self) -> Drained {
        let [ended, closed, cut] =
            [&self.tally.ended, &self.tally.closed, &self.tally.cut].map(|number| number.load(Ordering::SeqCst));
        Drained { finished: ended.saturating_sub(closed + cut), closed, cut }
    }

    /// Waits until every connection has ended and every accept loop has emptied its queue, or ends what is left at
    /// `deadline`. Set the gates to [`crate::rotation::Gate::Closing`] first.
    ///
    /// A connection that has been silent for a second and owes nothing (an idle keep-alive one) is ended by FIN: its client
    /// would hold the drain for as long as it likes. Cancel safe; cancelling stops the wait, not the drain.
    pub async fn drain(&self, deadline: Instant) -> Drained {
        self.tell(&Command::Drain);
        let before = self.ends();
        if timeout_at(deadline, self.tally.quiet()).await.is_err() {
            self.cut_now();
            self.tally.quiet().await;
        }
        self.ends().since(before)
    }

    /// Ends every connection (by FIN what is owed nothing, by reset the rest), turns away who waits in the queues, and accepts nothing more.
    pub fn cut_now(&self) {
        self.stop.cancel();
        self.tell(&Command::CutAll);
    }

    /// What bounds connections over all pools, if none more may be opened now.
    pub fn full(&self) -> Option<AcceptLimit> {
        (!self.permits.has_room()).then_some(self.set_by)
    }

    /// Connections open now, over all pools and threads.
    pub fn open(&self) -> usize {
        self.tally.open.load(Ordering::SeqCst)
    }

    /// Ends the threads and waits for them; what is still open is closed. Blocks, though not for long.
    pub fn join(self) {
        for thread in self.threads {
            drop(thread.orders);
            // A thread ends in a panic only by a bug of ours, which has been printed.
            let _ = thread.handle.join();
        }
    }

    fn tell(&self, command: &Command) {
        for thread in &self.threads {
            // A thread that has ended has no connections.
            let _ = thread.orders.send(command.clone());
        }
    }
}

/// The life of one data thread: until nobody can give it orders any more.
fn serve(runtime: &runtime::Runtime, mut orders: mpsc::UnboundedReceiver<Command>) {
    runtime.block_on(async {
        tokio::spawn(conns::run_ticker());
        while let Some(order) = orders.recv().await {
            match order {
                Command::Orphan(owner, summons) => conns::orphan(owner, summons.as_ref()),
                Command::Recall(owner, summons) => conns::recall(owner, &summons),
                Command::Quieten(owner) => conns::quieten(owner),
                Command::Cut(owner) => conns::cut(owner),
                Command::Drain => conns::drain_quiet(),
                Command::CutAll => conns::cut_all(),
            }
        }
    });
}

fn owner(pool: usize, slot: SlotId, incarnation: u64) -> Owner {
    Owner { pool: u32::try_from(pool).unwrap_or(u32::MAX), slot, incarnation }
}
