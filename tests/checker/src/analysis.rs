//! Decides if the failures of a load are allowed. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::failure::Class;
use crate::record::Record;

/// The number of failures that are allowed, for each class. Classes that are not named allow none.
///
/// ```
/// use roundelay_checker::{Allowance, Class};
///
/// // The four requests that a killed worker had begun may end in any way that the client can see.
/// let allowance = Allowance::none().allow(Class::ResetMidway, 4).allow(Class::ResetBeforeFirstByte, 4);
/// assert_eq!("reset_midway=4".parse(), Ok(Allowance::none().allow(Class::ResetMidway, 4)));
/// # let _ = allowance;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowance(BTreeMap<Class, u64>);

impl Allowance {
    /// Allows no failure at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Also allows up to `count` failures of this class.
    #[must_use]
    pub fn allow(mut self, class: Class, count: u64) -> Self {
        self.0.insert(class, count);
        self
    }

    /// Also allows the failures that `other` allows. If both name a class, `other` counts.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Returns the number of allowed failures of that class.
    pub fn of(&self, class: Class) -> u64 {
        self.0.get(&class).copied().unwrap_or(0)
    }
}

impl FromStr for Allowance {
    type Err = String;

    /// Reads `CLASS=N`, several with commas.
    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').try_fold(Self::none(), |allowance, part| {
            let (class, count) = part.split_once('=').ok_or_else(|| format!("`{part}` is not CLASS=N"))?;
            let count = count.parse().map_err(|_| format!("`{count}` is not a number of failures"))?;
            Ok(allowance.allow(class.parse()?, count))
        })
    }
}

/// The verdict on a record. The first variant that applies: a failure counts also if the generator was at its limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// Failures that are not allowed: the class, their number, and the allowed number.
    Failed(Vec<(Class, u64, u64)>),
    /// The number of operations that were not started, or got lost. The load was not the planned one, so nothing is
    /// proved.
    GeneratorLimit(u64),
    /// No operation has ended, so nothing is proved.
    NothingChecked,
    /// No failure beyond those allowed.
    Passed,
}

impl CheckResult {
    /// Returns the exit code of the program: 0, 1 for failures, 3 if nothing is proved.
    pub fn code(&self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed(_) => 1,
            Self::GeneratorLimit(_) | Self::NothingChecked => 3,
        }
    }

    /// Returns a word for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "failed",
            Self::GeneratorLimit(_) => "generator_limit",
            Self::NothingChecked => "nothing_checked",
        }
    }
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Failed(classes) => {
                let one = |(class, count, allowed): &(Class, u64, u64)| format!("{count} {class} ({allowed} allowed)");
                write!(f, "failed: {}", classes.iter().map(one).collect::<Vec<_>>().join(", "))
            }
            Self::GeneratorLimit(count) => {
                write!(f, "the generator was the limit: {count} operations were not carried out")
            }
            Self::NothingChecked => f.write_str("no operation has ended: nothing was checked"),
        }
    }
}

/// Analyses a record whose load has ended.
pub(crate) fn analyse(record: &Record, allowance: &Allowance) -> CheckResult {
    let all = Class::ALL.map(|class| (class, record.failed(class), allowance.of(class)));
    let excess: Vec<_> = all.into_iter().filter(|(_, count, allowed)| count > allowed).collect();
    let missing = record.not_started() + record.open();
    if !excess.is_empty() {
        CheckResult::Failed(excess)
    } else if missing > 0 {
        CheckResult::GeneratorLimit(missing)
    } else if record.started() == 0 {
        CheckResult::NothingChecked
    } else {
        CheckResult::Passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{failed, good, lost, not_started};

    fn allow(text: &str) -> Allowance {
        text.parse().unwrap()
    }

    #[test]
    fn one_failure_of_any_class_fails_without_allowance() {
        assert_eq!(analyse(&good(3), &Allowance::none()), CheckResult::Passed);
        for class in Class::ALL {
            let mut record = good(3);
            failed(&mut record, class, 1);
            assert_eq!(analyse(&record, &Allowance::none()), CheckResult::Failed(vec![(class, 1, 0)]));
            assert!(record.analyse(&Allowance::none()).unwrap_err().contains(class.name()));
        }
    }

    #[test]
    fn allowance_covers_its_class_up_to_its_number() {
        let mut record = good(3);
        failed(&mut record, Class::Refused, 2);
        assert_eq!(analyse(&record, &allow("refused=2")), CheckResult::Passed);
        assert_eq!(analyse(&record, &allow("refused=1")), CheckResult::Failed(vec![(Class::Refused, 2, 1)]));
        assert_eq!(analyse(&record, &allow("timeout=9")), CheckResult::Failed(vec![(Class::Refused, 2, 0)]));
        failed(&mut record, Class::Truncated, 1);
        assert_eq!(analyse(&record, &allow("refused=2")), CheckResult::Failed(vec![(Class::Truncated, 1, 0)]));
        assert_eq!(record.analyse(&allow("truncated=1,refused=5")), Ok(()));
    }

    #[test]
    fn operations_not_started_or_lost_prove_nothing() {
        let mut record = good(3);
        not_started(&mut record, 4);
        lost(&mut record, 1);
        assert_eq!(analyse(&record, &Allowance::none()), CheckResult::GeneratorLimit(5));
        assert!(record.analyse(&Allowance::none()).is_err());
        failed(&mut record, Class::Refused, 1);
        assert_eq!(analyse(&record, &Allowance::none()).code(), 1, "a failure counts all the same");
        assert_eq!(analyse(&good(0), &Allowance::none()), CheckResult::NothingChecked);
    }

    #[test]
    fn allowances_are_parsed_and_joined() {
        let joined = allow("refused=1,timeout=2").and(allow("refused=3"));
        assert_eq!(joined, Allowance::none().allow(Class::Refused, 3).allow(Class::Timeout, 2));
        for wrong in ["", "refused", "refused=", "refused=-1", "lost=1"] {
            assert!(wrong.parse::<Allowance>().is_err(), "{wrong:?}");
        }
    }
}
