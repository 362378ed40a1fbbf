//! The relay to the public address: for a client that waits where no worker accepts, in a pool whose workers accept by
//! themselves.
//!
//! The master accepts it from that queue, connects to the pool's public address as a client would, and relays between
//! the two. The kernel chooses the worker, so the connection belongs to none: when a worker ends, the kernel ends its
//! connections. The worker sees the master's address instead of the client's.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::DataThreads;
use super::accept::Accepted;
use super::relayed::Connection;
use super::shard::{ConnectionPermit, Shard};
use crate::net::stream::Family;
use crate::pool::{Limited, Pool};
use crate::rotation::{AcceptState, Endpoint, SlotId, Snapshot, Standing, Upstream};
use crate::stats::AcceptError;

/// A client's accepted, non-blocking TCP socket, with its address if that is known.
pub type Client = (OwnedFd, Option<SocketAddr>);

/// A relay to one public address. Cheap to clone.
#[derive(Clone)]
pub struct PublicRelay {
    /// One a data thread.
    shards: Arc<[Arc<Shard>]>,
}

impl DataThreads {
    /// Opens relays to `public`, an address of `pool` at which its workers accept. They use the pool's present
    /// configuration.
    ///
    /// # Errors
    ///
    /// None at present, since it opens no listener; [`DataThreads::add_pool`] may fail for one that does.
    pub fn add_public_relay(&self, pool: &Pool, public: SocketAddr) -> io::Result<PublicRelay> {
        // For the connection this is a pool like any other. Its one worker is the public address.
        let way = Pool::new((**pool.config()).clone(), 1, pool.threads, Vec::new());
        let upstream = Upstream::new(SlotId(0), 1, Endpoint::Tcp(public), Arc::default());
        upstream.set_standing(Standing::Up);
        way.rotation.publish(Snapshot::new(vec![Arc::new(upstream)]));
        way.rotation.set_accept_state(AcceptState::Open);
        let index = self.add_pool(Arc::new(way), Vec::new())?;
        let shards = self.pools().get(index).map(|entry| entry.shards.clone()).unwrap_or_default();
        Ok(PublicRelay { shards: shards.into() })
    }

    /// Accepts clients with `next` and relays each to the public address, until `next` returns `None` or a limit is
    /// reached. Returns the number of clients. The permit of each is taken before `next` is called. A limit that is
    /// reached counts for `pool`, whose clients wait.
    pub fn relay_to_public(
        &self,
        pool: &Arc<Pool>,
        relay: &PublicRelay,
        next: &mut dyn FnMut() -> Option<Client>,
    ) -> usize {
        let taken = self.relay_each(relay, next);
        if let Some(limit) = self.full() {
            drop(Limited::begin(pool, limit));
        }
        taken
    }

    fn relay_each(&self, relay: &PublicRelay, next: &mut dyn FnMut() -> Option<Client>) -> usize {
        let mut taken = 0;
        for shard in relay.shards.iter().cycle() {
            let Some(permit) = ConnectionPermit::take(shard) else { break };
            let Some((socket, peer)) = next() else { break };
            taken += 1;
            let (client, shard) = (Accepted { socket, family: Family::Tcp, peer }, Arc::clone(shard));
            // A connection belongs to the thread on which it starts.
            self.threads[shard.thread].runtime.spawn(async move {
                match Connection::start(permit, client) {
                    Ok(connection) => drop(tokio::spawn(connection)),
                    Err(_) => shard.pool.stats.accept_errors[AcceptError::Exhausted as usize].increment(),
                }
            });
        }
        taken
    }
}

impl std::fmt::Debug for PublicRelay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublicRelay").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use roundelay_test_kit::wait_until;

    use crate::config::{self, Program};
    use crate::dispatch::Limits;
    use crate::net::listeners::Listener;
    use crate::stats::AcceptLimit;

    #[test]
    fn accepted_clients_are_relayed_up_to_the_limit() {
        let public = TcpListener::bind("127.0.0.1:0").unwrap();
        let queue = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 16, Duration::ZERO, false).unwrap();
        let config::Address::Tcp(at) = *queue.address() else { panic!("{queue:?}") };
        let mut clients = [(); 2].map(|()| TcpStream::connect(at).unwrap());
        clients.iter_mut().for_each(|client| client.write_all(b"ask").unwrap());
        let limits = Limits { max_connections: 1, set_by: AcceptLimit::MasterMaxConnections };
        let data = DataThreads::start(2, Vec::new(), limits, drop).unwrap();
        let pool = Pool::new(config::PoolConfig::new("a", Program::Demo), 1, 2, Vec::new());
        let relay = data.add_public_relay(&pool, public.local_addr().unwrap()).unwrap();
        let mut next = || queue.accept_waiting().unwrap();
        for client in &mut clients {
            assert_eq!(data.relay_each(&relay, &mut next), 1);
            let (mut worker, _) = public.accept().unwrap();
            let mut asked = [0; 3];
            worker.read_exact(&mut asked).unwrap();
            assert_eq!(data.relay_each(&relay, &mut next), 0, "the limit is reached, or nobody waits");
            worker.write_all(b"answer").unwrap();
            drop(worker);
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert_eq!((&asked, answer.as_str()), (b"ask", "answer"));
            client.shutdown(std::net::Shutdown::Both).unwrap();
            wait_until("its end", || data.open() == 0);
        }
        assert_eq!(data.ends().finished, 2);
        data.join();
    }
}
