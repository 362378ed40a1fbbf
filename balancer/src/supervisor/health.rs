//! Our changing opinion of a ready worker. Pure.
//!
//! Three kinds of signs, from outside of the program: what its probes say, whether its accept queue moves, and, where it
//! offers one, its heartbeat. A bad answer must come `fall` times in a row. Silence counts at once: a suspect loses
//! nothing but new connections, and is asked again every `fast-interval`.

use crate::config::Health as Rules;

/// What was seen of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// A probe was answered well.
    Good,
    /// A probe was refused or answered badly.
    Bad,
    /// A probe was not answered in time.
    Silent,
    /// Its accept queue does not move and it says nothing; or does again.
    Stuck(bool),
    /// Its heartbeat has stopped; or is back.
    Lifeless(bool),
    /// It says that it ends, or has nothing more to be handed connections for; or has again.
    Leaving(bool),
}

/// The opinion has turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is suspect.
    Down,
    /// It is healthy again.
    Up,
}

/// The state of our opinion; healthy at first.
#[derive(Debug, Default)]
pub(super) struct Health {
    is_failing: bool,
    /// Its last probe was not answered.
    is_silent: bool,
    is_stuck: bool,
    is_lifeless: bool,
    is_leaving: bool,
    /// Probes in a row that speak against the opinion.
    against: u32,
}

impl Health {
    /// Takes a sign; says if it turned the opinion.
    pub(super) fn on_sign(&mut self, sign: Sign, rules: &Rules) -> Option<Turn> {
        let was = self.is_down();
        match sign {
            Sign::Good => {
                self.is_silent = false;
                self.on_probe(true, rules);
            }
            Sign::Bad => {
                self.is_silent = false;
                self.on_probe(false, rules);
            }
            Sign::Silent => {
                self.is_silent = true;
                (self.is_failing, self.against) = (true, 0);
            }
            Sign::Stuck(is_stuck) => self.is_stuck = is_stuck,
            Sign::Lifeless(is_lifeless) => self.is_lifeless = is_lifeless,
            Sign::Leaving(is_leaving) => self.is_leaving = is_leaving,
        }
        match (was, self.is_down()) {
            (false, true) => Some(Turn::Down),
            (true, false) => Some(Turn::Up),
            _ => None,
        }
    }

    fn on_probe(&mut self, is_ok: bool, rules: &Rules) {
        if is_ok != self.is_failing {
            self.against = 0;
            return;
        }
        self.against += 1;
        if self.against >= if self.is_failing { rules.rise } else { rules.fall } {
            (self.is_failing, self.against) = (!self.is_failing, 0);
        }
    }

    fn is_down(&self) -> bool {
        self.is_failing || self.is_stuck || self.is_lifeless || self.is_leaving
    }

    /// Whether probes should come fast: it is down, or the last one said the opposite of what we think.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.is_down() || self.against > 0
    }

    /// Whether it was asked and has said nothing: its probe, or the heartbeat that it offers itself.
    pub(super) fn is_mute(&self) -> bool {
        self.is_silent || self.is_lifeless
    }

    /// Whether it does nothing, which is not the same as answering badly.
    pub(super) fn seems_hung(&self) -> bool {
        self.is_silent || self.is_stuck || self.is_lifeless
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(health: &mut Health, signs: &[Sign]) -> Vec<Option<Turn>> {
        let rules = Rules { fall: 3, rise: 2, ..Rules::default() };
        signs.iter().map(|&sign| health.on_sign(sign, &rules)).collect()
    }

    #[test]
    fn bad_answers_must_come_in_a_row() {
        let mut health = Health::default();
        assert_eq!(turns(&mut health, &[Sign::Bad, Sign::Bad, Sign::Good, Sign::Bad, Sign::Bad]), [None; 5]);
        assert!(health.is_in_doubt() && !health.seems_hung());
        assert_eq!(turns(&mut health, &[Sign::Bad]), [Some(Turn::Down)]);
        assert_eq!(turns(&mut health, &[Sign::Good, Sign::Bad, Sign::Good]), [None; 3]);
        assert_eq!(turns(&mut health, &[Sign::Good]), [Some(Turn::Up)]);
        assert!(!health.is_in_doubt());
    }

    #[test]
    fn silence_counts_at_once_and_good_answers_end_it() {
        let mut health = Health::default();
        assert_eq!(turns(&mut health, &[Sign::Silent]), [Some(Turn::Down)]);
        assert!(health.seems_hung());
        assert_eq!(turns(&mut health, &[Sign::Good, Sign::Silent, Sign::Good]), [None; 3]);
        assert_eq!(turns(&mut health, &[Sign::Good]), [Some(Turn::Up)]);
        assert!(!health.seems_hung());
    }

    #[test]
    fn it_is_healthy_again_only_when_every_kind_of_sign_is_good() {
        let mut health = Health::default();
        let signs = [Sign::Stuck(true), Sign::Lifeless(true), Sign::Stuck(false)];
        assert_eq!(turns(&mut health, &signs), [Some(Turn::Down), None, None]);
        assert_eq!(turns(&mut health, &[Sign::Lifeless(false)]), [Some(Turn::Up)]);
    }
}
