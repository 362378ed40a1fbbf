//! Random: a worker drawn by lot.
//!
//! - Bound: none but that of chance. Of m connections over n workers each gets m/n, give or take √(m/n).
//! - Costs: one lot (a look at every worker where weights differ).
//! - Use it as the measure for others, or where a rotation would fall into step with a rhythm of the clients.
//! - Weights: a worker is drawn as often as it weighs.
//! - Source: "one choice" in the papers on two, see `p2c`.

use super::chance::Chance;
use super::{Entry, PickContext, Strategy};
use crate::rotation::Snapshot;

pub(super) const ENTRY: Entry = Entry {
    name: "random",
    summary: "one drawn by lot",
    is_sticky: false,
    build: |seed| Box::new(Random { chance: Chance::new(seed) }),
};

struct Random {
    chance: Chance,
}

impl Strategy for Random {
    fn pick(&self, among: &Snapshot, _context: &PickContext<'_>) -> Option<usize> {
        self.chance.draw(among, None)
    }
}
