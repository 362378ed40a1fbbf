//! Least connections: round robin among the workers with the fewest open connections.
//!
//! - Bound: while connections only open and none end, no worker has more than one above another, for its weight. Each
//!   further data thread may add one, since it picks at the same moment.
//! - Cost: reads every worker once for each connection.
//! - Use it where connections last long and their durations differ (WebSockets, databases, streams). For kept-alive
//!   HTTP connections it evens out the number of connections of each worker, which says little about the work: see
//!   `least-waiting`. A worker that is new, or that fails fast, has few connections and therefore attracts all new
//!   ones. `slow-start` helps against the first, health checks against the second.
//! - Weights divide the count. Workers with an equal quotient take turns by weight.
//! - Source: the `leastconn` of HAProxy, the `least_conn` of nginx.

use super::load::Load;
use super::turns::Turns;
use super::{Entry, PickContext, Strategy};
use crate::rotation::{Snapshot, Upstream};

pub(super) const ENTRY: Entry = Entry {
    name: "least-connections",
    summary: "in turn, among those with the fewest open connections",
    is_sticky: false,
    build: |_| Box::new(LeastConnections::default()),
};

#[derive(Default)]
struct LeastConnections {
    turns: Turns,
}

fn load(upstream: &Upstream) -> Load {
    Load::new(upstream.active(), upstream)
}

impl Strategy for LeastConnections {
    fn pick(&self, among: &Snapshot, context: &PickContext<'_>) -> Option<usize> {
        let least = Load::least(among, load)?;
        let is_least = |i: usize| among.upstreams.get(i).is_some_and(|upstream| load(upstream) <= least);
        // Another thread may have given each of them a connection meanwhile. Then the next worker in turn is picked.
        self.turns.next_of(among, context, is_least).or_else(|| self.turns.next(among, context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::Lease;
    use crate::strategy::laws::{pool, weighted};

    const ANY: PickContext<'static> = PickContext { client: None, key: None, tried: &[] };

    #[test]
    fn worker_with_fewest_is_picked_and_equal_ones_take_turns() {
        let (strategy, pool) = (LeastConnections::default(), pool(3));
        let _held: Vec<_> = [0, 0, 1].map(|i| Lease::take(&pool.upstreams[i]).unwrap()).into();
        assert_eq!([(); 3].map(|()| strategy.pick(&pool, &ANY).unwrap()), [2, 2, 2]);
        let _one = Lease::take(&pool.upstreams[2]).unwrap();
        let mut counts = [0; 3];
        (0..10).for_each(|_| counts[strategy.pick(&pool, &ANY).unwrap()] += 1);
        assert_eq!(counts, [0, 5, 5]);
    }

    #[test]
    fn heavy_worker_may_have_more_connections() {
        let (strategy, pool) = (LeastConnections::default(), weighted(&[1, 4]));
        let held: Vec<_> =
            (0..50).map(|_| Lease::take(&pool.upstreams[strategy.pick(&pool, &ANY).unwrap()]).unwrap()).collect();
        assert_eq!([0, 1].map(|i| pool.upstreams[i].active()), [10, 40]);
        drop(held);
    }
}
