//! Opens to a pool's Node workers the listeners that their application asks for.
//!
//! In Node's cluster an application listens as it would alone, and each worker asks the master for the listener. Which one
//! is meant says [`Doors`]; here it is bound, kept while somebody wants it, and answered.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::allowance::Allowance;
use super::slot::Event;
use super::warden::Warden;
use tokio::time::Instant;

use crate::channel::Order;
use crate::channel::node::doors::{Decision, Doors, PUBLIC, Policy, Where, WorkerId};
use crate::channel::node::{Answer, News, Query};
use crate::config::{self, Address, Handing, Ready};
use crate::mode::{Acceptor, Mode};
use crate::net::listeners::Listener;
use crate::os::inspect;

/// How many servers of an application are remembered as told to be the public one.
const MOST_MAPPED: usize = 64;

/// The part of the master's descriptors that may become listeners of one pool's application.
const PART_OF_FILES: u64 = 32;

/// The listeners of one pool's application.
pub(super) struct Porter {
    doors: Doors,
    /// Where the rules have it listen.
    configured: Vec<Address>,
    /// What the application had opened, by door.
    opened: BTreeMap<u32, Address>,
    last: u32,
    /// Servers of the application that were told to be the public one.
    mapped: BTreeSet<String>,
    allowance: Allowance,
    /// How many may be open at once, whoever asks.
    most_open: usize,
}

impl Porter {
    /// For a pool whose workers are Node's; it listens at these addresses already.
    pub(super) fn of(rules: &config::Pool, configured: &[Address]) -> Option<Self> {
        // Who runs as another user shall not open by us what it could not open itself.
        let is_ours = rules.identity.as_ref().is_none_or(|identity| identity.owner.is_none());
        let policy = Policy {
            public: !configured.is_empty(),
            public_is_tcp: configured.iter().any(|address| matches!(address, Address::Tcp(_))),
            may_bind_low_ports: is_ours,
            may_bind_paths: is_ours,
        };
        (rules.handing() == Handing::Node).then(|| Self {
            doors: Doors::new(policy),
            configured: configured.to_vec(),
            opened: BTreeMap::new(),
            last: PUBLIC,
            mapped: BTreeSet::new(),
            allowance: Allowance::default(),
            most_open: usize::try_from(open_files() / PART_OF_FILES).unwrap_or(usize::MAX).max(8),
        })
    }

    /// All addresses, those of the rules first.
    fn addresses(&self) -> Vec<Address> {
        self.configured.iter().chain(self.opened.values()).cloned().collect()
    }
}

impl Warden {
    /// What Node said on a worker's channel.
    pub(super) fn node_said(&mut self, index: usize, incarnation: u64, news: News) -> Option<Event> {
        let worker = worker_id(index, incarnation);
        match news {
            News::Query(query) => self.answer(index, worker, &query),
            News::Listening { .. } => {
                let life = self.members[index].slot.life(incarnation)?;
                if life.is_starting() {
                    // A tool's own pipe is no sign that clients can be served.
                    let is_ready = life.rules.ready == Ready::Listening
                        && self.porter.as_ref().is_some_and(|porter| porter.doors.serves_public(worker));
                    return is_ready.then_some(Event::Ready(incarnation));
                }
                return Some(Event::Closed(incarnation, false));
            }
            News::Closed { key } => {
                let is_meant = self.members[index].slot.life(incarnation).is_some_and(|life| life.may_close());
                let doors = &mut self.porter.as_mut()?.doors;
                doors.closed(worker, &key);
                let has_none = doors.doors_of(worker).is_empty();
                if is_meant && doors.unwanted().iter().any(|(unwanted, _)| *unwanted == key) {
                    self.close_one(index, &key);
                }
                self.close_unwanted();
                return has_none.then_some(Event::Closed(incarnation, true));
            }
            // It closes its listeners and ends when its connections have ended.
            News::Leaving => return self.members[index].leaves(incarnation),
            News::Online => self.members[index].node_runs(incarnation),
            News::Taken(_)
            | News::Refused(..)
            | News::Message(_)
            | News::Pong(_)
            | News::StrayDescriptor
            | News::Ignored(_)
            | News::Broken(_) => {}
        }
        None
    }

