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
use std::sync::atomic::{AtomicBool, Ordering};

use super::bind_limit::BindLimit;
use crate::supervisor::actor::Supervisor;
use crate::supervisor::slot::Event;
use tokio::time::Instant;

use crate::channel::ChannelCommand;
use crate::channel::node::listeners::{Decision, ListenerRegistry, PUBLIC, Policy, Where, WorkerId};
use crate::channel::node::{Answer, NodeEvent, Query};
use crate::config::{self, Address, PassedAs, Ready};
use crate::mode::{Acceptor, Mode};
use crate::net::listeners::Listener;
use crate::os::inspect;

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
    /// Creates the listeners of a pool whose workers are Node's, and which listens at these addresses already.
    pub(in crate::supervisor) fn of(config: &config::PoolConfig, configured: &[Address]) -> Option<Self> {
        // A worker of another user must not open through the master an address that it could not open itself.
        let is_ours = config.identity.as_ref().is_none_or(|identity| identity.owner.is_none());
        let policy = Policy {
            public: !configured.is_empty(),
            public_is_tcp: configured.iter().any(|address| matches!(address, Address::Tcp(_))),
            may_bind_low_ports: is_ours,
            may_bind_paths: is_ours,
        };
        (config.passed_as() == PassedAs::Node).then(|| Self {
            registry: ListenerRegistry::new(policy),
            configured: configured.to_vec(),
            opened: BTreeMap::new(),
            last: PUBLIC,
            mapped: BTreeSet::new(),
            bind_limit: BindLimit::default(),
            most_open: usize::try_from(open_files() / PART_OF_FILES).unwrap_or(usize::MAX).max(8),
        })
    }

    /// Returns all addresses, those of the configuration first.
    fn addresses(&self) -> Vec<Address> {
        self.configured.iter().chain(self.opened.values()).cloned().collect()
    }
}

impl Supervisor {
    /// Handles an event of the Node protocol on a worker's channel.
    pub(in crate::supervisor) fn on_node_event(
        &mut self,
        index: usize,
        incarnation: u64,
        event: NodeEvent,
    ) -> Option<Event> {
        let worker = worker_id(index, incarnation);
        match event {
            NodeEvent::Query(query) => self.answer(index, worker, &query),
            NodeEvent::Listening { .. } => {
                let process_state = self.workers[index].slot.process(incarnation)?;
                if process_state.is_starting() {
                    // A tool's own pipe is no sign that clients can be served.
                    let is_ready = process_state.config.ready == Ready::Listening
                        && self
                            .node_listeners
                            .as_ref()
                            .is_some_and(|node_listeners| node_listeners.registry.serves_public(worker));
                    return is_ready.then_some(Event::Ready(incarnation));
                }
                return Some(Event::ServersClosed(incarnation, false));
            }
            NodeEvent::Closed { key } => {
                let is_meant = self.workers[index]
                    .slot
                    .process(incarnation)
                    .is_some_and(|process_state| process_state.may_close());
                let registry = &mut self.node_listeners.as_mut()?.registry;
                registry.closed(worker, &key);
                let has_none = registry.listeners_of(worker).is_empty();
                if is_meant && registry.unwanted().iter().any(|(unwanted, _)| *unwanted == key) {
                    self.close_one(index, &key);
                }
                self.close_unwanted();
                return has_none.then_some(Event::ServersClosed(incarnation, true));
            }
            // The worker closes its listeners, and ends when its connections have ended.
            NodeEvent::Disconnecting => return self.workers[index].leaves(incarnation),
            NodeEvent::Online => self.workers[index].node_runs(incarnation),
            NodeEvent::Taken(_)
            | NodeEvent::Refused(..)
            | NodeEvent::Message(_)
            | NodeEvent::Pong(_)
            | NodeEvent::StrayDescriptor
            | NodeEvent::Ignored(_)
            | NodeEvent::Broken(_) => {}
        }
        None
    }

