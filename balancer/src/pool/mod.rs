//! What all parts share about one application.

mod status;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config;
use crate::mode::Acceptor;
use crate::rotation::Rotation;
use crate::stats::{PoolStats, SlotStats};
use crate::strategy::{self, Picker};

pub use status::{CheckStatus, ExitStatus, PoolStatus, SlotState, WorkerStatus};

/// One pool: its configuration, who is in rotation, its numbers, and what the supervisor last said of it.
pub struct Pool {
    /// The rules it runs by.
    pub config: config::Pool,
    /// How many data threads serve it.
    pub threads: usize,
    /// Who may be picked right now.
    pub rotation: Rotation,
    /// Which of them is.
    pub picker: Picker,
    /// Counters of the pool.
    pub stats: PoolStats,
    /// Counters of its slots, by slot number.
    pub slots: Vec<Arc<SlotStats>>,
    /// The public addresses as bound (port 0 replaced), in the order of the configuration.
    pub listening: Vec<config::Address>,
    /// What the supervisor last published; read by API, metrics and page.
    pub status: ArcSwap<PoolStatus>,
}

impl Pool {
    /// Whether the master sees this pool's connections. Where the workers accept by themselves it sees none, and what it
    /// did not see is not 0.
    pub fn is_observed(&self) -> bool {
        self.config.mode.acceptor() == Acceptor::Master
    }

    /// Who chooses the worker: the strategy's name, or `kernel` where the workers accept.
    pub fn chosen_by(&self) -> &str {
        if self.is_observed() { &self.config.strategy } else { "kernel" }
    }

    /// A pool with no worker yet, of `workers` slots, served by `threads` data threads.
    pub fn new(config: config::Pool, workers: u32, threads: usize, listening: Vec<config::Address>) -> Self {
        let strategy = strategy::find(&config.strategy).unwrap_or(&strategy::ALL[0]);
        Self {
            rotation: Rotation::default(),
            picker: Picker::new((strategy.build)()),
            stats: PoolStats::new(threads),
            slots: (0..workers).map(|_| Arc::default()).collect(),
            status: ArcSwap::from_pointee(PoolStatus::new(workers)),
            config,
            threads,
            listening,
        }
    }
}
