//! The results of a drill, in schema [`SCHEMA`]. Pure.
//!
//! Durations are in seconds. Within this version, fields may be added; none is removed or changes its meaning.

use serde::Serialize;

use super::checked::Checked;
use super::fault::Fault;
use super::promise::{LOST, Promise, Verdict, number};

/// The name and version of the schema.
pub const SCHEMA: &str = "roundelay.drill/1";

/// The most characters of a failure's text in a table.
const WIDEST: usize = 26;

/// A whole drill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drill {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The version of the product.
    pub version: String,
    /// True if it was interrupted, so that faults are missing.
    pub is_partial: bool,
    /// The program that the workers run.
    pub workload: String,
    /// Workers of each target.
    pub workers: usize,
    /// Operations a second.
    pub rate: f64,
    /// The least time that a fault's load lasts.
    pub length_seconds: f64,
    /// The seed: it repeats victims, moments and the order of requests.
    pub seed: u64,
    /// The targets; the first is the product, and only its verdicts decide the exit code.
    pub targets: Vec<String>,
    /// The outcomes, in the order in which they were run.
    pub outcomes: Vec<Outcome>,
}

/// One fault on one target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The target's name.
    pub target: String,
    /// The fault.
    pub fault: Fault,
    /// The result.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The actions, and the time of each from the start of the load.
    pub done: Vec<String>,
    /// Each promise.
    pub promises: Vec<Promise>,
    /// The results of the load; `None` if it was not run.
    pub load: Option<Checked>,
    /// A remark that a good verdict leaves out; mostly empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remark: String,
    /// The time from the start of the target to its end.
    pub took_seconds: f64,
}

impl Drill {
    /// Returns the outcome of a fault on a target; `None` if it was not run.
    pub fn find(&self, target: &str, fault: Fault) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.target == target && outcome.fault == fault)
    }

    /// Returns true if the product kept all promises that were tested.
    pub fn is_passed(&self) -> bool {
        let product = self.targets.first();
        !self.outcomes.iter().any(|outcome| Some(&outcome.target) == product && outcome.verdict.is_bad())
    }

    /// Returns all of it as several lines of JSON.
    ///
    /// # Errors
    ///
    /// No error is expected: all keys are text.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

impl Outcome {
    /// Returns the outcome of a fault that was not run.
    pub fn skipped(target: &str, fault: Fault, why: impl Into<String>) -> Self {
        Self {
            target: target.to_owned(),
            fault,
            verdict: Verdict::Skipped(why.into()),
            done: Vec::new(),
            promises: Vec::new(),
            load: None,
            remark: String::new(),
            took_seconds: 0.0,
        }
    }

    /// Returns a few words for tables: `passed`, `passed*` if there is a remark, `failed: says 0, 215 of 7,531 lost`.
    /// If several promises were broken, the first is named, together with the operations that clients lost.
    pub fn cell(&self) -> String {
        let star = if self.remark.is_empty() { "" } else { "*" };
        match &self.verdict {
            Verdict::Failed => format!("failed: {}", self.broken()),
            verdict => format!("{}{star}", verdict.name()),
        }
    }

    fn broken(&self) -> String {
        let mut broken = self.promises.iter().filter(|promise| !promise.is_kept);
        let first = broken.clone().find(|promise| promise.what != LOST).map(|promise| promise.broken.as_str());
        let lost = broken.find(|promise| promise.what == LOST);
        let (Some(first), Some(lost)) = (first, lost) else {
            return shortened(first.or(lost.map(|lost| lost.broken.as_str())).unwrap_or_default());
        };
        let both = format!("{first}, {}", lost.broken);
        if both.chars().count() <= WIDEST {
            return both;
        }
        let count = self.load.as_ref().map_or(0, Checked::failed_total);
        shortened(&format!("{first}, {} lost", number(count)))
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= WIDEST {
        return text.to_owned();
    }
    text.chars().take(WIDEST - 1).chain(['\u{2026}']).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use roundelay_checker::Class;

    use super::super::allowed::Allowed;
    use super::super::promise::tests::planted;
    use super::super::promise::verdict;
    use super::*;

    pub(crate) fn outcome(target: &str, fault: Fault, failures: &[(Class, u64, u64)]) -> Outcome {
        let load = planted(failures);
        let promises = vec![
            Promise::new("each is replaced", "not replaced", "within 10 s", "3 of 3, the slowest after 0.1 s", true),
            Promise::answered(&load, &Allowed::nothing()),
        ];
        Outcome {
            verdict: verdict(&promises, &load),
            done: vec!["2.13 s: SIGKILL to demo/1 (pid 71)".to_owned()],
            promises,
            load: Some(load),
            took_seconds: 11.5,
            ..Outcome::skipped(target, fault, "")
        }
    }

    /// Returns a drill of the product, which passes, and of pm2, which does not.
    pub(crate) fn drill() -> Drill {
        Drill {
            schema: SCHEMA,
            version: "1.2.3".to_owned(),
            is_partial: false,
            workload: "the demo".to_owned(),
            workers: 4,
            rate: 300.0,
            length_seconds: 10.0,
            seed: 7,
            targets: vec!["proxy".to_owned(), "pm2".to_owned()],
            outcomes: vec![
                outcome("proxy", Fault::Kill, &[]),
                outcome("proxy", Fault::FullDisk, &[]),
                outcome("pm2", Fault::Kill, &[(Class::Timeout, 1, 2)]),
                Outcome::skipped("pm2", Fault::FullDisk, "it writes no logs"),
            ],
        }
    }

    #[test]
    fn only_the_products_verdicts_decide() {
        let mut drill = drill();
        assert!(drill.is_passed(), "pm2's failure is pm2's");
        drill.outcomes[1].verdict = Verdict::Void(String::new());
        assert!(!drill.is_passed());
    }

    #[test]
    fn cell_names_the_first_broken_promise_and_the_loss() {
        let mut outcome = outcome("pm2", Fault::Kill, &[(Class::Timeout, 1, 2)]);
        assert_eq!(outcome.cell(), "failed: 1 of 101 lost");
        outcome.promises[0].is_kept = false;
        assert_eq!(outcome.cell(), "failed: not replaced, 1 lost");
        outcome.promises[0].broken = "says 0".to_owned();
        assert_eq!(outcome.cell(), "failed: says 0, 1 of 101 lost");
        outcome.promises[1].is_kept = true;
        assert_eq!(outcome.cell(), "failed: says 0");
        outcome.promises[0].broken = "x".repeat(99);
        assert_eq!(outcome.cell().chars().count(), 34);
        outcome.verdict = Verdict::Passed;
        outcome.remark = "but".to_owned();
        assert_eq!(outcome.cell(), "passed*");
        assert_eq!(Outcome::skipped("pm2", Fault::Kill, "no").cell(), "n/a");
    }

    #[test]
    fn json_says_each_promise_and_each_class() {
        let json: serde_json::Value = serde_json::from_str(&drill().json().unwrap()).unwrap();
        assert_eq!(json["schema"], SCHEMA);
        assert_eq!(json["seed"], 7);
        let [passed, failed, skipped] = [0, 2, 3].map(|at| &json["outcomes"][at]);
        assert_eq!((&passed["fault"], &passed["verdict"]), (&"kill".into(), &"passed".into()));
        assert_eq!(passed["promises"][1]["what"], "operations lost");
        assert_eq!(failed["verdict"], "failed");
        assert_eq!(failed["load"]["failed"]["timeout"], 1);
        assert_eq!((&skipped["verdict"], &skipped["why"]), (&"skipped".into(), &"it writes no logs".into()));
        assert!(skipped["load"].is_null());
    }
}