    fn answer(&mut self, index: usize, worker: WorkerId, query: &Query) {
        let Some(porter) = &mut self.porter else { return };
        let decision = porter.doors.ask(worker, query);
        let answered = match decision {
            Decision::Mapped { key, sockname, data } => {
                if porter.mapped.len() < MOST_MAPPED && porter.mapped.insert(key.clone()) {
                    let asked = sockname.map_or_else(|| key.clone(), |address| address.to_string());
                    tracing::info!(pool = self.pool.name, asked, "the application's first listener is the public one");
                }
                let sockname =
                    sockname.map(|said| if said.port() == 0 { public_tcp(porter).unwrap_or(said) } else { said });
                self.answer_door(PUBLIC, key, sockname, data)
            }
            Decision::Join { key, door, sockname, data } => self.answer_door(door, key, sockname, data),
            Decision::Bind { key, address, backlog } => match self.open(index, &address, backlog) {
                Ok((door, sockname)) => {
                    let Some(porter) = &mut self.porter else { return };
                    porter.doors.bound(&key, door, sockname);
                    let data = porter.doors.data(&key);
                    self.answer_door(door, key, sockname, data)
                }
                Err(error) => {
                    let Some(porter) = &mut self.porter else { return };
                    porter.doors.not_bound(&key);
                    let is_told = error.raw_os_error() == Some(libc::EMFILE);
                    if !is_told && !self.members[index].is_told_enough("not bound") {
                        tell_failed(self.members[index].name(), address_of(&address).0, &error);
                    }
                    Ok((
                        Answer::Refused { errno: error.raw_os_error().unwrap_or(libc::EADDRNOTAVAIL), key },
                        None,
                        None,
                    ))
                }
            },
            // Nothing is bound beside the answer: it cannot be under way.
            Decision::Wait { key } => Ok((Answer::Refused { errno: libc::EAGAIN, key }, None, None)),
            Decision::Refuse { key, errno, why } => {
                if !self.members[index].is_told_enough("listen refused") {
                    tracing::error!(worker = %self.members[index].name(), "{why}");
                }
                Ok((Answer::Refused { errno, key }, None, None))
            }
        };
        let (answer, door, listener) = answered.unwrap_or_else(|error: io::Error| {
            let errno = error.raw_os_error().unwrap_or(libc::EBADF);
            (Answer::Refused { errno, key: query.key() }, None, None)
        });
        self.members[index].order(worker.incarnation, Order::Answer { seq: query.seq, answer, door, listener });
    }

    /// The answer that leads a worker to a door: that it will be handed what comes by it, or the listener itself.
    fn answer_door(
        &self,
        door: u32,
        key: String,
        sockname: Option<SocketAddr>,
        data: serde_json::Value,
    ) -> io::Result<(Answer, Option<u32>, Option<Arc<OwnedFd>>)> {
        if self.pool.mode == Mode::Handoff {
            return Ok((Answer::RoundRobin { key, sockname, data }, Some(door), None));
        }
        let address = self.porter.as_ref().and_then(|porter| porter.opened.get(&door));
        let listener = Arc::new(self.watch.share(address)?);
        // Its number is the channel's to give.
        Ok((Answer::Shared { key, listener: 0, data }, None, Some(listener)))
    }

