//! Promises, observations and verdicts. Pure.

use std::collections::BTreeMap;

use roundelay_checker::Class;
use serde::Serialize;

use super::allowed::Allowed;
use super::checked::Checked;
use crate::analysis::Metric;

/// The promise about the load, which every fault makes.
pub(crate) const LOST: &str = "operations lost";

/// One promise of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Promise {
    /// The promise.
    pub what: String,
    /// The allowed failures.
    pub allowed: String,
    /// The observation.
    pub seen: String,
    /// True if it was kept.
    pub is_kept: bool,
    /// The text in a table if it was broken: a few words, such as `never found`.
    #[serde(skip)]
    pub broken: String,
}

/// The verdict on a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "why", rename_all = "snake_case")]
pub enum Verdict {
    /// Every promise was kept.
    Passed,
    /// A promise was broken.
    Failed,
    /// Nothing is proved: the generator was the limit, or nothing was requested.
    Void(String),
    /// It was not run, for this reason.
    Skipped(String),
}

impl Promise {
    /// Returns a promise with its result.
    pub fn new(
        what: impl Into<String>,
        broken: impl Into<String>,
        allowed: impl Into<String>,
        seen: impl Into<String>,
        is_kept: bool,
    ) -> Self {
        Self { what: what.into(), broken: broken.into(), allowed: allowed.into(), seen: seen.into(), is_kept }
    }

    /// Returns the promise that every operation of a load was answered in full, except for the allowed failures.
    pub(crate) fn answered(checked: &Checked, allowed: &Allowed) -> Self {
        let excused = allowed.excused(checked);
        let failed = checked.failed_total();
        let stray = failed - excused;
        let is_kept = stray == 0 && allowed.most.is_none_or(|most| excused <= most);
        let mut seen = match failed {
            0 => format!("all {} answered", checked.good),
            _ => format!("{failed} of {} lost: {}", checked.started, classes(&checked.failed)),
        };
        if stray > 0 && excused > 0 {
            seen += &format!("; {stray} of them not for that reason");
        }
        let words = match (allowed.most, allowed.because.as_str()) {
            (_, "") => "none".to_owned(),
            (Some(most), because) => format!("at most {most}: {because}"),
            (None, because) => because.to_owned(),
        };
        let lost = format!("{} of {} lost", number(failed), number(checked.started));
        Self::new(LOST, lost, words, seen, is_kept)
    }
}

/// Writes `12,345`.
pub(crate) fn number(count: u64) -> String {
    Metric::Errors.format(count as f64)
}

/// Writes `2 reset_midway, 1 refused`.
fn classes(failed: &BTreeMap<Class, u64>) -> String {
    failed.iter().map(|(class, count)| format!("{count} {class}")).collect::<Vec<_>>().join(", ")
}

/// Returns the verdict on promises and load: the first that applies. A broken promise counts even if the generator had
/// trouble.
pub(crate) fn verdict(promises: &[Promise], checked: &Checked) -> Verdict {
    if promises.iter().any(|promise| !promise.is_kept) {
        Verdict::Failed
    } else if checked.not_started > 0 {
        let count = checked.not_started;
        Verdict::Void(format!(
            "the generator was the limit: {count} operations were not carried out; take a lower --rate"
        ))
    } else if checked.good == 0 {
        Verdict::Void("no operation has ended well: nothing was checked".to_owned())
    } else {
        Verdict::Passed
    }
}

