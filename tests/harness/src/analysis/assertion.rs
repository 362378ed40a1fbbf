//! A condition on a comparison, such as `slow-one.least-waiting.p99 < slow-one.round-robin.p99`. Pure.
//!
//! ```text
//! ASSERTION = CELL OP TERM
//! CELL      = SCENARIO.WAY.METRIC        the median; for errors the most in any repetition
//! OP        = < | <= | > | >= | ==
//! TERM      = NUMBER [UNIT] | [FACTOR *] CELL
//! UNIT      = us | ms | s | /s | KiB | MiB | GiB | %
//! ```
//!
//! Times and sizes need a unit, unless they are 0: `p99 < 5` would mean five seconds and always hold.

mod parse;

use std::fmt;

use super::{Analysis, Metric};

pub use parse::AssertionError;

/// A comparison of a cell with a number or another cell. Parse it from its text; `Display` gives that text again.
#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    left: CellName,
    op: Op,
    right: Term,
}

/// The way that the value belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CellName {
    scenario: String,
    way: String,
    metric: Metric,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Number { amount: f64, unit: Option<Unit> },
    Cell { factor: Option<f64>, cell: CellName },
}

/// A unit that may be written behind a number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Unit {
    word: &'static str,
    /// The factor to the metric's own unit.
    scale: f64,
    /// The unit of the metrics that it fits, see [`Metric::unit`].
    of: &'static str,
}

const UNITS: [Unit; 8] = [
    Unit { word: "us", scale: 1e-6, of: "s" },
    Unit { word: "ms", scale: 1e-3, of: "s" },
    Unit { word: "s", scale: 1.0, of: "s" },
    Unit { word: "/s", scale: 1.0, of: "/s" },
    Unit { word: "KiB", scale: 1024.0, of: "bytes" },
    Unit { word: "MiB", scale: 1_048_576.0, of: "bytes" },
    Unit { word: "GiB", scale: 1_073_741_824.0, of: "bytes" },
    Unit { word: "%", scale: 0.01, of: "" },
];

/// The outcome of an assertion. `Display` writes it with both values.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The assertion.
    pub assertion: Assertion,
    /// True if it holds.
    pub holds: bool,
    /// The left value, in the metric's unit.
    pub left: f64,
    /// The right value, factor included.
    pub right: f64,
}

impl Assertion {
    /// Checks that its scenarios and ways are in the plan, before anything is measured.
    ///
    /// # Errors
    ///
    /// The unknown name, and the known ones.
    pub fn check_names(&self, scenarios: &[&str], ways: &[&str]) -> Result<(), String> {
        for cell in self.cells() {
            for (what, name, known) in [("scenario", &cell.scenario, scenarios), ("way", &cell.way, ways)] {
                if !known.contains(&name.as_str()) {
                    let known = known.join(", ");
                    return Err(format!("`{self}`: the {what} {name} is not measured; these are: {known}"));
                }
            }
        }
        Ok(())
    }

    /// Compares the values.
    ///
    /// # Errors
    ///
    /// A cell was not measured, or has no such metric: then the assertion does not hold.
    pub fn outcome(&self, analysis: &Analysis) -> Result<Outcome, String> {
        let value = |cell: &CellName| {
            let estimate = analysis.cell(&cell.scenario, &cell.way).and_then(|found| found.metrics.get(&cell.metric));
            let estimate = estimate.map(|result| &result.estimate);
            let value = estimate.map(|all| if cell.metric == Metric::Errors { all.most } else { all.median });
            value.ok_or_else(|| format!("`{self}` cannot be said: {cell} was not measured"))
        };
        let left = value(&self.left)?;
        let right = match &self.right {
            Term::Number { amount, unit } => amount * unit.map_or(1.0, |unit| unit.scale),
            Term::Cell { factor, cell } => value(cell)? * factor.unwrap_or(1.0),
        };
        let holds = match self.op {
            Op::Less => left < right,
            Op::LessOrEqual => left <= right,
            Op::Greater => left > right,
            Op::GreaterOrEqual => left >= right,
            Op::Equal => left == right,
        };
        Ok(Outcome { assertion: self.clone(), holds, left, right })
    }

    /// Checks if it holds.
    ///
    /// # Errors
    ///
    /// As [`Assertion::outcome`].
    pub fn holds(&self, analysis: &Analysis) -> Result<bool, String> {
        self.outcome(analysis).map(|outcome| outcome.holds)
    }

    /// Returns the scenario and the way of each cell that it needs.
    pub(crate) fn needs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.cells().map(|cell| (cell.scenario.as_str(), cell.way.as_str()))
    }

    fn cells(&self) -> impl Iterator<Item = &CellName> {
        let right = match &self.right {
            Term::Cell { cell, .. } => Some(cell),
            Term::Number { .. } => None,
        };
        std::iter::once(&self.left).chain(right)
    }
}

impl Op {
    const ALL: [(&'static str, Self); 5] = [
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("==", Self::Equal),
        ("<", Self::Less),
        (">", Self::Greater),
    ];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, op)| *op == self).map_or("", |(word, _)| word)
    }
}

