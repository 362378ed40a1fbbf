//! Our changing opinion of a ready worker, from its probes. Pure.

use crate::config::Health as Rules;

/// Counts good and bad probes in a row.
#[derive(Debug, Default)]
pub(super) struct Health {
    is_down: bool,
    /// Probes in a row against the present opinion.
    against: u32,
}

/// A change of opinion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// `fall` failures in a row.
    Down,
    /// `rise` successes in a row.
    Up,
}

impl Health {
    /// Counts a probe; a change of opinion where this one makes it.
    pub(super) fn on_probe(&mut self, is_ok: bool, rules: &Rules) -> Option<Turn> {
        if is_ok != self.is_down {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let (needed, turn) = if self.is_down { (rules.rise, Turn::Up) } else { (rules.fall, Turn::Down) };
        if self.against < needed {
            return None;
        }
        self.against = 0;
        self.is_down = !self.is_down;
        Some(turn)
    }

    /// Whether something looks wrong: then probes come faster.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.is_down || self.against > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_fall_failures_in_a_row_to_go_down_and_rise_successes_to_come_back() {
        let rules = Rules { fall: 3, rise: 2, ..Rules::default() };
        let mut health = Health::default();
        let probes = [false, false, true, false, false, false, true, false, true, true, true];
        let turns: Vec<_> = probes.iter().map(|&is_ok| health.on_probe(is_ok, &rules)).collect();
        let mut expected = [None; 11];
        expected[5] = Some(Turn::Down);
        expected[9] = Some(Turn::Up);
        assert_eq!(turns, expected);
        assert!(!health.is_in_doubt());
    }
}
