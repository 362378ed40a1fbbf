//! The public listeners of a running master: a reload opens some and closes others.
//!
//! What is new is bound before anything else happens, so that an address that is taken refuses the whole reload. It is
//! served once the new configuration are; until then its clients wait in its queue.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::listen;
use crate::config::{self, Address};
use crate::dispatch::DataThreads;
use crate::failure::Failure;
use crate::net::listeners::{Listener, is_v6_only};
use crate::pool::Pool;

/// The public listeners of the pools, as the controller needs them: the data threads, or a test's double.
pub(super) trait Listeners: Send + Sync {
    /// Binds the addresses of the configuration that this pool, by its number, does not listen on yet. Nothing is
    /// accepted there before [`PendingListeners::activate`]. Reads `/proc` where an address is taken: not for a thread
    /// that must not wait.
    ///
    /// # Errors
    ///
    /// The first address that cannot be had, and the process that has it; what was bound before it is closed.
    fn open(self: Arc<Self>, pool: usize, config: &config::PoolConfig) -> Result<Box<dyn PendingListeners>, Failure>;

    /// Takes over the `max-connections` of the configuration by which the pool runs.
    fn relimit(&self, pool: usize);
}

/// Listeners that a pool is to have from now on; those that are new are closed when it is dropped.
pub(super) trait PendingListeners: Send {
    /// Accepts on what is new, and empties and closes what the pool is not to have any more.
    ///
    /// # Errors
    ///
    /// Which address cannot be accepted on, and why. The old ones are all kept then; the next reload tries again.
    fn activate(self: Box<Self>) -> Result<Closing, String>;
}

/// Resolves when the listeners that went are closed; it need not be awaited.
pub(super) type Closing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The pools' listeners on the data threads.
pub(super) struct PublicListeners {
    data: Arc<DataThreads>,
    pools: Vec<(Arc<Pool>, Mutex<Vec<PublicListener>>)>,
}

/// One public address.
#[derive(Clone, Debug)]
struct PublicListener {
    /// As it was configured; port 0 is any.
    said: Address,
    bound: Address,
    is_v6_only: bool,
}

impl PublicListeners {
    /// Of these pools and the configured address of each of their listeners. They have the same numbers on the data threads.
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

    /// Returns true if a socket that was bound for one would do for the other.
    fn is_same(&self, other: &PublicListener) -> bool {
        (&self.said, self.is_v6_only) == (&other.said, other.is_v6_only)
    }
}

/// The listeners of a configured list, not bound yet.
fn listeners(listen: &[Address]) -> Vec<PublicListener> {
    let public = |said: &Address| PublicListener {
        said: said.clone(),
        bound: said.clone(),
        is_v6_only: is_v6_only(said, listen),
    };
    listen.iter().map(public).collect()
}

/// Takes each of `wanted` from `open` if it is there: a listener that stays, or one to be opened, in the order of `wanted`. What
/// is left in `open` goes. Pure. An address that is listed twice (port 0) counts twice; a name stands for all that were
/// passed by it.
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

/// The change of a pool's listeners.
struct ListenerChange {
    owner: Arc<PublicListeners>,
    pool: usize,
    /// Those it is to have, in the order of the configuration; with its socket what is new.
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
