//! Decides which listener a Node app gets when it calls `listen()`, for all workers of a pool. Pure.
//!
//! A *listener* is a listening socket, named by a number of the caller's choice. Number 0 stands for the public
//! listeners, however many addresses are configured. Workers that ask for the same [key](super::Query::key) share a
//! listener.
//!
//! If the configuration names the public address, the *first* server of each worker gets it, whatever address the app
//! asks for, and the app is told that it has the address it asked for. The rule is not bound to one key: a new release
//! may listen on another port, and would then get that port opened while no worker served the public address. Two more
//! rules keep a worker's other servers private:
//!
//! - A key that has a listener of its own already (the second server of an earlier worker) is never a worker's first.
//! - A worker that closes its first server may open that one again, but no other server takes its place.
//!
//! One condition remains: an app with several servers has to open its public one first.
//!
//! Every other address that an app asks for is opened as asked, within [`Policy`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde_json::Value;

use super::query::Query;

mod rules;

pub use rules::{Policy, Where};

/// All public listeners of the pool.
pub const PUBLIC: u32 = 0;

/// The number of servers that a worker may have open at once. An app has a few; an app that listens in a loop must not
/// use up all our descriptors.
pub const MOST_KEYS: usize = 1024;

/// One process: its slot, and its number in that slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId {
    /// The slot, from 0.
    pub slot: u32,
    /// The number of the process; never used twice in that slot.
    pub incarnation: u64,
}

/// The action for a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The public listeners serve it. The worker counts as their user now.
    Mapped {
        /// The key, for the answer.
        key: String,
        /// The address that the app asked for; `None` with a path. If its port is 0, answer with the public port, since
        /// the app accepts any.
        sockname: Option<SocketAddr>,
        /// The data, for the answer.
        data: Value,
    },
    /// A listener for it is open. The worker counts as its user now.
    Join {
        /// The key, for the answer.
        key: String,
        /// The number of the listener.
        listener_id: u32,
        /// The address, for the answer; `None` with a path.
        sockname: Option<SocketAddr>,
        /// The data, for the answer.
        data: Value,
    },
    /// The address has to be bound. Then call [`ListenerRegistry::bound`] or [`ListenerRegistry::not_bound`], and
    /// answer the worker with [`ListenerRegistry::data`].
    Bind {
        /// The key, for the answer.
        key: String,
        /// The address to bind.
        address: Where,
        /// The number of clients that may wait there.
        backlog: u32,
    },
    /// The address is being bound for another worker: ask again when that is done. The worker does not count as a user
    /// yet.
    Wait {
        /// The key to wait for.
        key: String,
    },
    /// The query is refused.
    Refuse {
        /// The key, for the answer.
        key: String,
        /// The kernel's error number; the app sees its name.
        errno: i32,
        /// The app's request, the reason why it is refused, and the remedy: for the log.
        why: String,
    },
}

/// The listeners of a worker.
#[derive(Debug, Default)]
struct WorkerListeners {
    /// The server that the public listeners serve. Once chosen it stays, open or closed.
    first: Option<String>,
    /// The keys of its open servers, including the first.
    on: BTreeSet<String>,
}

impl WorkerListeners {
    fn is_on_public(&self) -> bool {
        self.first.as_ref().is_some_and(|first| self.on.contains(first))
    }

    /// The keys of open servers that have a listener of their own.
    fn own(&self) -> impl Iterator<Item = &String> {
        self.on.iter().filter(|key| self.first.as_ref() != Some(key))
    }
}

/// A key that has a listener of its own, or will get one.
#[derive(Debug)]
struct OwnListener {
    /// The listener, and the address that its workers are told; `None` while it is being bound.
    open: Option<(u32, Option<SocketAddr>)>,
    data: Value,
}

/// The listeners of a pool's workers.
#[derive(Debug)]
pub struct ListenerRegistry {
    policy: Policy,
    workers: BTreeMap<WorkerId, WorkerListeners>,
    own: BTreeMap<String, OwnListener>,
    /// The data that workers get with a key that the public listeners serve. The last entry stays when no worker is
    /// left, so that TLS sessions of clients survive the replacement of the only worker.
    public: BTreeMap<String, Value>,
}

impl ListenerRegistry {
    /// Returns the registry of a pool that has no workers yet.
    pub fn new(policy: Policy) -> Self {
        Self { policy, workers: BTreeMap::new(), own: BTreeMap::new(), public: BTreeMap::new() }
    }

