//! Which worker in rotation a connection goes to.
//!
//! A strategy is one file and its entry in [`ALL`]; config values, help and the law tests read that list.

mod picker;
mod round_robin;

use std::net::IpAddr;
use std::sync::Arc;

use crate::rotation::{SlotId, Upstream};

pub use picker::Picker;

/// Chooses among the workers in rotation. Shared by all data threads.
pub trait Strategy: Send + Sync {
    /// The index of the chosen one in `upstreams`, or `None` if the slice is empty. Never an index out of range.
    fn pick(&self, upstreams: &[Arc<Upstream>], context: &PickContext<'_>) -> Option<usize>;
}

/// What is known of the connection that is to be placed.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickContext<'a> {
    /// The client's address; a client on a unix socket has none.
    pub client: Option<IpAddr>,
    /// What a keyed strategy hashes, where the protocol has one.
    pub key: Option<u64>,
    /// Places this connection has already tried in vain.
    pub tried: &'a [SlotId],
}

/// One strategy: its word, what help says of it, and how it is made.
pub struct Entry {
    /// The word in flags, files, metrics and pages.
    pub name: &'static str,
    /// One line for `--help`.
    pub summary: &'static str,
    /// Makes one for a pool.
    pub build: fn() -> Box<dyn Strategy>,
}

/// Every strategy; the first is the default.
pub const ALL: &[Entry] = &[round_robin::ENTRY];

/// The entry of that name.
pub fn find(name: &str) -> Option<&'static Entry> {
    ALL.iter().find(|entry| entry.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::Endpoint;

    pub(in crate::strategy) fn upstreams(n: u32) -> Vec<Arc<Upstream>> {
        let upstream = |slot| Upstream::new(SlotId(slot), 1, Endpoint::Unix("/nowhere".into()), Arc::default());
        (0..n).map(|slot| Arc::new(upstream(slot))).collect()
    }

    #[test]
    fn every_strategy_keeps_to_the_pool() {
        assert!(!ALL.is_empty());
        for entry in ALL {
            let strategy = (entry.build)();
            let any = PickContext::default();
            assert_eq!(strategy.pick(&[], &any), None, "{}", entry.name);
            for n in 1..=5 {
                for _ in 0..20 {
                    let i = strategy.pick(&upstreams(n), &any);
                    assert!(i.is_some_and(|i| i < n as usize), "{}: {i:?} of {n}", entry.name);
                }
            }
        }
    }

    #[test]
    fn names_are_unique_and_found() {
        for (i, entry) in ALL.iter().enumerate() {
            assert_eq!(ALL.iter().position(|other| other.name == entry.name), Some(i));
            assert!(find(entry.name).is_some());
        }
        assert!(find("roundrobin").is_none());
    }
}
