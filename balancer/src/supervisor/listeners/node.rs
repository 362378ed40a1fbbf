//! Opens listeners for a pool's Node workers, as their application asks for them.
//!
//! In Node's cluster an application listens as it would alone, and each worker asks the master for the listener.
//! [`ListenerRegistry`] decides which listener is meant; this module binds it, keeps it while a worker wants it, and
//! answers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::time::Instant;

use super::bind::{address_of, bind, tell_failed};
use super::bind_limit::BindLimit;
use crate::channel::ChannelCommand;
use crate::channel::node::listeners::{Decision, ListenerRegistry, PUBLIC, Policy, Where, WorkerId};
use crate::channel::node::{Answer, NodeEvent, Query};
use crate::config::{self, Address, Ready};
use crate::mode::{Acceptor, Mode};
use crate::supervisor::slot::Event;
use crate::supervisor::worker::WorkerSlot;
use crate::supervisor::workers::Workers;

/// The most servers of an application that are remembered as mapped to the public listener.
const MOST_MAPPED: usize = 64;

/// The divisor of the master's open files that gives the listeners of one pool's application.
const PART_OF_FILES: u64 = 32;

/// The listeners of one pool's application.
pub(in crate::supervisor) struct NodeListeners {
    registry: ListenerRegistry,
    /// The addresses at which the configuration lets it listen.
    configured: Vec<Address>,
    /// The addresses that the application had opened, by listener.
    opened: BTreeMap<u32, Address>,
    last: u32,
    /// Servers of the application that were mapped to the public listener.
    mapped: BTreeSet<String>,
    bind_limit: BindLimit,
    /// The most listeners that may be open at once, over all workers.
    most_open: usize,
}

impl NodeListeners {
    /// Creates the listeners of a pool that listens at these addresses already.
    pub(in crate::supervisor) fn new(config: &config::PoolConfig, configured: &[Address]) -> Self {
        // A worker of another user must not open through the master an address that it could not open itself.
        let is_ours = config.identity.as_ref().is_none_or(|identity| identity.owner.is_none());
        let policy = Policy {
            public: !configured.is_empty(),
            public_is_tcp: configured.iter().any(|address| matches!(address, Address::Tcp(_))),
            may_bind_low_ports: is_ours,
            may_bind_paths: is_ours,
        };
        Self {
            registry: ListenerRegistry::new(policy),
            configured: configured.to_vec(),
            opened: BTreeMap::new(),
            last: PUBLIC,
            mapped: BTreeSet::new(),
            bind_limit: BindLimit::default(),
            most_open: usize::try_from(open_files() / PART_OF_FILES).unwrap_or(usize::MAX).max(8),
        }
    }

    /// Returns all addresses, those of the configuration first.
    fn addresses(&self) -> Vec<Address> {
        self.configured.iter().chain(self.opened.values()).cloned().collect()
    }
}

impl NodeListeners {
    /// Handles an event of the Node protocol on a worker's channel. Returns the event that it is for the slot, if any.
    pub(in crate::supervisor) fn on_event(
        &mut self,
        workers: &mut Workers,
        index: usize,
        incarnation: u64,
        event: NodeEvent,
    ) -> Option<Event> {
        match event {
            NodeEvent::Query(query) => {
                self.answer(workers, index, worker_id(index, incarnation), &query);
                None
            }
            NodeEvent::Listening { .. } => self.listening(workers, index, incarnation),
            NodeEvent::Closed { key } => self.closed(workers, index, incarnation, &key),
            // The worker closes its listeners, and ends when its connections have ended.
            NodeEvent::Disconnecting => workers[index].leaves(incarnation),
            NodeEvent::Online => {
                workers[index].node_runs(incarnation);
                None
            }
            NodeEvent::Taken(_)
            | NodeEvent::Refused(..)
            | NodeEvent::Message(_)
            | NodeEvent::Pong(_)
            | NodeEvent::StrayDescriptor
            | NodeEvent::Ignored(_)
            | NodeEvent::Broken(_) => None,
        }
    }

