//! Which worker in rotation a connection goes to.
//!
//! A strategy is one file and its entry in [`ALL`]; config values, help and the law tests read that list. Its header says what
//! it does, its bound, what it costs and when to use it. What they share stands beside them: `turns` that go round, `load`
//! that is compared, `chance`. None of them locks, and none allocates: each data thread picks for itself.
//!
//! Weights are no strategy: they are the workers' ([`Upstream::weight`](crate::rotation::Upstream::weight)), and every strategy
//! goes by them.

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

/// Chooses among the workers in rotation. Shared by all data threads.
pub trait Strategy: Send + Sync {
    /// The index of the chosen one in `among`, or `None` if nobody is there. Never an index out of range.
    fn pick(&self, among: &Snapshot, context: &PickContext<'_>) -> Option<usize>;

    /// The slot that this client belongs to, be its worker in rotation or absent. `None` where clients belong to nobody.
    fn home(&self, among: &Snapshot, context: &PickContext<'_>) -> Option<SlotId> {
        let _ = (among, context);
        None
    }
}

/// The connection that is to be placed, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickContext<'a> {
    /// The client's address; a client on a unix socket has none.
    pub client: Option<IpAddr>,
    /// The value that a keyed strategy hashes, where the protocol has one.
    pub key: Option<u64>,
    /// Places this connection has already tried in vain.
    pub tried: &'a [SlotId],
}

/// One strategy: its word, what help says of it, and how it is made.
#[derive(Debug)]
pub struct Entry {
    /// The word in flags, files, metrics and pages.
    pub name: &'static str,
    /// One line for the people that choose.
    pub summary: &'static str,
    /// True if it promises a client the same worker: what it placed is not moved because that worker is busy.
    pub is_sticky: bool,
    /// Makes one for a pool, with a seed for those that draw lots: the same seed makes the same choices.
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

/// The entry of that name.
pub fn find(name: &str) -> Option<&'static Entry> {
    ALL.iter().find(|entry| entry.name == name)
}
