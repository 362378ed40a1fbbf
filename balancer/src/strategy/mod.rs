//! Strategies: each picks the worker in rotation that gets a connection.
//!
//! A strategy is one file and its entry in [`ALL`]. Config values, help and the law tests read that list. The header of
//! each file says what the strategy does, its bound, its cost and when to use it. The strategies share three parts:
//! `turns` go round the workers, `load` compares them, and `chance` draws at random. No part locks or allocates: each
//! data thread picks for itself.
//!
//! Weights are no strategy: they belong to the workers ([`Upstream::weight`](crate::rotation::Upstream::weight)), and
//! every strategy follows them.

mod chance;
mod least_connections;
mod least_waiting;
mod load;
mod p2c;
mod picker;
mod random;
mod round_robin;
mod source_hash;
mod turns;

#[cfg(test)]
mod laws;

use std::net::IpAddr;

use crate::rotation::{SlotId, Snapshot};

pub use picker::Picker;

/// Chooses among the workers in rotation. All data threads share one strategy.
pub trait Strategy: Send + Sync {
    /// Returns the index of the chosen worker in `among`, or `None` if there is no worker. The index is never out of
    /// range.
    fn pick(&self, among: &Snapshot, context: &PickContext<'_>) -> Option<usize>;

    /// Returns the slot that this client belongs to; its worker may be in rotation or absent. `None` where clients do
    /// not belong to workers.
    fn home(&self, among: &Snapshot, context: &PickContext<'_>) -> Option<SlotId> {
        let _ = (among, context);
        None
    }
}

/// The facts about a connection for which a worker is picked.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickContext<'a> {
    /// The client's address; a client on a unix socket has none.
    pub client: Option<IpAddr>,
    /// The key that a keyed strategy hashes, where the protocol has one.
    pub key: Option<u64>,
    /// Slots that this connection has already tried without success.
    pub tried: &'a [SlotId],
}

/// One strategy: its name, its help text, and its constructor.
#[derive(Debug)]
pub struct Entry {
    /// The name in flags, files, metrics and pages.
    pub name: &'static str,
    /// One line of help for choosing a strategy.
    pub summary: &'static str,
    /// True if it promises a client the same worker. Then a client does not move to another worker because its own is
    /// busy.
    pub is_sticky: bool,
    /// Makes a strategy for a pool. The seed is for those that draw at random: the same seed makes the same choices.
    pub build: fn(seed: u64) -> Box<dyn Strategy>,
}

/// Every strategy; the first is the default.
pub const ALL: &[Entry] = &[
    round_robin::ENTRY,
    least_waiting::ENTRY,
    least_connections::ENTRY,
    p2c::ENTRY,
    random::ENTRY,
    source_hash::ENTRY,
];

/// Returns the entry of that name.
pub fn find(name: &str) -> Option<&'static Entry> {
    ALL.iter().find(|entry| entry.name == name)
}