    /// Forgets the listeners of a worker that has exited.
    pub(in crate::supervisor) fn worker_left(&mut self, workers: &mut Workers, index: usize, incarnation: u64) {
        self.registry.left(worker_id(index, incarnation));
        self.close_unwanted(workers);
    }

    fn listening(&self, workers: &Workers, index: usize, incarnation: u64) -> Option<Event> {
        let process_state = workers[index].slot.process(incarnation)?;
        if !process_state.is_starting() {
            return Some(Event::ServersClosed(incarnation, false));
        }
        // A tool's own pipe is no sign that clients can be served.
        let is_ready = process_state.config.ready == Ready::Listening
            && self.registry.serves_public(worker_id(index, incarnation));
        is_ready.then_some(Event::Ready(incarnation))
    }

    fn closed(&mut self, workers: &mut Workers, index: usize, incarnation: u64, key: &str) -> Option<Event> {
        let worker = worker_id(index, incarnation);
        let may_close = workers[index].slot.process(incarnation).is_some_and(|process_state| process_state.may_close());
        self.registry.closed(worker, key);
        let has_none = self.registry.listeners_of(worker).is_empty();
        if may_close && self.registry.unwanted().iter().any(|(unwanted, _)| *unwanted == key) {
            self.close(workers, index, key);
        }
        self.close_unwanted(workers);
        has_none.then_some(Event::ServersClosed(incarnation, true))
    }

    /// Answers a worker that asks for a listener.
    fn answer(&mut self, workers: &mut Workers, index: usize, worker: WorkerId, query: &Query) {
        let answered = match self.registry.ask(worker, query) {
            Decision::Mapped { key, sockname, data } => {
                self.tell_mapped(&workers.pool.name, &key, sockname);
                let sockname =
                    sockname.map(|said| if said.port() == 0 { self.public_tcp().unwrap_or(said) } else { said });
                self.give(workers, PUBLIC, key, sockname, data)
            }
            Decision::Join { key, listener_id, sockname, data } => self.give(workers, listener_id, key, sockname, data),
            Decision::Bind { key, address, backlog } => match self.open(workers, index, &address, backlog) {
                Ok((listener_id, sockname)) => {
                    self.registry.bound(&key, listener_id, sockname);
                    let data = self.registry.data(&key);
                    self.give(workers, listener_id, key, sockname, data)
                }
                Err(error) => {
                    self.registry.not_bound(&key);
                    let is_told = error.raw_os_error() == Some(libc::EMFILE);
                    if !is_told && !workers[index].is_log_limited("not bound") {
                        tell_failed(workers[index].name(), address_of(&address).0, &error);
                    }
                    Ok(refused(key, error.raw_os_error().unwrap_or(libc::EADDRNOTAVAIL)))
                }
            },
            // The registry asks to wait only while another bind is under way, and here a bind ends before the answer is
            // sent.
            Decision::Wait { key } => Ok(refused(key, libc::EAGAIN)),
            Decision::Refuse { key, errno, why } => {
                if !workers[index].is_log_limited("listen refused") {
                    tracing::error!(worker = %workers[index].name(), %why, "listen of the application refused");
                }
                Ok(refused(key, errno))
            }
        };
        let (answer, listener_id, listener) = answered
            .unwrap_or_else(|error: io::Error| refused(query.key(), error.raw_os_error().unwrap_or(libc::EBADF)));
        let command = ChannelCommand::Answer { seq: query.seq, answer, listener_id, listener };
        workers[index].send_command(worker.incarnation, command);
    }

    /// Logs, once for each address, that a server of the application was mapped to the public listener.
    fn tell_mapped(&mut self, pool: &str, key: &str, sockname: Option<SocketAddr>) {
        if self.mapped.len() < MOST_MAPPED && self.mapped.insert(key.to_owned()) {
            let asked = sockname.map_or_else(|| key.to_owned(), |address| address.to_string());
            tracing::info!(pool, asked, "application's first listener mapped to the public listener");
        }
    }