impl Verdict {
    /// Returns the word for tables and programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Void(_) => "void",
            Self::Skipped(_) => "n/a",
        }
    }

    /// Returns true if a drill with this verdict is no success; neither is one that proves nothing.
    pub fn is_bad(&self) -> bool {
        matches!(self, Self::Failed | Self::Void(_))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::super::checked::Failed;
    use super::*;

    pub(crate) fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Returns a load of a hundred good operations and these failures (class, start, end in ms).
    pub(crate) fn planted(failures: &[(Class, u64, u64)]) -> Checked {
        let failures: Vec<_> =
            failures.iter().map(|&(class, at, ended)| Failed { class, at: ms(at), ended: ms(ended) }).collect();
        let mut failed = BTreeMap::new();
        for failure in &failures {
            *failed.entry(failure.class).or_default() += 1;
        }
        Checked { started: 100 + failures.len() as u64, good: 100, failed, failures, ..Checked::default() }
    }

    fn killed(most: u64, ends_show: bool) -> Allowed {
        Allowed::taken_along(most, vec![(ms(100), ms(120))], ends_show, "what was open".to_owned())
    }

    #[test]
    fn one_failure_breaks_a_promise_that_allows_none() {
        assert!(Promise::answered(&planted(&[]), &Allowed::nothing()).is_kept);
        for class in Class::ALL {
            let promise = Promise::answered(&planted(&[(class, 1, 2)]), &Allowed::nothing());
            assert!(!promise.is_kept, "{class}");
            assert_eq!(promise.seen, format!("1 of 101 lost: 1 {class}"));
            assert_eq!(promise.allowed, "none");
        }
    }

    #[test]
    fn dead_workers_failures_are_excused_by_number_time_and_class() {
        let reset = |at, ended| (Class::ResetMidway, at, ended);
        let kept = |failures: &[_], allowed: &Allowed| Promise::answered(&planted(failures), allowed).is_kept;
        assert!(kept(&[reset(90, 110), reset(119, 140)], &killed(2, true)));
        assert!(!kept(&[reset(90, 110), reset(119, 140)], &killed(1, true)), "one too many");
        assert!(!kept(&[reset(121, 130)], &killed(9, true)), "it began later");
        assert!(!kept(&[reset(10, 99)], &killed(9, true)), "it had ended before");
        let truncated = [(Class::Truncated, 90, 110)];
        assert!(kept(&truncated, &killed(1, false)));
        assert!(!kept(&truncated, &killed(1, true)), "who stands before the worker has to reset it");
        for class in [Class::Refused, Class::Timeout, Class::WrongBytes, Class::BadStatus] {
            assert!(!kept(&[(class, 90, 110)], &killed(9, false)), "{class} is no end of a connection");
        }
    }

    #[test]
    fn words_say_the_number_and_what_does_not_fit() {
        let failures = [(Class::ResetMidway, 90, 110), (Class::Refused, 90, 110)];
        let promise = Promise::answered(&planted(&failures), &killed(7, true));
        assert_eq!(promise.allowed, "at most 7: what was open");
        assert_eq!(promise.seen, "2 of 102 lost: 1 refused, 1 reset_midway; 1 of them not for that reason");
    }

    #[test]
    fn outage_excuses_refused_connects_only_while_it_lasts() {
        let outage = Allowed::outage(None, (ms(100), ms(300)), "the gap".to_owned());
        let kept = |failure| Promise::answered(&planted(&[failure]), &outage).is_kept;
        assert!(kept((Class::Refused, 200, 201)) && kept((Class::StaleKeepalive, 90, 100)));
        assert!(!kept((Class::Refused, 301, 302)) && !kept((Class::WrongBytes, 200, 201)));
        assert!(!kept((Class::Timeout, 200, 9000)), "no client may be left hanging");
        let numbered = Allowed { most: Some(1), ..outage.clone() };
        let twice = planted(&[(Class::Refused, 200, 201), (Class::Refused, 210, 211)]);
        assert!(Promise::answered(&twice, &outage).is_kept && !Promise::answered(&twice, &numbered).is_kept);
    }

    #[test]
    fn reload_excuses_its_kept_connections_and_no_more() {
        let reloads = Allowed::stale(2, vec![(ms(100), ms(200)), (ms(500), ms(600))], "kept".to_owned());
        let kept = |failures: &[_]| Promise::answered(&planted(failures), &reloads).is_kept;
        let stale = |at| (Class::StaleKeepalive, at, at + 1);
        assert!(kept(&[stale(150), stale(550)]));
        assert!(!kept(&[stale(150), stale(160), stale(550)]), "one too many");
        assert!(!kept(&[stale(300)]), "between the two");
        assert!(!kept(&[(Class::ResetMidway, 150, 160)]), "not at rest");
    }

    #[test]
    fn broken_promise_fails_and_late_generator_proves_nothing() {
        let [kept, broken] = [true, false].map(|is_kept| Promise::new("a", "no a", "b", "c", is_kept));
        assert_eq!(verdict(std::slice::from_ref(&kept), &planted(&[])), Verdict::Passed);
        let limited = Checked { not_started: 3, ..planted(&[]) };
        assert!(
            matches!(verdict(std::slice::from_ref(&kept), &limited), Verdict::Void(why) if why.contains("3 operations"))
        );
        assert_eq!(verdict(&[kept.clone(), broken], &limited), Verdict::Failed, "a failure counts all the same");
        assert!(matches!(verdict(&[kept], &Checked::default()), Verdict::Void(_)));
        assert!(Verdict::Failed.is_bad() && Verdict::Void(String::new()).is_bad());
        assert!(!Verdict::Passed.is_bad() && !Verdict::Skipped(String::new()).is_bad());
    }
}
