//! Holds our changing opinion of a ready worker. Pure.
//!
//! There are two kinds of signs: answers to health checks, and the worker's condition as seen from outside
//! ([`Condition`]). A bad answer counts after `fall` in a row, and the check is repeated every `fast-interval`. A
//! condition counts at once.

use super::hang::Condition;
use crate::config::Health as Rules;

/// A sign of a worker's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum Sign {
    /// A check was answered well.
    Good,
    /// A check was refused or answered badly.
    Bad,
    /// The worker's condition has changed to this.
    Condition(Condition),
    /// True: the worker says that it ends, or that its application has closed its servers. False: it has opened them
    /// again.
    Ending(bool),
}

/// The opinion of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum Opinion {
    Healthy,
    /// The worker serves a client and has no time for more.
    Busy,
    Unhealthy,
}

/// The state of our opinion; healthy at first.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Health {
    is_failing: bool,
    is_ending: bool,
    condition: Condition,
    /// The number of checks in a row that contradict the opinion.
    against: u32,
}

impl Health {
    /// Takes a sign. Returns the opinion if the sign changed it.
    pub(in crate::supervisor) fn on_sign(&mut self, sign: Sign, config: &Rules) -> Option<Opinion> {
        let was = self.opinion();
        match sign {
            Sign::Good => self.on_check(true, config),
            Sign::Bad => self.on_check(false, config),
            Sign::Condition(condition) => self.condition = condition,
            Sign::Ending(is_ending) => self.is_ending = is_ending,
        }
        let is = self.opinion();
        (is != was).then_some(is)
    }

    fn on_check(&mut self, is_ok: bool, config: &Rules) {
        if is_ok != self.is_failing {
            self.against = 0;
            return;
        }
        self.against += 1;
        if self.against >= if self.is_failing { config.rise } else { config.fall } {
            (self.is_failing, self.against) = (!self.is_failing, 0);
        }
    }

    fn opinion(&self) -> Opinion {
        match self.condition {
            _ if self.is_failing || self.is_ending => Opinion::Unhealthy,
            Condition::Mute | Condition::Stopped => Opinion::Unhealthy,
            Condition::Busy => Opinion::Busy,
            Condition::Well => Opinion::Healthy,
        }
    }

    /// Returns true if checks should come fast: the worker is unhealthy or busy, or the last check contradicted the
    /// opinion.
    pub(in crate::supervisor) fn needs_fast_probes(&self) -> bool {
        self.opinion() != Opinion::Healthy || self.against > 0
    }

    /// Returns true if the checks of the worker have failed, or the last one did.
    pub(in crate::supervisor) fn is_failing_checks(&self) -> bool {
        self.is_failing || self.against > 0
    }

    /// Returns true if the worker does nothing and serves no client, which is not the same as answering badly.
    pub(in crate::supervisor) fn seems_hung(&self) -> bool {
        matches!(self.condition, Condition::Mute | Condition::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opinions(health: &mut Health, signs: &[Sign]) -> Vec<Option<Opinion>> {
        let config = Rules { fall: 3, rise: 2, ..Rules::default() };
        signs.iter().map(|&sign| health.on_sign(sign, &config)).collect()
    }

    #[test]
    fn bad_answers_must_come_in_a_row() {
        let mut health = Health::default();
        assert_eq!(opinions(&mut health, &[Sign::Bad, Sign::Bad, Sign::Good, Sign::Bad, Sign::Bad]), [None; 5]);
        assert!(health.needs_fast_probes() && !health.seems_hung());
        assert_eq!(opinions(&mut health, &[Sign::Bad]), [Some(Opinion::Unhealthy)]);
        assert_eq!(opinions(&mut health, &[Sign::Good, Sign::Bad, Sign::Good]), [None; 3]);
        assert_eq!(opinions(&mut health, &[Sign::Good]), [Some(Opinion::Healthy)]);
        assert!(!health.needs_fast_probes());
    }

    #[test]
    fn condition_counts_at_once() {
        let mut health = Health::default();
        let seems = [Condition::Busy, Condition::Mute, Condition::Stopped, Condition::Busy, Condition::Well];
        assert_eq!(
            opinions(&mut health, &seems.map(Sign::Condition)),
            [Some(Opinion::Busy), Some(Opinion::Unhealthy), None, Some(Opinion::Busy), Some(Opinion::Healthy),]
        );
    }

    #[test]
    fn worker_is_healthy_again_only_when_every_sign_is_good() {
        let mut health = Health::default();
        let signs = [Sign::Ending(true), Sign::Condition(Condition::Busy), Sign::Ending(false)];
        assert_eq!(opinions(&mut health, &signs), [Some(Opinion::Unhealthy), None, Some(Opinion::Busy)]);
        assert_eq!(opinions(&mut health, &[Sign::Condition(Condition::Well)]), [Some(Opinion::Healthy)]);
    }
}