    /// Builds the answer that gives a worker a listener: the promise to hand over its connections, or the listener
    /// itself.
    fn give(
        &self,
        workers: &Workers,
        listener_id: u32,
        key: String,
        sockname: Option<SocketAddr>,
        data: serde_json::Value,
    ) -> io::Result<Given> {
        if workers.pool.mode == Mode::Handoff {
            return Ok((Answer::RoundRobin { key, sockname, data }, Some(listener_id), None));
        }
        let listener = Arc::new(workers.inherited.share(self.opened.get(&listener_id))?);
        // The channel assigns its number.
        Ok((Answer::Shared { key, listener: 0, data }, None, Some(listener)))
    }

    /// Binds the address that the application asks for and opens it to clients.
    fn open(
        &mut self,
        workers: &mut Workers,
        index: usize,
        at: &Where,
        backlog: u32,
    ) -> io::Result<(u32, Option<SocketAddr>)> {
        if self.opened.len() >= self.most_open || !self.bind_limit.take(index, Instant::now()) {
            if !workers[index].is_log_limited("too many listeners") {
                tracing::error!(
                    worker = %workers[index].name(), open = self.opened.len(), most = self.most_open,
                    "the application listens in a loop, or on too many addresses: refused with EMFILE; a worker may have \
                     256 opened at once and 4 a second, a pool a part of the master's open files (ulimit -n)"
                );
            }
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let config = Arc::clone(&workers.pool.config());
        let listener = bind(at, backlog.min(config.backlog.max(1)), config.keepalive)?;
        let address = listener.address().clone();
        self.last += 1;
        let listener_id = self.last;
        match workers.pool.mode.acceptor() {
            Acceptor::Master => workers.context.data_path.add_listener(listener, listener_id)?,
            Acceptor::Workers => workers.inherited.add(listener)?,
        }
        if !workers[index].is_log_limited("listening") {
            tracing::info!(pool = workers.pool.name, %address, "listener opened for the application");
        }
        let sockname = match &address {
            Address::Tcp(bound) => Some(*bound),
            Address::Unix(_) | Address::Passed(_) => None,
        };
        self.opened.insert(listener_id, address);
        workers.pool.set_listening(self.addresses());
        Ok((listener_id, sockname))
    }

    /// Closes listeners that no worker wants any more, unless a worker is starting that may want them.
    fn close_unwanted(&mut self, workers: &mut Workers) {
        let is_settled = |worker: &WorkerSlot| {
            worker.slot.replacement().is_none() && worker.slot.parked().is_none() && worker.slot.state().is_up()
        };
        if workers.iter().take(workers.desired() as usize).all(is_settled) {
            let unwanted: Vec<_> = self.registry.unwanted().into_iter().map(|(key, _)| key.to_owned()).collect();
            unwanted.iter().for_each(|key| self.close(workers, 0, key));
        }
    }

    /// Closes the listener of a key that no worker wants. `slot` is the slot that had it last, for the log.
    fn close(&mut self, workers: &mut Workers, slot: usize, key: &str) {
        let listener_id = self.registry.forget(key);
        let Some(address) = listener_id.and_then(|listener_id| self.opened.remove(&listener_id)) else { return };
        if !workers[slot].is_log_limited("listens no more") {
            tracing::info!(pool = workers.pool.name, %address, "listener closed: the application has closed it");
        }
        match workers.pool.mode.acceptor() {
            Acceptor::Master => workers.context.data_path.close_listener(&address),
            Acceptor::Workers => workers.inherited.remove(&address),
        }
        workers.pool.set_listening(self.addresses());
    }

    /// The first configured TCP address.
    fn public_tcp(&self) -> Option<SocketAddr> {
        self.configured.iter().find_map(|address| match address {
            Address::Tcp(bound) => Some(*bound),
            Address::Unix(_) | Address::Passed(_) => None,
        })
    }
}

/// An answer, with the number of the listener that the answer promises, or the listener itself.
type Given = (Answer, Option<u32>, Option<Arc<OwnedFd>>);

fn refused(key: String, errno: i32) -> Given {
    (Answer::Refused { errno, key }, None, None)
}

/// Returns the number of descriptors that the master may have open.
fn open_files() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn worker_id(index: usize, incarnation: u64) -> WorkerId {
    WorkerId { slot: u32::try_from(index).unwrap_or(u32::MAX), incarnation }
}
