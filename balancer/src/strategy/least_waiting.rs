//! Least waiting: round robin among the workers with the fewest connections that wait for an answer.
//!
//! A connection waits from the moment when its client's bytes went up to the worker, until the worker's first byte
//! comes back. It also waits while it has not reached its worker yet. Open connections that are silent do not count, so
//! kept-alive ones have no effect.
//!
//! - Bound: while no client waits it is exactly round robin. A worker that answers no client gets at most one
//!   connection more than the least loaded of the others, for its weight.
//! - Cost: two relaxed atomics for each request (up, down), and reads every worker once for each connection.
//! - Use it where requests take different times, or where a worker may be stuck for a moment: a short request does not
//!   queue behind a long one while another worker is free. The master sees bytes, not requests. So a client that sends
//!   and expects no answer (one-way protocols, a WebSocket client that sent the last message) counts as waiting, and
//!   workers with many such clients look busy.
//! - Weights divide the count. Workers with an equal quotient take turns by weight.
//! - Source: "join the idle queue" (Lu and others, 2011), for a proxy that sees by itself which workers are idle; and
//!   the least outstanding requests of HTTP balancers, here for protocols that they cannot read.

use super::load::Load;
use super::turns::Turns;
use super::{Entry, PickContext, Strategy};
use crate::rotation::{Snapshot, Upstream};

pub(super) const ENTRY: Entry = Entry {
    name: "least-waiting",
    summary: "in turn, among those with the fewest clients that wait for an answer",
    is_sticky: false,
    build: |_| Box::new(LeastWaiting::default()),
};

#[derive(Default)]
struct LeastWaiting {
    turns: Turns,
}

fn load(upstream: &Upstream) -> Load {
    // A worker whose endpoint does not answer the connect (its queue is full) makes clients wait just the same.
    Load::new(upstream.waiting() + upstream.connecting(), upstream)
}

impl Strategy for LeastWaiting {
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

    fn hold(pool: &Snapshot, i: usize) -> Lease {
        let mut lease = Lease::take(&pool.upstreams[i]).unwrap();
        lease.connected();
        lease
    }

    #[test]
    fn worker_with_a_waiting_client_is_passed_over() {
        let (strategy, pool) = (LeastWaiting::default(), pool(3));
        let mut blocked = hold(&pool, 1);
        blocked.set_waiting(true);
        let picks = [(); 6].map(|()| strategy.pick(&pool, &ANY).unwrap());
        assert_eq!(picks, [0, 2, 0, 2, 0, 2]);
        blocked.set_waiting(false);
        let mut counts = [0; 3];
        (0..9).for_each(|_| counts[strategy.pick(&pool, &ANY).unwrap()] += 1);
        assert_eq!(counts, [3, 3, 3]);
    }

    #[test]
    fn open_connections_that_wait_for_nothing_do_not_count() {
        let (strategy, pool) = (LeastWaiting::default(), pool(2));
        let _kept: Vec<_> = (0..5).map(|_| hold(&pool, 0)).collect();
        assert_eq!([(); 4].map(|()| strategy.pick(&pool, &ANY).unwrap()), [0, 1, 0, 1]);
    }

    #[test]
    fn connecting_counts_as_waiting() {
        let (strategy, pool) = (LeastWaiting::default(), pool(2));
        let _connecting = Lease::take(&pool.upstreams[0]).unwrap();
        assert_eq!([(); 3].map(|()| strategy.pick(&pool, &ANY).unwrap()), [1, 1, 1]);
    }

    #[test]
    fn heavy_worker_may_have_more_waiting_clients() {
        let (strategy, pool) = (LeastWaiting::default(), weighted(&[3, 1]));
        let mut counts = [0; 2];
        let mut held = Vec::new();
        for _ in 0..80 {
            let i = strategy.pick(&pool, &ANY).unwrap();
            let mut lease = hold(&pool, i);
            lease.set_waiting(true);
            held.push(lease);
            counts[i] += 1;
        }
        assert_eq!(counts, [60, 20]);
    }
}
