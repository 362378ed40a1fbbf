//! The load of a worker: its connections divided by its weight, compared without a division. Pure.

use std::cmp::Ordering;

use crate::rotation::{Snapshot, Upstream};

/// Connections divided by weight. Of two workers with the same number of connections, the heavier one has less load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    connections: u64,
    weight: u64,
}

impl Load {
    pub(super) fn new(connections: usize, upstream: &Upstream) -> Self {
        Self { connections: connections as u64, weight: u64::from(upstream.weight()) }
    }

    /// Returns the least load of the workers; `None` if there is no worker.
    pub(super) fn least(among: &Snapshot, of: impl Fn(&Upstream) -> Self) -> Option<Self> {
        among.upstreams.iter().map(|upstream| of(upstream)).min()
    }
}

impl Ord for Load {
    fn cmp(&self, other: &Self) -> Ordering {
        let [mine, theirs] =
            [(self, other), (other, self)].map(|(one, two)| u128::from(one.connections) * u128::from(two.weight));
        mine.cmp(&theirs)
    }
}

impl PartialOrd for Load {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Load {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Load {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_connections_divided_by_weight() {
        let load = |connections, weight| Load { connections, weight };
        assert!(load(1, 100) < load(2, 100));
        assert!(load(2, 300) < load(1, 100));
        assert_eq!(load(2, 200), load(1, 100));
        assert_eq!(load(0, 1), load(0, 1000));
        assert!(load(u64::MAX, 100) > load(u64::MAX, 101));
    }
}
