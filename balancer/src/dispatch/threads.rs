//! The data threads: start, drain, cut, join.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::accept::AcceptLoop;
use super::connect;
use super::lane::{Lane, Report, Tally};
use super::permits::Permits;
use crate::net::conns::{self, Owner};
use crate::net::listeners::Listener;
use crate::pool::Pool;
use crate::rotation::SlotId;

/// Bounds over all pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections open at once; more wait in the backlog. A pool's own limit is in its configuration.
    pub max_connections: usize,
}

/// What a drain came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Connections that ended by themselves since the drain began.
    pub finished: u64,
    /// Connections cut at the deadline or by [`DataThreads::cut_now`].
    pub cut: u64,
}

/// The threads that accept and relay. Dropping it ends them without waiting.
#[derive(Debug)]
pub struct DataThreads {
    threads: Vec<DataThread>,
    tally: Arc<Tally>,
    /// Ends the accept loops.
    stop: CancellationToken,
}

#[derive(Debug)]
struct DataThread {
    orders: mpsc::UnboundedSender<Command>,
    handle: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug)]
enum Command {
    Orphan(Owner),
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
        let mut started = Self { threads: Vec::new(), tally: Arc::default(), stop: CancellationToken::new() };
        let all = Arc::new(Permits::new(limits.max_connections));
        let of_pool = |pool: &Arc<Pool>| Arc::new(Permits::new(pool.config().max_connections.unwrap_or(usize::MAX)));
        let permits: Vec<_> = pools.iter().map(|(pool, _)| [of_pool(pool), Arc::clone(&all)]).collect();
        let ephemeral = connect::ephemeral_ports();
        for thread in 0..threads.max(1) {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let entered = runtime.enter();
            let mut loops = Vec::new();
            for (index, ((pool, listeners), permits)) in (0u32..).zip(pools.iter().zip(&permits)) {
                let lane = Arc::new(Lane {
                    pool: Arc::clone(pool),
                    index,
                    thread,
                    permits: permits.clone(),
                    tally: Arc::clone(&started.tally),
                    reports: reports.clone(),
                    ephemeral: ephemeral.clone(),
                });
                for listener in listeners {
                    loops.push(AcceptLoop::new(Arc::clone(&lane), listener.try_clone()?, started.stop.clone())?);
                }
            }
            drop(entered);
            let (orders, received) = mpsc::unbounded_channel();
            let name = format!("data-{thread}");
            let handle = std::thread::Builder::new().name(name).spawn(move || serve(&runtime, loops, received))?;
            started.threads.push(DataThread { orders, handle });
        }
        // The threads' handles are the only ones now: the last accept loop closes the socket.
        drop(pools);
        Ok(started)
    }

    /// Tells the connections of a worker's process that it has ended. What the worker had said is delivered; those that
    /// the kernel does not end after it, since something else holds their socket, are reset after a second of silence.
    /// Call it once the process is dead, not before.
    pub fn orphan(&self, pool: usize, slot: SlotId, incarnation: u64) {
        self.tell(Command::Orphan(owner(pool, slot, incarnation)));
    }

    /// Cuts the connections of a worker's process, dead or alive.
    pub fn cut(&self, pool: usize, slot: SlotId, incarnation: u64) {
        self.tell(Command::Cut(owner(pool, slot, incarnation)));
    }

    /// From now on closes each connection of a worker's process that is owed nothing and was silent for a second.
    pub fn quieten(&self, pool: usize, slot: SlotId, incarnation: u64) {
        let _ = (pool, slot, incarnation);
    }

    /// Serves the far ends of connections of ours that waited in a dead worker's queue.
    pub fn adopt(&self, pool: usize, recovered: Vec<std::os::fd::OwnedFd>) {
        let _ = (pool, recovered);
    }

    /// Waits until every connection has ended and every accept loop has emptied its queue, or cuts what is left at
    /// `deadline`. Set the gates to [`crate::rotation::Gate::Closing`] first.
    ///
    /// A connection that has been silent for a second and owes nothing (an idle keep-alive one) is ended by FIN: its client
    /// would hold the drain for as long as it likes. Cancel safe; cancelling stops the wait, not the drain.
    pub async fn drain(&self, deadline: Instant) -> Drained {
        self.tell(Command::Drain);
        let count = || (self.tally.ended.load(Ordering::SeqCst), self.tally.cut.load(Ordering::SeqCst));
        let before = count();
        if timeout_at(deadline, self.tally.quiet()).await.is_err() {
            self.cut_now();
            self.tally.quiet().await;
        }
        let after = count();
        let cut = after.1 - before.1;
        Drained { finished: (after.0 - before.0).saturating_sub(cut), cut }
    }

    /// Cuts every connection, turns away who waits in the queues, and accepts nothing more.
    pub fn cut_now(&self) {
        self.stop.cancel();
        self.tell(Command::CutAll);
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

    fn tell(&self, command: Command) {
        for thread in &self.threads {
            // A thread that has ended has no connections.
            let _ = thread.orders.send(command);
        }
    }
}

/// The life of one data thread: until nobody can give it orders any more.
fn serve(runtime: &runtime::Runtime, loops: Vec<AcceptLoop>, mut orders: mpsc::UnboundedReceiver<Command>) {
    runtime.block_on(async {
        tokio::spawn(conns::run_ticker());
        for accept in loops {
            tokio::spawn(accept.run());
        }
        while let Some(order) = orders.recv().await {
            match order {
                Command::Orphan(owner) => conns::orphan(owner),
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
