//! Statistics: counters that outlive a process, histograms for each data thread, and the outcomes of connections.
//!
//! All numbers are relaxed atomics. The data path only increments them; `admin` reads them at each scrape. Relaying a
//! byte needs no lock, no look-up and no allocation. [`AcceptLimits`] has locks: only clients that wait anyway use it.

mod accept_limit;
pub mod catalog;
mod counter;
mod histogram;
mod outcome;
mod pool;
mod slot;

pub use accept_limit::AcceptLimits;
pub use counter::{Counter, Gauge};
pub use histogram::{CONNECT_BUCKETS, DURATION_BUCKETS, Histogram, HistogramSnapshot, SPAWN_BUCKETS, Sharded};
pub use outcome::{
    AcceptError, AcceptLimit, Check, ConnectError, Fate, OperationResult, Outcome, Rejection, Restart, Stream,
};
pub use pool::{OperationStats, PoolStats};
pub use slot::SlotStats;
