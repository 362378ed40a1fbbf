//! The pools of the data threads and their public listeners, which come and go while the threads run.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::DataThreads;
use super::accept::{AcceptLoop, ListenerHandle};
use super::permits::ConnectionLimit;
use super::shard::Shard;
use crate::config::Address;
use crate::net::listeners::Listener;
use crate::pool::Pool;

/// The number of the listeners that the configuration name.
pub const PUBLIC_LISTENER: u32 = 0;

/// One pool on all data threads. It stays when its last listener is gone, for the connections that are still open.
pub(super) struct PoolEntry {
    pool: Arc<Pool>,
    /// One a data thread.
    pub(super) shards: Vec<Arc<Shard>>,
    limit: Arc<ConnectionLimit>,
    listening: Vec<Listening>,
}

struct Listening {
    address: Address,
    retired: CancellationToken,
    /// Cancelled when every thread has closed its handle.
    closed: CancellationToken,
}

impl DataThreads {
    /// Serves one more pool. Returns its index, by which the other methods know it.
    ///
    /// # Errors
    ///
    /// If another handle of a listener cannot be made or watched. The pool is not served then.
    pub fn add_pool(&self, pool: Arc<Pool>, listeners: Vec<Listener>) -> io::Result<usize> {
        let mut pools = self.pools();
        let index = pools.len();
        let pool_limit = Arc::new(ConnectionLimit::new(limit(&pool)));
        let sources = Arc::default();
        let shard = |thread| {
            Arc::new(Shard {
                pool: Arc::clone(&pool),
                index: u32::try_from(index).unwrap_or(u32::MAX),
                thread,
                limits: [Arc::clone(&pool_limit), Arc::clone(&self.limit)],
                sources: Arc::clone(&sources),
                set_by: self.set_by,
                counters: Arc::clone(&self.counters),
                report: self.report.clone(),
                stop: self.stop.clone(),
                ephemeral: self.ephemeral.clone(),
            })
        };
        let shards: Vec<_> = (0..self.threads.len()).map(shard).collect();
        let prepare = |listener| self.prepare(&shards, &listener, PUBLIC_LISTENER);
        let opened = listeners.into_iter().map(prepare).collect::<io::Result<Vec<_>>>()?;
        let (listening, loops): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
        loops.into_iter().for_each(|loops| self.begin(loops));
        pools.push(PoolEntry { pool, shards, limit: pool_limit, listening });
        Ok(index)
    }

    /// Accepts on one more public listener of a pool. The threads' handles are the only ones afterwards.
    ///
    /// # Errors
    ///
    /// If another handle of the listener cannot be made or watched, or there is no such pool. The listener is not
    /// served then.
    pub fn add_public_listener(&self, pool: usize, listener: Listener) -> io::Result<()> {
        self.add_listener(pool, listener, PUBLIC_LISTENER)
    }

    /// Does the same for a listener that the workers know by a number. Its connections are handed to workers together
    /// with that number.
    ///
    /// # Errors
    ///
    /// As [`DataThreads::add_public_listener`].
    pub fn add_listener(&self, pool: usize, listener: Listener, listener_id: u32) -> io::Result<()> {
        let mut pools = self.pools();
        let entry = pools.get_mut(pool).ok_or(io::ErrorKind::NotFound)?;
        let (listening, loops) = self.prepare(&entry.shards, &listener, listener_id)?;
        drop(listener);
        self.begin(loops);
        entry.listening.push(listening);
        Ok(())
    }

    /// Accepts the clients that wait at a public listener, and closes it when its queue is empty. Other listeners and
    /// open connections go on. The path of a unix listener is removed first, so that no new client comes. While the
    /// listeners hold, the queued clients still wait for a worker.
    ///
    /// The future resolves when the listener is closed; it need not be awaited. Returns `None` if the pool has no such
    /// listener.
    pub fn close_listener(&self, pool: usize, address: &Address) -> Option<impl Future<Output = ()> + Send + use<>> {
        let mut pools = self.pools();
        let listening = &mut pools.get_mut(pool)?.listening;
        let at = listening.iter().position(|one| one.address == *address)?;
        let gone = listening.swap_remove(at);
        gone.retired.cancel();
        Some(gone.closed.cancelled_owned())
    }

    /// Returns the addresses at which a pool listens now.
    pub fn listening(&self, pool: usize) -> Vec<Address> {
        let pools = self.pools();
        let listening = pools.get(pool).map(|entry| entry.listening.as_slice()).unwrap_or_default();
        listening.iter().map(|one| one.address.clone()).collect()
    }

    /// Takes over the pool's present `max-connections`. A lower one cuts no open connection; new clients wait in the
    /// backlog.
    pub fn relimit(&self, pool: usize) {
        if let Some(entry) = self.pools().get(pool) {
            entry.limit.set_limit(limit(&entry.pool));
        }
    }

    /// Makes an accept loop for each thread. The loops do not run yet.
    fn prepare(
        &self,
        shards: &[Arc<Shard>],
        listener: &Listener,
        number: u32,
    ) -> io::Result<(Listening, Vec<AcceptLoop>)> {
        let (retired, closed) = (CancellationToken::new(), CancellationToken::new());
        let closing = Arc::new(closed.clone().drop_guard());
        let handle = ListenerHandle { number, retired: retired.clone(), _closed: closing };
        let on_thread = |(shard, thread): (&Arc<Shard>, &super::threads::DataThread)| {
            let _entered = thread.runtime.enter();
            AcceptLoop::new(Arc::clone(shard), listener.try_clone()?, self.stop.clone(), handle.clone())
        };
        let loops = std::iter::zip(shards, &self.threads).map(on_thread).collect::<io::Result<Vec<_>>>()?;
        Ok((Listening { address: listener.address().clone(), retired, closed }, loops))
    }

    fn begin(&self, loops: Vec<AcceptLoop>) {
        for (accept, thread) in std::iter::zip(loops, &self.threads) {
            thread.runtime.spawn(accept.run());
        }
    }

    pub(super) fn pools(&self) -> MutexGuard<'_, Vec<PoolEntry>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for PoolEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolEntry").field("pool", &self.pool.name).finish_non_exhaustive()
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
    use crate::rotation::AcceptState;
    use crate::stats::AcceptLimit;
    use roundelay_test_kit::in_async;
    use std::time::Duration;

    #[tokio::test]
    async fn raised_limit_admits_waiting_clients() {
        let mut config = config::PoolConfig::new("test", Program::Demo);
        config.max_connections = Some(1);
        config.dispatch_timeout = Duration::from_secs(60);
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 16, Duration::ZERO, false).unwrap();
        let Address::Tcp(at) = *listener.address() else { panic!("{:?}", listener.address()) };
        let pool = Arc::new(Pool::new(config.clone(), 1, 1, Vec::new()));
        pool.rotation.set_accept_state(AcceptState::Open);
        let limits = Limits { max_connections: 100, set_by: AcceptLimit::MasterMaxConnections };
        let served = vec![(Arc::clone(&pool), vec![listener])];
        let data = DataThreads::start(1, served, limits, drop).unwrap();
        let _clients = [(); 3].map(|()| std::net::TcpStream::connect(at).unwrap());
        for limit in 1..=3 {
            config.max_connections = Some(limit);
            pool.set_config(Arc::new(config.clone()));
            data.relimit(0);
            in_async::wait_until("accepted", || pool.stats.accepted.get() >= limit as u64).await;
            assert_eq!((pool.stats.accepted.get(), data.open()), (limit as u64, limit));
        }
        data.relimit(1);
        data.join();
    }
}