impl fmt::Display for CellName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.scenario, self.way, self.metric.name())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { amount, unit } => write!(f, "{amount}{}", unit.map_or("", |unit| unit.word)),
            Self::Cell { factor: Some(factor), cell } => write!(f, "{factor} * {cell}"),
            Self::Cell { factor: None, cell } => write!(f, "{cell}"),
        }
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, self.op.word(), self.right)
    }
}

/// Writes such as `holds: uniform.handoff.p99 < 5ms (4.2 ms against 5 ms)`.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, metric) = (if self.holds { "holds" } else { "does not hold" }, self.assertion.left.metric);
        let (left, right) = (metric.format(self.left), metric.format(self.right));
        write!(f, "{verb}: {} ({left} against {right})", self.assertion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::analyse;
    use crate::analysis::planted::{Level, Planted};

    fn analysis() -> Analysis {
        let mut planted = Planted::default();
        planted.noise = 0.0;
        planted.cell("uniform", "round-robin", Level { p99: 0.04, ..Level::default() });
        planted.cell("uniform", "handoff/least-waiting", Level { p99: 0.01, rps: 1700.0, ..Level::default() });
        planted.event_cell("kill", "round-robin", Level { errors: 3, ..Level::default() }, 2);
        analyse(&planted.report())
    }

    #[test]
    fn medians_are_compared_with_numbers_and_with_each_other() {
        let analysis = analysis();
        let said = [
            ("uniform.handoff/least-waiting.p99 < uniform.round-robin.p99", true),
            ("uniform.round-robin.p99 < uniform.handoff/least-waiting.p99", false),
            ("uniform.handoff/least-waiting.p99 < 11ms", true),
            ("uniform.handoff/least-waiting.p99<9.5ms", false),
            ("uniform.handoff/least-waiting.rps > 0.8 * uniform.round-robin.rps", true),
            ("uniform.handoff/least-waiting.rps > 0.9 * uniform.round-robin.rps", false),
            ("uniform.round-robin.rps >= 2000/s", true),
            ("uniform.round-robin.errors == 0", true),
            ("kill.round-robin.errors == 0", false),
            ("kill.round-robin.errors <= 3", true),
            ("kill.round-robin.gap <= 200 ms", true),
            ("uniform.round-robin.fairness >= 99%", true),
            ("uniform.round-robin.balancer-memory < 6.5MiB", true),
        ];
        for (text, expected) in said {
            let assertion: Assertion = text.parse().unwrap();
            assert_eq!(assertion.holds(&analysis), Ok(expected), "{text}");
        }
    }

    #[test]
    fn one_bad_repetition_is_enough_for_errors() {
        let mut analysis = analysis();
        let cell = analysis.cells.iter_mut().find(|cell| cell.scenario == "uniform").unwrap();
        let errors = cell.metrics.get_mut(&Metric::Errors).unwrap();
        errors.estimate = crate::analysis::Estimate::of(&[0.0, 0.0, 1.0, 0.0, 0.0]).unwrap();
        assert_eq!(errors.estimate.median, 0.0);
        let assertion: Assertion = "uniform.round-robin.errors == 0".parse().unwrap();
        assert_eq!(assertion.holds(&analysis), Ok(false));
    }

    #[test]
    fn outcome_says_both_values() {
        let say = |text: &str| text.parse::<Assertion>().unwrap().outcome(&analysis()).unwrap().to_string();
        assert_eq!(
            say("uniform.round-robin.p99<0.5*uniform.handoff/least-waiting.p99"),
            "does not hold: uniform.round-robin.p99 < 0.5 * uniform.handoff/least-waiting.p99 (40 ms against 5 ms)"
        );
        assert_eq!(say("kill.round-robin.errors<4"), "holds: kill.round-robin.errors < 4 (3 against 4)");
    }

    #[test]
    fn metric_not_measured_is_an_error() {
        for text in ["slow-one.round-robin.p99 < 1s", "kill.round-robin.rps > 1", "kill.haproxy.errors == 0"] {
            let assertion: Assertion = text.parse().unwrap();
            let error = assertion.holds(&analysis()).unwrap_err();
            assert!(error.contains("was not measured"), "{error}");
        }
    }

    #[test]
    fn unknown_names_are_found_before_anything_is_measured() {
        let (scenarios, ways) = (["uniform", "kill"], ["round-robin", "p2c"]);
        let check = |text: &str| text.parse::<Assertion>().unwrap().check_names(&scenarios, &ways);
        assert_eq!(check("kill.p2c.errors <= kill.round-robin.errors"), Ok(()));
        let error = check("kill.p2c.errors <= kill.haproxy.errors").unwrap_err();
        assert!(error.ends_with("the way haproxy is not measured; these are: round-robin, p2c"), "{error}");
        let error = check("hang.p2c.errors == 0").unwrap_err();
        assert!(error.ends_with("the scenario hang is not measured; these are: uniform, kill"), "{error}");
    }
}
