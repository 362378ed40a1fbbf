//! Random: picks a worker at random.
//!
//! - Bound: only that of chance. Of m connections over n workers each gets m/n, give or take √(m/n).
//! - Cost: one draw (where weights differ, reads every worker).
//! - Use it as the baseline for other strategies, or where a rotation would fall into step with a rhythm of the
//!   clients.
//! - Weights: a worker is drawn in proportion to its weight.
//! - Source: "one choice" in the papers on two choices, see `p2c`.

use super::chance::Chance;
use super::{Entry, PickContext, Strategy};
use crate::rotation::Snapshot;

pub(super) const ENTRY: Entry = Entry {
    name: "random",
    summary: "one drawn at random",
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