    /// Decides on a query: the app of this worker wants to listen.
    pub fn ask(&mut self, worker: WorkerId, query: &Query) -> Decision {
        let key = query.key();
        let target = match rules::target(query) {
            Ok(target) => target,
            Err(refusal) => return refusal.of(key),
        };
        let asking = self.workers.entry(worker).or_default();
        if asking.on.contains(&key) {
            return target.is_taken().of(key);
        }
        if asking.on.len() >= MOST_KEYS {
            return target.is_one_too_many(MOST_KEYS).of(key);
        }
        let is_first = match &asking.first {
            Some(first) => *first == key,
            None => {
                let is_free = self.public.contains_key(&key) || !self.own.contains_key(&key);
                target.may_be_public(&self.policy) && is_free
            }
        };
        if is_first {
            asking.first = Some(key.clone());
            asking.on.insert(key.clone());
            let data = first_said(self.public.entry(key.clone()).or_default(), query);
            self.forget_public();
            return Decision::Mapped { key, sockname: target.sockname(), data };
        }
        match self.own.get_mut(&key) {
            Some(OwnListener { open: None, .. }) => Decision::Wait { key },
            Some(OwnListener { open: Some((listener_id, sockname)), data }) => {
                asking.on.insert(key.clone());
                Decision::Join { key, listener_id: *listener_id, sockname: *sockname, data: first_said(data, query) }
            }
            None => match target.may_be_bound(query, &self.policy) {
                Err(refusal) => refusal.of(key),
                Ok(address) => {
                    asking.on.insert(key.clone());
                    self.own.insert(key.clone(), OwnListener { open: None, data: query.data.clone() });
                    Decision::Bind { key, address, backlog: query.backlog.unwrap_or(rules::BACKLOG) }
                }
            },
        }
    }

    /// Returns true if the worker serves the public address, if there is one.
    pub fn serves_public(&self, worker: WorkerId) -> bool {
        !self.policy.public || self.workers.get(&worker).is_some_and(WorkerListeners::is_on_public)
    }

    /// Records that a key's listener is open. Its number must not be [`PUBLIC`] or another listener's. The workers that
    /// asked for it count as its users.
    pub fn bound(&mut self, key: &str, listener_id: u32, sockname: Option<SocketAddr>) {
        if let Some(own) = self.own.get_mut(key) {
            own.open.get_or_insert((listener_id, sockname));
        }
    }

    /// Records that a key could not be bound. All queries for it are forgotten; the next one tries again.
    pub fn not_bound(&mut self, key: &str) {
        if self.own.get(key).is_some_and(|own| own.open.is_none()) {
            self.own.remove(key);
            for worker in self.workers.values_mut().filter(|worker| worker.first.as_deref() != Some(key)) {
                worker.on.remove(key);
            }
        }
    }

    /// Returns the data sent to each worker of a key with the answer: the first data that any of them sent.
    pub fn data(&self, key: &str) -> Value {
        let own = self.own.get(key).map(|own| &own.data);
        own.or_else(|| self.public.get(key)).cloned().unwrap_or_default()
    }

    /// Records that a worker's app closed the server of a key.
    pub fn closed(&mut self, worker: WorkerId, key: &str) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.on.remove(key);
        }
    }

    /// Records that a worker is gone, or gets no more connections.
    pub fn left(&mut self, worker: WorkerId) {
        self.workers.remove(&worker);
        self.forget_public();
    }

    /// Returns the numbers of the listeners that a worker uses.
    pub fn listeners_of(&self, worker: WorkerId) -> Vec<u32> {
        let Some(worker) = self.workers.get(&worker) else { return Vec::new() };
        let public = worker.is_on_public().then_some(PUBLIC);
        public.into_iter().chain(worker.own().filter_map(|key| self.listener_id(key))).collect()
    }

    /// Returns the key under which a worker takes connections of a listener; `None` if it does not use that listener.
    pub fn key_of(&self, worker: WorkerId, listener_id: u32) -> Option<&str> {
        let worker = self.workers.get(&worker)?;
        if listener_id == PUBLIC {
            return worker.first.as_deref().filter(|_| worker.is_on_public());
        }
        worker.own().find(|key| self.listener_id(key) == Some(listener_id)).map(String::as_str)
    }

    /// Returns the open listeners that no worker uses, by key; the public one is never among them.
    ///
    /// They stay until [`ListenerRegistry::forget`], so that clients can wait there for a worker that is being
    /// replaced.
    pub fn unwanted(&self) -> Vec<(&str, u32)> {
        let wanted: BTreeSet<&String> = self.workers.values().flat_map(WorkerListeners::own).collect();
        let open = self.own.iter().filter(|(key, _)| !wanted.contains(key));
        open.filter_map(|(key, own)| own.open.map(|(listener_id, _)| (key.as_str(), listener_id))).collect()
    }

    /// Forgets a key because its unused listener will be closed. Returns `None` if a worker uses it again.
    pub fn forget(&mut self, key: &str) -> Option<u32> {
        let (_, listener_id) = self.unwanted().into_iter().find(|(unwanted, _)| *unwanted == key)?;
        self.own.remove(key);
        Some(listener_id)
    }

    fn listener_id(&self, key: &str) -> Option<u32> {
        self.own.get(key)?.open.map(|(listener_id, _)| listener_id)
    }

    /// Keeps the public keys that a worker uses, or the last ones if no worker is there.
    fn forget_public(&mut self) {
        let had: BTreeSet<&String> = self.workers.values().filter_map(|worker| worker.first.as_ref()).collect();
        if !had.is_empty() {
            self.public.retain(|key, _| had.contains(key));
        }
    }
}

/// Returns the data for all workers of a key: the first that was sent, or else that of this query.
fn first_said(data: &mut Value, query: &Query) -> Value {
    if data.is_null() {
        data.clone_from(&query.data);
    }
    data.clone()
}

#[cfg(test)]
mod tests;
