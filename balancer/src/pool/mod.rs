//! One application's pool: the state that data threads, supervisor, API and page share.

mod limited;
pub mod message;
pub mod operation;
mod state;
mod status;
mod tally;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Notify;

use crate::config;
use crate::mode::{Acceptor, Mode};
use crate::rotation::{Rotation, SlotId};
use crate::stats::{PoolStats, SlotStats};
use crate::strategy::{self, Picker};

pub(crate) use limited::Limited;
pub use state::PoolState;
pub use status::{CheckStatus, ExitStatus, OtherStatus, PoolStatus, SlotState, WorkerStatus};

/// One pool: its configuration, the workers in rotation, its numbers, and the status that the supervisor last
/// published.
pub struct Pool {
    /// Its name, which never changes.
    pub name: String,
    /// The path of a connection to a worker. It never changes either.
    pub mode: Mode,
    config: ArcSwap<config::PoolConfig>,
    /// The number of data threads that serve it.
    pub threads: usize,
    /// The workers that may be picked right now.
    pub rotation: Rotation,
    /// Picks one of them for each connection.
    pub picker: Picker,
    /// Counters of the pool.
    pub stats: PoolStats,
    slots: ArcSwap<Vec<Arc<SlotStats>>>,
    listening: ArcSwap<Vec<config::Address>>,
    /// True once the log has said that connections begin at a source address other than 127.0.0.1.
    pub(crate) said_other_source: AtomicBool,
    /// True once the log has said that no source port is left.
    pub(crate) said_no_source: AtomicBool,
    listening_changed: Notify,
    /// The status that the supervisor last published. API, metrics and page read it.
    pub status: ArcSwap<PoolStatus>,
}

impl Pool {
    /// Returns true if the master sees this pool's connections. Where the workers accept by themselves the master sees
    /// none, and reporting 0 would be false.
    pub fn is_observed(&self) -> bool {
        self.mode.acceptor() == Acceptor::Master
    }

    /// Returns true if the bytes go through the master. Only then does the master count them.
    pub fn is_relayed(&self) -> bool {
        self.mode == Mode::Proxy
    }

    /// Returns true if the master sees how each connection ends. A Node worker reports only that it took a connection,
    /// so the cost of an operation to its clients is not observed either.
    pub fn sees_ends(&self) -> bool {
        self.is_observed() && self.config().passed_as().tells_ends()
    }

    /// Returns true if a client belongs to one worker, even while that worker is busy.
    pub fn is_sticky(&self) -> bool {
        self.is_observed() && self.picker.strategy().is_sticky
    }

    /// Counts a client that was given to `slot` and belongs to another one. Calls `client` only where a client can be
    /// displaced.
    pub fn count_displaced(&self, slot: SlotId, was_tried: bool, client: impl FnOnce() -> Option<IpAddr>) {
        if !self.is_sticky() || (!was_tried && self.rotation.snapshot().absent().is_empty()) {
            return;
        }
        let context = strategy::PickContext { client: client(), ..Default::default() };
        if self.picker.is_displaced(&self.rotation, &context, slot) {
            self.stats.displaced.increment();
        }
    }

    /// Returns true once a worker has sent a byte to any client.
    pub fn has_answered(&self) -> bool {
        self.slots().iter().any(|slot| slot.tx_bytes.get() > 0)
    }

    /// Returns the name of the strategy that chooses the worker, or `kernel` where the workers accept.
    pub fn chosen_by(&self) -> &'static str {
        if self.is_observed() { self.picker.strategy().name } else { "kernel" }
    }

    /// Returns the present configuration; a reload replaces it as a whole. Cheap: no lock, no allocation. Do not hold
    /// the guard across an `await`.
    pub fn config(&self) -> Guard<Arc<config::PoolConfig>> {
        self.config.load()
    }

    /// Replaces the configuration. A strategy that was chosen by command stays, unless the new configuration names
    /// another strategy than the old one. Only the supervisor calls it.
    pub(crate) fn set_config(&self, config: Arc<config::PoolConfig>) {
        let before = self.config.swap(config);
        let config = self.config();
        if config.strategy != before.strategy {
            self.picker.switch(strategy_of(&config));
        }
    }

    /// Returns the public addresses as bound (port 0 replaced), in the order of the configuration. A reload may change
    /// them.
    pub fn listening(&self) -> Guard<Arc<Vec<config::Address>>> {
        self.listening.load()
    }

    /// Replaces the public addresses. Only the code that opens and closes the public listeners calls it.
    pub(crate) fn set_listening(&self, listening: Vec<config::Address>) {
        self.listening.store(Arc::new(listening));
        self.listening_changed.notify_one();
    }

    /// Waits until there is a public address. Only one task may wait.
    pub(crate) async fn first_address(&self) {
        while self.listening().is_empty() {
            self.listening_changed.notified().await;
        }
    }

    /// Returns the counters of the slots, by slot number. Slots that were scaled away stay in the list, since counters
    /// only grow.
    pub fn slots(&self) -> Guard<Arc<Vec<Arc<SlotStats>>>> {
        self.slots.load()
    }

    /// Makes room for the counters of `count` slots. Only the supervisor calls it.
    pub(crate) fn grow(&self, count: usize) {
        let mut slots = self.slots.load_full();
        if slots.len() < count {
            Arc::make_mut(&mut slots).resize_with(count, Arc::default);
            self.slots.store(slots);
        }
    }

    /// Makes a pool of `workers` slots with no worker yet, served by `threads` data threads.
    pub fn new(config: config::PoolConfig, workers: u32, threads: usize, listening: Vec<config::Address>) -> Self {
        Self {
            rotation: Rotation::default(),
            picker: Picker::new(strategy_of(&config)),
            stats: PoolStats::new(threads),
            slots: ArcSwap::from_pointee((0..workers).map(|_| Arc::default()).collect()),
            status: ArcSwap::from_pointee(PoolStatus::new(workers)),
            name: config.name.clone(),
            mode: config.mode,
            config: ArcSwap::from_pointee(config),
            threads,
            listening: ArcSwap::from_pointee(listening),
            said_other_source: AtomicBool::new(false),
            said_no_source: AtomicBool::new(false),
            listening_changed: Notify::new(),
        }
    }
}

/// Returns the strategy that the configuration names. The first of the list stands in for an unknown name, which
/// loading refuses.
fn strategy_of(config: &config::PoolConfig) -> &'static strategy::Entry {
    strategy::find(&config.strategy).unwrap_or(&strategy::ALL[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commanded_strategy_stays_until_config_names_another() {
        let config = |strategy: &str| {
            let mut config = config::PoolConfig::new("a", config::Program::Demo);
            config.strategy = strategy.to_owned();
            config
        };
        let pool = Pool::new(config("p2c"), 2, 1, Vec::new());
        assert_eq!(pool.chosen_by(), "p2c");
        pool.picker.switch(strategy::find("random").unwrap());
        for (said, chosen) in [("p2c", "random"), ("least-waiting", "least-waiting"), ("p2c", "p2c")] {
            pool.set_config(Arc::new(config(said)));
            assert_eq!(pool.chosen_by(), chosen, "{said}");
        }
    }
}
