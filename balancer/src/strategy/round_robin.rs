//! Round robin: each worker in turn.
//!
//! One cursor for all data threads, so the rotation is exact however many threads accept: of 1,200 connections over three
//! workers each gets 400. With weights 2, 1, 1 they get 600, 300 and 300, smoothly ([`super::turns`] says how).
//!
//! - Bound: after each full round of unweighted workers all have had as many; with weights, after as many rounds as the
//!   heaviest weighs, each exactly its share.
//! - Costs: one atomic add a connection.
//! - Use it when connections are alike, or when you want to know which worker is next. It is blind to how long a connection
//!   lasts and to a worker that is stuck.
//! - Source: Nagle's fair queueing (1985) is the oldest account of it in a network; with weights, see [`super::turns`].

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
