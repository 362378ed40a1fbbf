//! What was promised, what was seen, and what that comes to. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use roundelay_checker::{Class, Record};
use serde::Serialize;

/// Classes of failures by which a client learns that its connection has ended with the process that had it.
const SHOWN_ENDS: [Class; 3] = [Class::ResetBeforeFirstByte, Class::ResetMidway, Class::StaleKeepalive];

/// The same where the kernel may end a dead process's connections in order: half of an answer may look whole.
const ANY_END: [Class; 5] = [
    Class::ResetBeforeFirstByte,
    Class::ClosedBeforeFirstByte,
    Class::ResetMidway,
    Class::StaleKeepalive,
    Class::Truncated,
];

/// What every fault promises about the load.
pub(crate) const LOST: &str = "operations lost";

/// One promise of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Promise {
    /// What is promised.
    pub what: String,
    /// What is allowed.
    pub allowed: String,
    /// What was seen.
    pub seen: String,
    /// Whether it was kept.
    pub is_kept: bool,
}

/// What a fault comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "why", rename_all = "snake_case")]
pub enum Verdict {
    /// Every promise was kept.
    Passed,
    /// One was broken.
    Failed,
    /// Nothing is proved: the generator was the limit, or nothing was asked.
    Void(String),
    /// It was not played, for that reason.
    Skipped(String),
}

/// What the checked load saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Checked {
    /// Operations started.
    pub started: u64,
    /// Operations that ended well.
    pub good: u64,
    /// Failures by class; only those that occurred.
    pub failed: BTreeMap<Class, u64>,
    /// Operations that were not carried out for a reason of the generator's own.
    pub not_started: u64,
    /// Median latency of the good ones, from the intended start, seconds.
    pub p50_seconds: f64,
    /// 99th percentile.
    pub p99_seconds: f64,
    /// The longest.
    pub max_seconds: f64,
    /// Each failure, up to a number that no drill reaches; the report has the first in words.
    #[serde(skip)]
    pub failures: Vec<Failed>,
    /// The first failures in words.
    pub first_failures: Vec<String>,
}

/// One failed operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// How.
    pub class: Class,
    /// When it was to start, from the start of the load.
    pub at: Duration,
    /// When it had failed.
    pub ended: Duration,
}

/// Which failures are no defect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// How many at most; none: as many as fit the rest.
    pub most: Option<u64>,
    /// Of these classes.
    pub classes: Vec<Class>,
    /// Under way at some moment of one of these, from the start of the load.
    pub during: Vec<(Duration, Duration)>,
    /// In words, without the number.
    pub because: String,
}

impl Promise {
    /// A promise, and what became of it.
    pub fn new(what: impl Into<String>, allowed: impl Into<String>, seen: impl Into<String>, is_kept: bool) -> Self {
        Self { what: what.into(), allowed: allowed.into(), seen: seen.into(), is_kept }
    }

    /// That every operation of a load was answered in full, but for those allowed.
    pub fn answered(checked: &Checked, allowed: &Allowed) -> Self {
        let is_excused = |failed: &&Failed| {
            let is_then = |&(from, to): &(Duration, Duration)| failed.at <= to && failed.ended >= from;
            allowed.classes.contains(&failed.class) && allowed.during.iter().any(is_then)
        };
        let excused = checked.failures.iter().filter(is_excused).count() as u64;
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
        Self::new(LOST, words, seen, is_kept)
    }
}

impl Allowed {
    /// Nothing.
    pub fn nothing() -> Self {
        Self { most: Some(0), classes: Vec::new(), during: Vec::new(), because: String::new() }
    }

    /// Operations that a process took with it, at these times. `ends_show` says that whoever stood before it resets what
    /// was cut off; else the kernel may end it in order.
    pub fn taken_along(most: u64, during: Vec<(Duration, Duration)>, ends_show: bool, because: String) -> Self {
        let classes = if ends_show { SHOWN_ENDS.to_vec() } else { ANY_END.to_vec() };
        Self { most: Some(most), classes, during, because }
    }

