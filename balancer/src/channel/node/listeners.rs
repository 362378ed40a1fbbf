//! Which listener an app means when it listens, for all workers of a pool. Pure.
//!
//! A *listener* is a listening socket by the caller's number; listener 0 is the public one, however many addresses are
//! configured. Workers that ask for the same [key](super::Query::key) share a listener.
//!
//! Where the configuration names the public address, each worker's *first* server gets it, whatever address the app
//! thinks it listens on, and the app is told that it has what it asked for. It is the first of each worker and not one
//! fixed key, since a release may change its own port: its workers would open that one and nobody would be left on the
//! public one. Two things keep a worker's other servers private. What has a listener of its own already (the second
//! server of an earlier worker) is no worker's first. And a worker that closes its first server may open that one
//! again, but no other takes its place. What remains: an app with several servers has to open its public one first.
//!
//! Everything else that an app asks for is opened as it asks, within [`Policy`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde_json::Value;

use super::query::Query;

mod rules;

pub use rules::{Policy, Where};

/// The public listeners of the pool, all of them.
pub const PUBLIC: u32 = 0;

/// So many servers a worker may have open at once. An app has a few; one that listens in a loop must not take all our
/// descriptors.
pub const MOST_KEYS: usize = 1024;

/// One process: its place in the pool, and which it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId {
    /// From 0.
    pub slot: u32,
    /// Never used twice in that slot.
    pub incarnation: u64,
}

/// The action for a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The public listeners serve it. The worker is on it.
    Mapped {
        /// For the answer.
        key: String,
        /// The address that the app asked for; nothing with a path. Where its port is 0, any will do: answer with the
        /// public one.
        sockname: Option<SocketAddr>,
        /// For the answer.
        data: Value,
    },
    /// Its listener is open. The worker is on it.
    Join {
        /// For the answer.
        key: String,
        /// Which it is.
        listener_id: u32,
        /// For the answer; nothing with a path.
        sockname: Option<SocketAddr>,
        /// For the answer.
        data: Value,
    },
    /// It is to be bound, and then [`ListenerRegistry::bound`] or [`ListenerRegistry::not_bound`] to be called, and the
    /// worker answered with [`ListenerRegistry::data`].
    Bind {
        /// For the answer.
        key: String,
        /// The address to bind.
        address: Where,
        /// The number of clients that may wait there.
        backlog: u32,
    },
    /// It is being bound for another worker: ask again when that is done. The worker is not on it.
    Wait {
        /// Which.
        key: String,
    },
    /// It is not served.
    Refuse {
        /// For the answer.
        key: String,
        /// The kernel's number for it; the app sees its name.
        errno: i32,
        /// The app's request, the reason against it, and the remedy: for the log.
        why: String,
    },
}

/// The listeners of a worker.
#[derive(Debug, Default)]
struct WorkerListeners {
    /// Its server that the public listeners serve. Once chosen it stays, open or not.
    first: Option<String>,
    /// The keys it is on, that one among them.
    on: BTreeSet<String>,
}

impl WorkerListeners {
    fn is_on_public(&self) -> bool {
        self.first.as_ref().is_some_and(|first| self.on.contains(first))
    }

    /// Those it is on that have a listener of their own.
    fn own(&self) -> impl Iterator<Item = &String> {
        self.on.iter().filter(|key| self.first.as_ref() != Some(key))
    }
}

/// A key that has, or gets, a listener of its own.
#[derive(Debug)]
struct OwnListener {
    /// Its listener and what its workers are told of it; nothing while it is being bound.
    open: Option<(u32, Option<SocketAddr>)>,
    data: Value,
}

/// The listeners of a pool's workers.
#[derive(Debug)]
pub struct ListenerRegistry {
    policy: Policy,
    workers: BTreeMap<WorkerId, WorkerListeners>,
    own: BTreeMap<String, OwnListener>,
    /// The data that workers are sent with a key that the public listeners serve. The last one stays when no worker is
    /// left, so that a client's session with the app goes on when its only worker is replaced.
    public: BTreeMap<String, Value>,
}

impl ListenerRegistry {
    /// Of a pool without workers.
    pub fn new(policy: Policy) -> Self {
        Self { policy, workers: BTreeMap::new(), own: BTreeMap::new(), public: BTreeMap::new() }
    }

    /// A worker's app listens.
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

    /// A key's listener is open, under a number that is not [`PUBLIC`] and no other's. The workers that asked are on
    /// it.
    pub fn bound(&mut self, key: &str, listener_id: u32, sockname: Option<SocketAddr>) {
        if let Some(own) = self.own.get_mut(key) {
            own.open.get_or_insert((listener_id, sockname));
        }
    }

    /// A key could not be bound. It is as if nobody had asked; the next one tries again.
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

    /// A worker's app closed the server of a key.
    pub fn closed(&mut self, worker: WorkerId, key: &str) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.on.remove(key);
        }
    }

    /// A worker is gone, or gets nothing more.
    pub fn left(&mut self, worker: WorkerId) {
        self.workers.remove(&worker);
        self.forget_public();
    }

    /// The listeners that a worker is on.
    pub fn listeners_of(&self, worker: WorkerId) -> Vec<u32> {
        let Some(worker) = self.workers.get(&worker) else { return Vec::new() };
        let public = worker.is_on_public().then_some(PUBLIC);
        public.into_iter().chain(worker.own().filter_map(|key| self.listener_id(key))).collect()
    }

    /// By which key a worker takes what came through a listener; nothing if it is not on it.
    pub fn key_of(&self, worker: WorkerId, listener_id: u32) -> Option<&str> {
        let worker = self.workers.get(&worker)?;
        if listener_id == PUBLIC {
            return worker.first.as_deref().filter(|_| worker.is_on_public());
        }
        worker.own().find(|key| self.listener_id(key) == Some(listener_id)).map(String::as_str)
    }

    /// Open listeners that no worker is on, by key; the public one is never among them.
    ///
    /// They stay until [`ListenerRegistry::forget`], so that clients can wait there for a worker that is being
    /// replaced.
    pub fn unwanted(&self) -> Vec<(&str, u32)> {
        let wanted: BTreeSet<&String> = self.workers.values().flat_map(WorkerListeners::own).collect();
        let open = self.own.iter().filter(|(key, _)| !wanted.contains(key));
        open.filter_map(|(key, own)| own.open.map(|(listener_id, _)| (key.as_str(), listener_id))).collect()
    }

    /// A listener that nobody is on is to be closed: the key is unknown again. `None` if a worker came back to it.
    pub fn forget(&mut self, key: &str) -> Option<u32> {
        let (_, listener_id) = self.unwanted().into_iter().find(|(unwanted, _)| *unwanted == key)?;
        self.own.remove(key);
        Some(listener_id)
    }

    fn listener_id(&self, key: &str) -> Option<u32> {
        self.own.get(key)?.open.map(|(listener_id, _)| listener_id)
    }

    /// Keeps of the public keys those that somebody has, or the last ones if nobody is there.
    fn forget_public(&mut self) {
        let had: BTreeSet<&String> = self.workers.values().filter_map(|worker| worker.first.as_ref()).collect();
        if !had.is_empty() {
            self.public.retain(|key, _| had.contains(key));
        }
    }
}

/// Returns the data for all workers of a key, if need be that of this query.
fn first_said(data: &mut Value, query: &Query) -> Value {
    if data.is_null() {
        data.clone_from(&query.data);
    }
    data.clone()
}

#[cfg(test)]
mod tests;
