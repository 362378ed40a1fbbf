//! Least waiting: round robin among the workers with the fewest connections that wait for an answer.
//!
//! A connection waits from the moment its client's bytes went up to the worker until the worker's first byte comes back, and
//! while it has not reached its worker yet. Open connections that are silent do not count, so kept ones do not disturb.
//!
//! - Bound: while nobody waits it is round robin, exactly. A worker that answers nobody gets no more than one connection more
//!   than the least loaded of the others, for its weight.
//! - Costs: two relaxed atomics a request (up, down), and a look at every worker a connection.
//! - Use it where requests differ in how long they take, or a worker may be stuck for a moment: a short request does not
//!   queue behind a long one while somebody is free. It sees bytes and no requests: a client that talks and expects no
//!   answer (one-way protocols, a WebSocket client that had the last word) counts as one that waits, and workers with many
//!   of those look busy.
//! - Weights divide the count, and the turns of those that are equal follow them.
//! - Source: "join the idle queue" (Lu and others, 2011) for a proxy that sees which worker is idle; the least
//!   outstanding requests of HTTP balancers, for protocols that they cannot read.

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
    // One whose endpoint does not answer the connect (its queue is full) makes clients wait just so.
    Load::new(upstream.waiting() + upstream.connecting(), upstream)
}

impl Strategy for LeastWaiting {
    fn pick(&self, among: &Snapshot, context: &PickContext<'_>) -> Option<usize> {
        let least = Load::least(among, load)?;
        let is_least = |i: usize| among.upstreams.get(i).is_some_and(|upstream| load(upstream) <= least);
        // Another thread may have given each of them a connection meanwhile: then it is whose turn it is.
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
    fn a_worker_whose_client_waits_is_passed_over_and_the_others_go_on_in_turn() {
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
    fn a_worker_that_is_not_reached_makes_clients_wait_too() {
        let (strategy, pool) = (LeastWaiting::default(), pool(2));
        let _connecting = Lease::take(&pool.upstreams[0]).unwrap();
        assert_eq!([(); 3].map(|()| strategy.pick(&pool, &ANY).unwrap()), [1, 1, 1]);
    }

    #[test]
    fn a_heavy_worker_may_have_more_that_wait() {
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