    /// Everything that shows as a failure at these times, also a refused connect.
    pub fn outage(during: (Duration, Duration), because: String) -> Self {
        let classes = [&ANY_END[..], &[Class::Refused, Class::ConnectTimeout]].concat();
        Self { most: None, classes, during: vec![during], because }
    }

    /// Requests on kept connections, at any time.
    pub fn stale(because: String) -> Self {
        let during = vec![(Duration::ZERO, Duration::MAX)];
        Self { most: None, classes: vec![Class::StaleKeepalive], during, because }
    }
}

impl Checked {
    /// What a finished load came to.
    pub fn new(record: &Record) -> Self {
        let latency = record.latency();
        let found = Class::ALL.map(|class| (class, record.failed(class)));
        let failed = |failure: &roundelay_checker::Failure| Failed {
            class: failure.class,
            at: failure.at,
            ended: failure.ended,
        };
        Self {
            started: record.started(),
            good: record.good(),
            failed: found.into_iter().filter(|(_, count)| *count > 0).collect(),
            not_started: record.not_started() + record.open(),
            p50_seconds: latency.percentile(50.0).as_secs_f64(),
            p99_seconds: latency.percentile(99.0).as_secs_f64(),
            max_seconds: latency.max().as_secs_f64(),
            failures: record.failures().iter().map(failed).collect(),
            first_failures: record.failures().iter().take(10).map(ToString::to_string).collect(),
        }
    }

    /// Failures of all classes.
    pub fn failed_total(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// `2 reset_midway, 1 refused`.
fn classes(failed: &BTreeMap<Class, u64>) -> String {
    failed.iter().map(|(class, count)| format!("{count} {class}")).collect::<Vec<_>>().join(", ")
}

/// What promises and load come to. The first that applies: a broken promise counts whatever the generator's troubles were.
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
    /// A word for tables and programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Void(_) => "void",
            Self::Skipped(_) => "n/a",
        }
    }

    /// Whether a drill that has it is no success. What proves nothing is none.
    pub fn is_bad(&self) -> bool {
        matches!(self, Self::Failed | Self::Void(_))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A load of a hundred good operations and these failures (class, start, end in ms).
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
    fn where_nothing_is_allowed_one_failure_of_any_class_breaks_the_promise() {
        assert!(Promise::answered(&planted(&[]), &Allowed::nothing()).is_kept);
        for class in Class::ALL {
            let promise = Promise::answered(&planted(&[(class, 1, 2)]), &Allowed::nothing());
            assert!(!promise.is_kept, "{class}");
            assert_eq!(promise.seen, format!("1 of 101 lost: 1 {class}"));
            assert_eq!(promise.allowed, "none");
        }
    }

    #[test]
    fn what_a_dead_worker_had_is_excused_up_to_its_number_in_its_time_and_by_its_classes() {
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
    fn the_words_say_the_number_and_what_does_not_fit() {
        let failures = [(Class::ResetMidway, 90, 110), (Class::Refused, 90, 110)];
        let promise = Promise::answered(&planted(&failures), &killed(7, true));
        assert_eq!(promise.allowed, "at most 7: what was open");
        assert_eq!(promise.seen, "2 of 102 lost: 1 refused, 1 reset_midway; 1 of them not for that reason");
    }

    #[test]
    fn in_an_outage_connects_may_be_refused_and_before_or_after_nothing_may_fail() {
        let outage = Allowed::outage((ms(100), ms(300)), "the gap".to_owned());
        let kept = |failure| Promise::answered(&planted(&[failure]), &outage).is_kept;
        assert!(kept((Class::Refused, 200, 201)) && kept((Class::StaleKeepalive, 90, 100)));
        assert!(!kept((Class::Refused, 301, 302)) && !kept((Class::WrongBytes, 200, 201)));
        assert!(!kept((Class::Timeout, 200, 9000)), "nobody may be left hanging");
    }

    #[test]
    fn a_broken_promise_fails_and_an_overburdened_generator_proves_nothing() {
        let [kept, broken] = [true, false].map(|is_kept| Promise::new("a", "b", "c", is_kept));
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