    fn answer(&mut self, index: usize, worker: WorkerId, query: &Query) {
        let Some(node_listeners) = &mut self.node_listeners else { return };
        let decision = node_listeners.registry.ask(worker, query);
        let answered = match decision {
            Decision::Mapped { key, sockname, data } => {
                if node_listeners.mapped.len() < MOST_MAPPED && node_listeners.mapped.insert(key.clone()) {
                    let asked = sockname.map_or_else(|| key.clone(), |address| address.to_string());
                    tracing::info!(
                        pool = self.pool.name,
                        asked,
                        "application's first listener mapped to the public listener"
                    );
                }
                let sockname = sockname
                    .map(|said| if said.port() == 0 { public_tcp(node_listeners).unwrap_or(said) } else { said });
                self.answer_with_listener(PUBLIC, key, sockname, data)
            }
            Decision::Join { key, listener_id, sockname, data } => {
                self.answer_with_listener(listener_id, key, sockname, data)
            }
            Decision::Bind { key, address, backlog } => match self.open(index, &address, backlog) {
                Ok((listener_id, sockname)) => {
                    let Some(node_listeners) = &mut self.node_listeners else { return };
                    node_listeners.registry.bound(&key, listener_id, sockname);
                    let data = node_listeners.registry.data(&key);
                    self.answer_with_listener(listener_id, key, sockname, data)
                }
                Err(error) => {
                    let Some(node_listeners) = &mut self.node_listeners else { return };
                    node_listeners.registry.not_bound(&key);
                    let is_told = error.raw_os_error() == Some(libc::EMFILE);
                    if !is_told && !self.workers[index].is_log_limited("not bound") {
                        tell_failed(self.workers[index].name(), address_of(&address).0, &error);
                    }
                    Ok((
                        Answer::Refused { errno: error.raw_os_error().unwrap_or(libc::EADDRNOTAVAIL), key },
                        None,
                        None,
                    ))
                }
            },
            // The registry asks to wait only while another bind is under way, and here a bind ends before the answer is
            // sent.
            Decision::Wait { key } => Ok((Answer::Refused { errno: libc::EAGAIN, key }, None, None)),
            Decision::Refuse { key, errno, why } => {
                if !self.workers[index].is_log_limited("listen refused") {
                    tracing::error!(worker = %self.workers[index].name(), "{why}");
                }
                Ok((Answer::Refused { errno, key }, None, None))
            }
        };
        let (answer, listener_id, listener) = answered.unwrap_or_else(|error: io::Error| {
            let errno = error.raw_os_error().unwrap_or(libc::EBADF);
            (Answer::Refused { errno, key: query.key() }, None, None)
        });
        self.workers[index]
            .send_command(worker.incarnation, ChannelCommand::Answer { seq: query.seq, answer, listener_id, listener });
    }

    /// Builds the answer that gives a worker a listener: the promise to hand over its connections, or the listener
    /// itself.
    fn answer_with_listener(
        &self,
        listener_id: u32,
        key: String,
        sockname: Option<SocketAddr>,
        data: serde_json::Value,
    ) -> io::Result<(Answer, Option<u32>, Option<Arc<OwnedFd>>)> {
        if self.pool.mode == Mode::Handoff {
            return Ok((Answer::RoundRobin { key, sockname, data }, Some(listener_id), None));
        }
        let address = self.node_listeners.as_ref().and_then(|node_listeners| node_listeners.opened.get(&listener_id));
        let listener = Arc::new(self.inherited.share(address)?);
        // The channel assigns its number.
        Ok((Answer::Shared { key, listener: 0, data }, None, Some(listener)))
    }