    /// Binds what the application asks for and opens it to clients.
    fn open(&mut self, index: usize, at: &Where, backlog: u32) -> io::Result<(u32, Option<SocketAddr>)> {
        let now = Instant::now();
        let Some(porter) = &mut self.porter else { return Err(io::ErrorKind::NotFound.into()) };
        if porter.opened.len() >= porter.most_open || !porter.allowance.take(index, now) {
            if !self.members[index].is_told_enough("too many listeners") {
                tracing::error!(
                    worker = %self.members[index].name(), open = porter.opened.len(), most = porter.most_open,
                    "the application listens in a loop, or on too many addresses: refused with EMFILE; a worker may have \
                     256 opened at once and 4 a second, a pool a part of the master's open files (ulimit -n)"
                );
            }
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let rules = self.pool.config();
        let listener = bind(at, backlog.min(rules.backlog.max(1)), rules.keepalive)?;
        drop(rules);
        let address = listener.address().clone();
        let Some(porter) = &mut self.porter else { return Err(io::ErrorKind::NotFound.into()) };
        porter.last += 1;
        let door = porter.last;
        match self.pool.mode.acceptor() {
            Acceptor::Master => self.context.connections.open_door(listener, door)?,
            Acceptor::Workers => self.watch.add(listener)?,
        }
        if !self.members[index].is_told_enough("listening") {
            tracing::info!(pool = self.pool.name, %address, "listening, as the application asks");
        }
        let sockname = match &address {
            Address::Tcp(bound) => Some(*bound),
            Address::Unix(_) | Address::Passed(_) => None,
        };
        porter.opened.insert(door, address);
        self.pool.set_listening(porter.addresses());
        Ok((door, sockname))
    }

    /// A worker is gone.
    pub(super) fn worker_left(&mut self, index: usize, incarnation: u64) {
        if let Some(porter) = &mut self.porter {
            porter.doors.left(worker_id(index, incarnation));
            self.close_unwanted();
        }
    }

    /// Closes listeners that no worker wants any more, unless one is on its way that may.
    pub(super) fn close_unwanted(&mut self) {
        let is_settled = self.members.iter().take(self.desired as usize).all(|member| {
            member.slot.heir().is_none() && member.slot.parked().is_none() && member.slot.state().is_up()
        });
        let Some(porter) = self.porter.as_mut().filter(|_| is_settled) else { return };
        let unwanted: Vec<String> = porter.doors.unwanted().into_iter().map(|(key, _)| key.to_owned()).collect();
        unwanted.iter().for_each(|key| self.close_one(0, key));
    }

    /// Closes the listener of a key that no worker wants; the slot is that which had it last, for the log.
    fn close_one(&mut self, slot: usize, key: &str) {
        let Some(porter) = &mut self.porter else { return };
        let Some(address) = porter.doors.forget(key).and_then(|door| porter.opened.remove(&door)) else { return };
        if !self.members[slot].is_told_enough("listens no more") {
            tracing::info!(pool = self.pool.name, %address, "listens no more: the application has closed it");
        }
        match self.pool.mode.acceptor() {
            Acceptor::Master => self.context.connections.close_door(&address),
            Acceptor::Workers => self.watch.remove(&address),
        }
        self.pool.set_listening(porter.addresses());
    }
}

/// How many descriptors the master may have open.
fn open_files() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn worker_id(index: usize, incarnation: u64) -> WorkerId {
    WorkerId { slot: u32::try_from(index).unwrap_or(u32::MAX), incarnation }
}

/// The first configured TCP address.
fn public_tcp(porter: &Porter) -> Option<SocketAddr> {
    porter.configured.iter().find_map(|address| match address {
        Address::Tcp(bound) => Some(*bound),
        Address::Unix(_) | Address::Passed(_) => None,
    })
}

/// What is to be bound, and whether without IPv4.
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
        // A kernel with IPv6 that no interface has.
        (Err(error), Where::Tcp { fallback: Some(fallback), .. })
            if error.kind() == io::ErrorKind::AddrNotAvailable =>
        {
            bind(&Address::Tcp(*fallback))
        }
        (bound, _) => bound,
    }
}

/// True while a thread looks through `/proc` for the holder of an address that an application asked for.
static LOOKS: AtomicBool = AtomicBool::new(false);

/// Says that an address could not be had, and who has it: on a thread that may wait for `/proc`, one at a time.
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
        tracing::error!(%worker, %address, "cannot listen there, as the application asks: {error}{held}");
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_interface_has_ipv6_everywhere_is_everywhere_in_ipv4() {
        let at = |fallback| Where::Tcp { address: "[2001:db8::1]:0".parse().unwrap(), v6_only: false, fallback };
        let error = bind(&at(None), 8, std::time::Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        let bound = bind(&at(Some(([127, 0, 0, 1], 0).into())), 8, std::time::Duration::ZERO).unwrap();
        assert!(matches!(bound.address(), Address::Tcp(address) if address.is_ipv4()), "{}", bound.address());
    }
}
