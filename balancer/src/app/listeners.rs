//! The public listeners of a running master: a reload opens some and closes others.
//!
//! New listeners are bound before anything else happens, so that an address which another program holds refuses the
//! whole reload. They are accepted on once the pool has its new configuration; until then their clients wait in the
//! queue.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::listen;
use crate::config::{self, Address};
use crate::dispatch::DataThreads;
use crate::failure::Failure;
use crate::net::listeners::{Listener, is_v6_only};
use crate::pool::Pool;

/// The public listeners of the pools, as the controller needs them: the data threads, or a double in tests.
pub(super) trait Listeners: Send + Sync {
    /// Binds the addresses of the configuration that this pool does not listen on yet; `pool` is its index. Nothing is
    /// accepted there before [`PendingListeners::activate`]. Reads `/proc` if another program holds an address, so the
    /// calling thread must be one that may wait.
    ///
    /// # Errors
    ///
    /// The first address that cannot be bound, and the process that holds it. Addresses that were bound before are
    /// closed.
    fn open(self: Arc<Self>, pool: usize, config: &config::PoolConfig) -> Result<Box<dyn PendingListeners>, Failure>;

    /// Applies the `max-connections` of the configuration by which the pool runs.
    fn relimit(&self, pool: usize);
}

/// The future listeners of a pool. If this is dropped, the new ones among them are closed.
pub(super) trait PendingListeners: Send {
    /// Accepts on the new listeners, and empties and closes those that the pool no longer has.
    ///
    /// # Errors
    ///
    /// The address that cannot be accepted on, and the reason. Then all old listeners are kept, and the next reload
    /// tries again.
    fn activate(self: Box<Self>) -> Result<Closing, String>;
}

/// Resolves when the removed listeners are closed; it need not be awaited.
pub(super) type Closing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The pools' listeners on the data threads.
pub(super) struct PublicListeners {
    data: Arc<DataThreads>,
    pools: Vec<(Arc<Pool>, Mutex<Vec<PublicListener>>)>,
}

/// One public address.
#[derive(Clone, Debug)]
struct PublicListener {
    /// The configured address; port 0 means any.
    said: Address,
    bound: Address,
    is_v6_only: bool,
}

impl PublicListeners {
    /// Takes the pools and the configured address of each of their listeners. Pools and listeners have the same numbers
    /// on the data threads.
    pub(super) fn new(data: Arc<DataThreads>, pools: &[(Arc<Pool>, Vec<Address>)]) -> Arc<Self> {
        let of_pool = |(pool, configured): &(Arc<Pool>, Vec<Address>)| {
            let said = listeners(configured);
            let listening = pool.listening();
            let listeners = std::iter::zip(said, listening.iter()).map(|(public, bound)| public.bound_to(bound));
            (Arc::clone(pool), Mutex::new(listeners.collect()))
        };
        Arc::new(Self { data, pools: pools.iter().map(of_pool).collect() })
    }

    fn listeners(&self, pool: usize) -> MutexGuard<'_, Vec<PublicListener>> {
        self.pools[pool].1.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PublicListener {
    fn bound_to(self, bound: &Address) -> Self {
        Self { bound: bound.clone(), ..self }
    }

    /// Returns true if a socket that was bound for one could serve the other.
    fn is_same(&self, other: &PublicListener) -> bool {
        (&self.said, self.is_v6_only) == (&other.said, other.is_v6_only)
    }
}

/// Returns the listeners of a configured list, not bound yet.
fn listeners(listen: &[Address]) -> Vec<PublicListener> {
    let public = |said: &Address| PublicListener {
        said: said.clone(),
        bound: said.clone(),
        is_v6_only: is_v6_only(said, listen),
    };
    listen.iter().map(public).collect()
}

/// Takes each of `wanted` out of `open` if it is there. The result lists, in the order of `wanted`, listeners that stay
/// and listeners to open; the rest of `open` will be closed. Pure. An address that is listed twice (port 0) counts
/// twice; a name stands for all listeners that were passed by it.
fn match_up(
    open: &mut Vec<PublicListener>,
    wanted: Vec<PublicListener>,
) -> Vec<Result<PublicListener, PublicListener>> {
    let find = |public: PublicListener| {
        let most = if matches!(public.said, Address::Passed(_)) { usize::MAX } else { 1 };
        let found: Vec<_> = open.extract_if(.., |one| one.is_same(&public)).take(most).map(Ok).collect();
        if found.is_empty() { vec![Err(public)] } else { found }
    };
    wanted.into_iter().flat_map(find).collect()
}

impl Listeners for PublicListeners {
    fn open(self: Arc<Self>, pool: usize, config: &config::PoolConfig) -> Result<Box<dyn PendingListeners>, Failure> {
        let mut gone = self.listeners(pool).clone();
        let bind = |public: Result<PublicListener, PublicListener>| match public {
            Ok(stays) => Ok((stays, None)),
            Err(new) => {
                let listener = listen::at_reload(&new.said, config)?;
                Ok((new.bound_to(listener.address()), Some(listener)))
            }
        };
        let listeners = match_up(&mut gone, listeners(&config.listen)).into_iter().map(bind);
        let listeners = listeners.collect::<Result<Vec<_>, Failure>>()?;
        Ok(Box::new(ListenerChange { owner: self, pool, listeners, gone }))
    }

    fn relimit(&self, pool: usize) {
        self.data.relimit(pool);
    }
}

/// A change of a pool's listeners.
struct ListenerChange {
    owner: Arc<PublicListeners>,
    pool: usize,
    /// The listeners that the pool will have, in the order of the configuration; a new one comes with its socket.
    listeners: Vec<(PublicListener, Option<Listener>)>,
    gone: Vec<PublicListener>,
}

impl PendingListeners for ListenerChange {
    fn activate(self: Box<Self>) -> Result<Closing, String> {
        let Self { owner, pool: index, listeners, gone } = *self;
        if gone.is_empty() && listeners.iter().all(|(_, listener)| listener.is_none()) {
            return Ok(Box::pin(std::future::ready(())));
        }
        let (data, (pool, _)) = (&owner.data, &owner.pools[index]);
        let (mut open, mut failed) = (Vec::new(), Vec::new());
        for (public, listener) in listeners {
            match listener.map(|listener| data.add_public_listener(index, listener)) {
                None => {}
                Some(Ok(())) => tracing::info!(pool = pool.name, address = %public.bound, "public listener opened"),
                Some(Err(error)) => {
                    failed.push(format!("cannot accept on {}: {error}", public.bound));
                    continue;
                }
            }
            open.push(public);
        }
        let has_failed = !failed.is_empty();
        let stays = if has_failed { gone.as_slice() } else { &[] };
        open.extend_from_slice(stays);
        pool.set_listening(open.iter().map(|public| public.bound.clone()).collect());
        *owner.listeners(index) = open;
        if has_failed {
            return Err(failed.join("; "));
        }
        let close = |public: &PublicListener| {
            tracing::info!(pool = pool.name, address = %public.bound, "public listener closed, clients in its queue are served");
            data.close_listener(index, &public.bound)
        };
        let closing: Vec<_> = gone.iter().filter_map(close).collect();
        Ok(Box::pin(async move {
            for closed in closing {
                closed.await;
            }
        }))
    }
}

#[cfg(test)]
mod tests;