    /// Binds the address that the application asks for and opens it to clients.
    fn open(&mut self, index: usize, at: &Where, backlog: u32) -> io::Result<(u32, Option<SocketAddr>)> {
        let now = Instant::now();
        let Some(node_listeners) = &mut self.node_listeners else { return Err(io::ErrorKind::NotFound.into()) };
        if node_listeners.opened.len() >= node_listeners.most_open || !node_listeners.bind_limit.take(index, now) {
            if !self.workers[index].is_log_limited("too many listeners") {
                tracing::error!(
                    worker = %self.workers[index].name(), open = node_listeners.opened.len(), most = node_listeners.most_open,
                    "the application listens in a loop, or on too many addresses: refused with EMFILE; a worker may have \
                     256 opened at once and 4 a second, a pool a part of the master's open files (ulimit -n)"
                );
            }
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let config = self.pool.config();
        let listener = bind(at, backlog.min(config.backlog.max(1)), config.keepalive)?;
        drop(config);
        let address = listener.address().clone();
        let Some(node_listeners) = &mut self.node_listeners else { return Err(io::ErrorKind::NotFound.into()) };
        node_listeners.last += 1;
        let listener_id = node_listeners.last;
        match self.pool.mode.acceptor() {
            Acceptor::Master => self.context.data_path.add_listener(listener, listener_id)?,
            Acceptor::Workers => self.inherited.add(listener)?,
        }
        if !self.workers[index].is_log_limited("listening") {
            tracing::info!(pool = self.pool.name, %address, "listener opened for the application");
        }
        let sockname = match &address {
            Address::Tcp(bound) => Some(*bound),
            Address::Unix(_) | Address::Passed(_) => None,
        };
        node_listeners.opened.insert(listener_id, address);
        self.pool.set_listening(node_listeners.addresses());
        Ok((listener_id, sockname))
    }

    /// Forgets the listeners of a worker that has exited.
    pub(in crate::supervisor) fn worker_left(&mut self, index: usize, incarnation: u64) {
        if let Some(node_listeners) = &mut self.node_listeners {
            node_listeners.registry.left(worker_id(index, incarnation));
            self.close_unwanted();
        }
    }

    /// Closes listeners that no worker wants any more, unless a worker is starting that may want them.
    pub(in crate::supervisor) fn close_unwanted(&mut self) {
        let is_settled = self.workers.iter().take(self.desired_workers as usize).all(|worker| {
            worker.slot.replacement().is_none() && worker.slot.parked().is_none() && worker.slot.state().is_up()
        });
        let Some(node_listeners) = self.node_listeners.as_mut().filter(|_| is_settled) else { return };
        let unwanted: Vec<String> =
            node_listeners.registry.unwanted().into_iter().map(|(key, _)| key.to_owned()).collect();
        unwanted.iter().for_each(|key| self.close_one(0, key));
    }

    /// Closes the listener of a key that no worker wants. `slot` is the slot that had it last, for the log.
    fn close_one(&mut self, slot: usize, key: &str) {
        let Some(node_listeners) = &mut self.node_listeners else { return };
        let Some(address) =
            node_listeners.registry.forget(key).and_then(|listener_id| node_listeners.opened.remove(&listener_id))
        else {
            return;
        };
        if !self.workers[slot].is_log_limited("listens no more") {
            tracing::info!(pool = self.pool.name, %address, "listener closed: the application has closed it");
        }
        match self.pool.mode.acceptor() {
            Acceptor::Master => self.context.data_path.close_listener(&address),
            Acceptor::Workers => self.inherited.remove(&address),
        }
        self.pool.set_listening(node_listeners.addresses());
    }
}

/// Returns the number of descriptors that the master may have open.
fn open_files() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn worker_id(index: usize, incarnation: u64) -> WorkerId {
    WorkerId { slot: u32::try_from(index).unwrap_or(u32::MAX), incarnation }
}

/// The first configured TCP address.
fn public_tcp(node_listeners: &NodeListeners) -> Option<SocketAddr> {
    node_listeners.configured.iter().find_map(|address| match address {
        Address::Tcp(bound) => Some(*bound),
        Address::Unix(_) | Address::Passed(_) => None,
    })
}

/// Returns the address to bind, and true if IPv4 is left out.
fn address_of(at: &Where) -> (Address, bool) {
    match at {
        Where::Tcp { address, v6_only, .. } => (Address::Tcp(*address), *v6_only),
        Where::Unix(path) => (Address::Unix(path.clone()), false),
    }
}

fn bind(at: &Where, backlog: u32, keepalive: std::time::Duration) -> io::Result<Listener> {
    let (address, v6_only) = address_of(at);
    let bind = |address: &Address| Listener::bind(address, backlog, keepalive, v6_only).map_err(|error| error.source);
    match (bind(&address), at) {
        // The kernel supports IPv6, but no interface has it.
        (Err(error), Where::Tcp { fallback: Some(fallback), .. })
            if error.kind() == io::ErrorKind::AddrNotAvailable =>
        {
            bind(&Address::Tcp(*fallback))
        }
        (bound, _) => bound,
    }
}

/// True while a thread searches `/proc` for the holder of an address that an application asked for.
static LOOKS: AtomicBool = AtomicBool::new(false);

/// Logs that an address could not be bound, and which process holds it: on a thread that may block on `/proc`, one at a
/// time.
fn tell_failed(worker: String, address: Address, error: &io::Error) {
    let (is_taken, error) = (error.kind() == io::ErrorKind::AddrInUse, error.to_string());
    let may_look = is_taken && !LOOKS.swap(true, Ordering::SeqCst);
    tokio::task::spawn_blocking(move || {
        let holder = match &address {
            Address::Tcp(taken) if may_look => inspect::port_holder(*taken),
            _ => None,
        };
        if may_look {
            LOOKS.store(false, Ordering::SeqCst);
        }
        let held = holder.map(|holder| format!("; held by {} (pid {})", holder.name, holder.pid)).unwrap_or_default();
        tracing::error!(%worker, %address, "cannot listen on the address that the application asks for: {error}{held}");
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unavailable_ipv6_address_falls_back_to_ipv4() {
        let at = |fallback| Where::Tcp { address: "[2001:db8::1]:0".parse().unwrap(), v6_only: false, fallback };
        let error = bind(&at(None), 8, std::time::Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        let bound = bind(&at(Some(([127, 0, 0, 1], 0).into())), 8, std::time::Duration::ZERO).unwrap();
        assert!(matches!(bound.address(), Address::Tcp(address) if address.is_ipv4()), "{}", bound.address());
    }
}
