//! The two directions between supervisors and data threads: what a supervisor asks of a pool's connections, and what the
//! threads report of its workers.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::channel::Channel;
use crate::config::Address;
use crate::dispatch::{Client, DataThreads, PublicRelay, UpstreamReport};
use crate::net::listeners::Listener;
use crate::net::public::Public;
use crate::pool::Pool;
use crate::rotation::SlotId;
use crate::supervisor::{DataPath, SupervisorHandle};

/// One pool's connections on the data threads.
pub(super) struct PoolDataPath {
    data: Arc<DataThreads>,
    /// The pool's index on the data threads.
    index: usize,
    pool: Arc<Pool>,
    /// One relay for each public address, in the mode where each worker has listeners of its own.
    public_relays: Vec<PublicRelay>,
}

impl PoolDataPath {
    /// Returns the data path of the pool with that index. `inherited` are the listeners of its workers, if they accept
    /// by themselves.
    ///
    /// # Errors
    ///
    /// If the relays to its public addresses cannot be added.
    pub(super) fn new(
        data: &Arc<DataThreads>,
        index: usize,
        pool: &Arc<Pool>,
        inherited: &Public,
    ) -> std::io::Result<Self> {
        let public_relays = public_relays(data, pool, inherited)?;
        Ok(Self { data: Arc::clone(data), index, pool: Arc::clone(pool), public_relays })
    }
}

impl DataPath for PoolDataPath {
    fn worker_exited(&self, slot: SlotId, incarnation: u64, recovered: Vec<OwnedFd>) {
        self.data.worker_exited(self.index, slot, incarnation, recovered);
    }

    fn recall(&self, slot: SlotId, incarnation: u64, recovered: Vec<OwnedFd>) {
        self.data.recall(self.index, slot, incarnation, recovered);
    }

    fn close_idle(&self, slot: SlotId, incarnation: u64) {
        self.data.close_idle(self.index, slot, incarnation);
    }

    fn add_listener(&self, listener: Listener, listener_id: u32) -> std::io::Result<()> {
        self.data.add_listener(self.index, listener, listener_id)
    }

    fn close_listener(&self, address: &Address) {
        // The listener closes when its queue is empty; there is no need to wait for that.
        drop(self.data.close_listener(self.index, address));
    }

    fn run_channel(&self, slot: SlotId, channel: Channel) {
        self.data.run_channel(slot, channel);
    }

    fn abort(&self, slot: SlotId, incarnation: u64) {
        self.data.abort(self.index, slot, incarnation);
    }

    fn relay_to_public(&self, address: usize, next: &mut dyn FnMut() -> Option<Client>) -> usize {
        let taken =
            self.public_relays.get(address).map_or(0, |relay| self.data.relay_to_public(&self.pool, relay, next));
        self.pool.stats.recovered.add(taken as u64);
        taken
    }
}

fn public_relays(data: &DataThreads, pool: &Pool, inherited: &Public) -> std::io::Result<Vec<PublicRelay>> {
    match inherited {
        Public::Listeners(_) => Ok(Vec::new()),
        Public::Groups(groups) => groups.iter().map(|group| data.add_public_relay(pool, group.way_in())).collect(),
    }
}

/// Returns the function by which the data threads report to the supervisors, which stand in the order of the pools.
pub(super) fn report_to(supervisors: Vec<SupervisorHandle>) -> impl Fn(UpstreamReport) + Send + Sync + 'static {
    move |UpstreamReport::ConnectFailed { pool, slot, incarnation, .. }| {
        if let Some(supervisor) = supervisors.get(pool) {
            supervisor.connect_failed(slot, incarnation);
        }
    }
}
