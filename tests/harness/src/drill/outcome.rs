//! What a drill has found: schema [`SCHEMA`]. Pure.
//!
//! Durations are in seconds. Fields may be added within the version; none is removed or changes its meaning.

use serde::Serialize;

use super::fault::Fault;
use super::promise::{Checked, LOST, Promise, Verdict};

/// The name and version of the schema.
pub const SCHEMA: &str = "roundelay.drill/1";

/// A whole drill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drill {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The version of the product.
    pub version: String,
    /// It was interrupted: faults are missing.
    pub is_partial: bool,
    /// What the workers are.
    pub workload: String,
    /// Workers of each target.
    pub workers: usize,
    /// Operations a second.
    pub rate: f64,
    /// How long a fault's load lasts at least.
    pub length_seconds: f64,
    /// Repeats victims, moments and the order of requests.
    pub seed: u64,
    /// Who was drilled; the first is the product, whose verdicts decide the exit code.
    pub targets: Vec<String>,
    /// In the order in which they were played.
    pub outcomes: Vec<Outcome>,
}

/// One fault on one target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The target's name.
    pub target: String,
    /// The fault.
    pub fault: Fault,
    /// What it comes to.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What was done, and when: from the start of the load.
    pub done: Vec<String>,
    /// Each promise.
    pub promises: Vec<Promise>,
    /// What the load saw; none if it was not played.
    pub load: Option<Checked>,
    /// From the start of the target to its end.
    pub took_seconds: f64,
}

impl Drill {
    /// What became of a fault on a target; nothing if it was not played.
    pub fn find(&self, target: &str, fault: Fault) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.target == target && outcome.fault == fault)
    }

    /// Whether the product kept all of its promises, as far as they were tried.
    pub fn is_passed(&self) -> bool {
        let product = self.targets.first();
        !self.outcomes.iter().any(|outcome| Some(&outcome.target) == product && outcome.verdict.is_bad())
    }

    /// All of it, as several lines of JSON.
    ///
    /// # Errors
    ///
    /// None is expected: all keys are text.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

impl Outcome {
    /// A fault that was not played.
    pub fn skipped(target: &str, fault: Fault, why: impl Into<String>) -> Self {
        Self {
            target: target.to_owned(),
            fault,
            verdict: Verdict::Skipped(why.into()),
            done: Vec::new(),
            promises: Vec::new(),
            load: None,
            took_seconds: 0.0,
        }
    }

    /// A line for tables: `passed`, `failed: 23 of 900 lost`, `n/a: why`. Of several broken promises the one about what
    /// clients lost comes first.
    pub fn line(&self) -> String {
        match &self.verdict {
            Verdict::Passed => "passed".to_owned(),
            Verdict::Failed => {
                let broken: Vec<_> = self.promises.iter().filter(|promise| !promise.is_kept).collect();
                let lost = broken.iter().any(|promise| promise.what == LOST);
                let said = match (&self.load, broken.first()) {
                    (Some(load), _) if lost => format!("{} of {} lost", load.failed_total(), load.started),
                    (_, Some(promise)) => format!("{}: {}", promise.what, promise.seen),
                    (_, None) => String::new(),
                };
                let more = match broken.len() {
                    0 | 1 => String::new(),
                    count => format!(", and {} more broken", count - 1),
                };
                format!("failed: {said}{more}")
            }
            Verdict::Void(why) | Verdict::Skipped(why) => format!("{}: {why}", self.verdict.name()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use roundelay_checker::Class;

    use super::super::promise::tests::planted;
    use super::super::promise::{Allowed, verdict};
    use super::*;

    pub(crate) fn outcome(target: &str, fault: Fault, failures: &[(Class, u64, u64)]) -> Outcome {
        let load = planted(failures);
        let promises = vec![
            Promise::new("each is replaced", "within 10 s", "3 of 3, the slowest after 0.1 s", true),
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

    /// The product, which passes, and pm2, which does not.
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
    fn a_line_names_what_clients_lost_first_and_counts_the_rest() {
        let mut outcome = outcome("pm2", Fault::Kill, &[(Class::Timeout, 1, 2)]);
        assert_eq!(outcome.line(), "failed: 1 of 101 lost");
        outcome.promises[0].is_kept = false;
        assert_eq!(outcome.line(), "failed: 1 of 101 lost, and 1 more broken");
        outcome.promises[1].is_kept = true;
        assert_eq!(outcome.line(), "failed: each is replaced: 3 of 3, the slowest after 0.1 s");
        assert_eq!(Outcome::skipped("pm2", Fault::Kill, "no").line(), "n/a: no");
    }

    #[test]
    fn the_json_says_each_promise_and_each_class() {
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
