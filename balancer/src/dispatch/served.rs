//! What the data threads serve: pools and their public listeners, which come and go while the threads run.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::DataThreads;
use super::accept::{AcceptLoop, Door};
use super::lane::Lane;
use super::permits::Permits;
use crate::config::Address;
use crate::net::listeners::Listener;
use crate::pool::Pool;

/// The number of the listeners that the rules name.
pub const PUBLIC_DOOR: u32 = 0;

/// One pool on all data threads. It stays when its last listener is gone, for the connections that are still open.
pub(super) struct Served {
    pool: Arc<Pool>,
    /// One a data thread.
    pub(super) lanes: Vec<Arc<Lane>>,
    permits: Arc<Permits>,
    listening: Vec<Listening>,
}

struct Listening {
    address: Address,
    retired: CancellationToken,
    /// Cancelled when every thread has closed its handle.
    closed: CancellationToken,
}

impl DataThreads {
    /// Serves one more pool, and says by which number it is called from now on: its place in the order in which pools came.
    ///
    /// # Errors
    ///
    /// When another handle of a listener cannot be made or watched; the pool is not served then.
    pub fn add_pool(&self, pool: Arc<Pool>, listeners: Vec<Listener>) -> io::Result<usize> {
        let mut pools = self.pools();
        let index = pools.len();
        let permits = Arc::new(Permits::new(limit(&pool)));
        let sources = Arc::default();
        let lane = |thread| {
            Arc::new(Lane {
                pool: Arc::clone(&pool),
                index: u32::try_from(index).unwrap_or(u32::MAX),
                thread,
                permits: [Arc::clone(&permits), Arc::clone(&self.permits)],
                sources: Arc::clone(&sources),
                set_by: self.set_by,
                tally: Arc::clone(&self.tally),
                reports: self.reports.clone(),
                stop: self.stop.clone(),
                ephemeral: self.ephemeral.clone(),
            })
        };
        let lanes: Vec<_> = (0..self.threads.len()).map(lane).collect();
        let prepare = |listener| self.prepare(&lanes, &listener, PUBLIC_DOOR);
        let opened = listeners.into_iter().map(prepare).collect::<io::Result<Vec<_>>>()?;
        let (listening, loops): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
        loops.into_iter().for_each(|loops| self.begin(loops));
        pools.push(Served { pool, lanes, permits, listening });
        Ok(index)
    }

    /// Accepts on one more public listener of a pool. The threads' handles are the only ones afterwards.
    ///
    /// # Errors
    ///
    /// When another handle of it cannot be made or watched, or there is no such pool; nothing is accepted on it then.
    pub fn listen(&self, pool: usize, listener: Listener) -> io::Result<()> {
        self.open_door(pool, listener, PUBLIC_DOOR)
    }

    /// The same for a listener that the workers know by a number: what comes by it is handed to one that has that one.
    ///
    /// # Errors
    ///
    /// As [`DataThreads::listen`].
    pub fn open_door(&self, pool: usize, listener: Listener, door: u32) -> io::Result<()> {
        let mut pools = self.pools();
        let served = pools.get_mut(pool).ok_or(io::ErrorKind::NotFound)?;
        let (listening, loops) = self.prepare(&served.lanes, &listener, door)?;
        drop(listener);
        self.begin(loops);
        served.listening.push(listening);
        Ok(())
    }

    /// Accepts what waits at a public listener, until nothing does, and closes it; other listeners and what is open are not
    /// touched. The path of a unix listener goes first, so that nobody new comes. Who waits for a worker (the gate holds)
    /// still does so before.
    ///
    /// The future resolves when it is closed; it need not be awaited. `None` if the pool has no such listener.
    pub fn unlisten(&self, pool: usize, address: &Address) -> Option<impl Future<Output = ()> + Send + use<>> {
        let mut pools = self.pools();
        let listening = &mut pools.get_mut(pool)?.listening;
        let at = listening.iter().position(|one| one.address == *address)?;
        let gone = listening.swap_remove(at);
        gone.retired.cancel();
        Some(gone.closed.cancelled_owned())
    }

    /// Where a pool listens: all that came and did not go.
    pub fn listening(&self, pool: usize) -> Vec<Address> {
        let pools = self.pools();
        let listening = pools.get(pool).map(|served| served.listening.as_slice()).unwrap_or_default();
        listening.iter().map(|one| one.address.clone()).collect()
    }

    /// Takes over the pool's present `max-connections`. Under a lower one nobody is cut; new clients wait in the backlog.
    pub fn relimit(&self, pool: usize) {
        if let Some(served) = self.pools().get(pool) {
            served.permits.set_limit(limit(&served.pool));
        }
    }

    /// A loop for each thread, not running yet.
    fn prepare(
        &self,
        lanes: &[Arc<Lane>],
        listener: &Listener,
        number: u32,
    ) -> io::Result<(Listening, Vec<AcceptLoop>)> {
        let (retired, closed) = (CancellationToken::new(), CancellationToken::new());
        let closing = Arc::new(closed.clone().drop_guard());
        let door = Door { number, retired: retired.clone(), _closed: closing };
        let on_thread = |(lane, thread): (&Arc<Lane>, &super::threads::DataThread)| {
            let _entered = thread.runtime.enter();
            AcceptLoop::new(Arc::clone(lane), listener.try_clone()?, self.stop.clone(), door.clone())
        };
        let loops = std::iter::zip(lanes, &self.threads).map(on_thread).collect::<io::Result<Vec<_>>>()?;
        Ok((Listening { address: listener.address().clone(), retired, closed }, loops))
    }

    fn begin(&self, loops: Vec<AcceptLoop>) {
        for (accept, thread) in std::iter::zip(loops, &self.threads) {
            thread.runtime.spawn(accept.run());
        }
    }

    pub(super) fn pools(&self) -> MutexGuard<'_, Vec<Served>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("pool", &self.pool.name).finish_non_exhaustive()
    }
}

fn limit(pool: &Pool) -> usize {
    pool.config().max_connections.unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Program};
    use crate::dispatch::Limits;
    use crate::rotation::Gate;
    use crate::stats::AcceptLimit;
    use std::time::Duration;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn a_limit_that_is_raised_lets_in_who_waits() {
        let mut rules = config::Pool::new("test", Program::Demo);
        rules.max_connections = Some(1);
        rules.assignment_timeout = Duration::from_secs(60);
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 16, Duration::ZERO, false).unwrap();
        let Address::Tcp(at) = *listener.address() else { panic!("{:?}", listener.address()) };
        let pool = Arc::new(Pool::new(rules.clone(), 1, 1, Vec::new()));
        pool.rotation.set_gate(Gate::Open);
        let limits = Limits { max_connections: 100, set_by: AcceptLimit::MasterMaxConnections };
        let served = vec![(Arc::clone(&pool), vec![listener])];
        let data = DataThreads::start(1, served, limits, mpsc::unbounded_channel().0).unwrap();
        let _clients = [(); 3].map(|()| std::net::TcpStream::connect(at).unwrap());
        for limit in 1..=3 {
            rules.max_connections = Some(limit);
            pool.set_config(Arc::new(rules.clone()));
            data.relimit(0);
            while pool.stats.accepted.get() < limit as u64 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            assert_eq!((pool.stats.accepted.get(), data.open()), (limit as u64, limit));
        }
        data.relimit(1);
        data.join();
    }
}
