//! Numbers: counters that outlive a process, histograms per data thread, how a connection ended.
//!
//! Everything here is a relaxed atomic that the data path only increments; `admin` reads them at scrape. No lock, no
//! look-up and no allocation on the way of a byte. [`AcceptLimits`] has locks: it is for clients that wait anyway.

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
