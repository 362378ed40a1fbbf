//! Round robin: each worker in turn.
//!
//! All data threads share one cursor, so the rotation is exact with any number of threads: of 1,200 connections over
//! three workers each gets 400. With weights 2, 1, 1 they get 600, 300 and 300, evenly spread ([`super::turns`] says
//! how).
//!
//! - Bound: after each full round of unweighted workers all have the same number. With weights, each has exactly its
//!   share after as many rounds as the heaviest weighs.
//! - Cost: one atomic add for each connection.
//! - Use it when connections are alike, or when you want to know which worker is next. It ignores how long a connection
//!   lasts, and does not notice a worker that is stuck.
//! - Source: Nagle's fair queueing (1985) is its oldest description for a network; with weights, see [`super::turns`].

use super::turns::Turns;
use super::{Entry, PickContext, Strategy};
use crate::rotation::Snapshot;

pub(super) const ENTRY: Entry = Entry {
    name: "round-robin",
    summary: "each worker in turn, exactly (default)",
    is_sticky: false,
    build: |_| Box::new(RoundRobin::default()),
};

#[derive(Default)]
struct RoundRobin {
    turns: Turns,
}

impl Strategy for RoundRobin {
    fn pick(&self, among: &Snapshot, context: &PickContext<'_>) -> Option<usize> {
        self.turns.next(among, context)
    }
}
