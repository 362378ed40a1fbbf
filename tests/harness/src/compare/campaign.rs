//! Runs a comparison cell by cell, and records it in a report.

use std::collections::BTreeSet;

use crate::interrupt::Interrupt;
use crate::measure::{Bench, Unmeasured, environment};
use crate::plan::{self, Scenario};
use crate::record::{Repetition, Report, SCHEMA, ScenarioRecord, Skipped, WayRecord};
use crate::setup::Way;
use crate::subject::Product;

use super::choice::Choice;
use super::progress::Progress;

/// A comparison under way.
pub(crate) struct Campaign<'a> {
    choice: &'a Choice,
    bench: Bench<'a>,
    progress: Progress,
    report: Report,
    /// The ways that turned out not to work at all, by index.
    unable: BTreeSet<usize>,
    /// The ways that were set up at least once.
    started: BTreeSet<usize>,
}

/// The user interrupted the comparison: nothing more is measured.
struct Stopped;

impl<'a> Campaign<'a> {
    pub(crate) fn new(choice: &'a Choice, product: &'a Product, interrupt: &'a Interrupt) -> Self {
        let bench = Bench { product, workload: &choice.workload, method: &choice.method, interrupt };
        let report = Report {
            schema: String::from(SCHEMA),
            is_partial: false,
            environment: environment::look(&product.version, &choice.workload, &choice.ways),
            method: choice.method.clone(),
            scenarios: Vec::new(),
            ways: choice.ways.iter().map(way_record).collect(),
            skipped: choice.skipped.clone(),
            repetitions: Vec::new(),
        };
        let progress = Progress::new(choice.estimate());
        Self { choice, bench, progress, report, unable: BTreeSet::new(), started: BTreeSet::new() }
    }

    /// Measures everything, or until the user interrupts.
    pub(crate) fn run(mut self) -> Report {
        self.name_the_missing();
        for scenario in &self.choice.scenarios {
            if self.run_one(scenario).is_err() {
                self.report.is_partial = true;
                break;
            }
        }
        self.progress.finish();
        self.report.ways.retain(|way| self.report.repetitions.iter().any(|repetition| repetition.way == way.name));
        self.report
    }

    /// Records the ways that obviously cannot be measured on this machine, before anything starts.
    fn name_the_missing(&mut self) {
        for (index, way) in self.choice.ways.iter().enumerate() {
            if let Err(why) = way.available(&self.choice.workload) {
                self.leave_out(index, None, &why);
            }
        }
    }

    fn run_one(&mut self, scenario: &Scenario) -> Result<(), Stopped> {
        let mut ways = Vec::new();
        for (index, way) in self.choice.ways.iter().enumerate() {
            match (Choice::misfit(way, scenario), self.unable.contains(&index)) {
                (Some(_), true) => {}
                (Some(why), false) => self.leave_out(index, Some(scenario), why),
                (None, true) => self.progress.pass(self.choice.cell_seconds(scenario)),
                (None, false) => ways.push(index),
            }
        }
        let lowest = self.calibrate(scenario, &mut ways)?;
        if ways.is_empty() {
            return Ok(());
        }
        let rates = plan::rates(&self.choice.method, scenario.event.is_some(), lowest.as_ref().map_or(0.0, |l| l.0));
        self.report.scenarios.push(ScenarioRecord {
            name: scenario.name.clone(),
            about: scenario.about.clone(),
            requests_per_connection: scenario.requests_per_connection.map(Into::into),
            event: scenario.event.as_ref().map(|event| event.name().to_owned()),
            lowest_saturation: lowest,
            rates: rates.clone(),
        });
        let seed = self.choice.method.seed.wrapping_add(1_000_000 * self.report.scenarios.len() as u64);
        for number in 0..self.choice.method.repeat {
            for index in plan::shuffled(&ways, seed.wrapping_add(number as u64)) {
                self.repeat(scenario, index, number, &rates)?;
            }
        }
        Ok(())
    }

    /// Returns the lowest saturation and its way. Ways that cannot be measured are taken out of the list.
    fn calibrate(&mut self, scenario: &Scenario, ways: &mut Vec<usize>) -> Result<Option<(f64, String)>, Stopped> {
        if self.choice.method.rate.is_some() {
            return Ok(None);
        }
        let estimate = plan::calibration_seconds(&self.choice.method);
        let (mut found, mut able) = (Vec::new(), Vec::new());
        for &index in ways.iter() {
            self.go_on()?;
            let way = &self.choice.ways[index];
            self.progress.begin(&scenario.name, way.name(), "calibration");
            match self.known(self.bench.calibrate(way, scenario), index, scenario)? {
                Ok(rate) => {
                    able.push(index);
                    found.push((rate, way));
                    self.progress
                        .end(estimate, &format!("{}  {}  saturated at about {rate:.0}/s", scenario.name, way.name()));
                }
                Err(why) => {
                    if !self.unable.contains(&index) {
                        self.leave_out(index, Some(scenario), &why);
                    }
                    self.progress.pass(self.choice.cell_seconds(scenario));
                }
            }
        }
        *ways = able;
        // One worker alone may bear much less than many, and the rates are meant for many.
        let alone = |way: &Way| *way == Way::Direct;
        let lowest = found.into_iter().min_by(|a, b| alone(a.1).cmp(&alone(b.1)).then(a.0.total_cmp(&b.0)));
        Ok(lowest.map(|(rate, way)| (rate, way.name().to_owned())))
    }

    fn repeat(&mut self, scenario: &Scenario, index: usize, number: usize, rates: &[f64]) -> Result<(), Stopped> {
        let estimate = plan::repetition_seconds(&self.choice.method, scenario.event.is_some());
        if self.unable.contains(&index) {
            self.progress.pass(estimate);
            return Ok(());
        }
        self.go_on()?;
        let way = &self.choice.ways[index];
        let round = format!("{}/{}", number + 1, self.choice.method.repeat);
        self.progress.begin(&scenario.name, way.name(), &round);
        let measured = self.bench.repetition(way, scenario, number, rates);
        let repetition = match self.known(measured, index, scenario)? {
            Ok(repetition) => repetition,
            Err(_) if self.unable.contains(&index) => {
                self.progress.pass(estimate);
                return Ok(());
            }
            Err(why) => {
                let (scenario, way) = (scenario.name.clone(), way.name().to_owned());
                Repetition { scenario, way, number, phases: Vec::new(), failure: Some(why) }
            }
        };
        let outcome = match (&repetition.failure, repetition.phases.last()) {
            (Some(why), _) => format!("failed: {why}"),
            (None, Some(last)) => {
                let p99 = last.percentile(99.0).map_or(String::from("-"), |p99| format!("{:.1} ms", p99 * 1e3));
                format!("{:.0}/s  p99 {p99}  {} failed", last.rate(), last.failed())
            }
            (None, None) => String::from("nothing measured"),
        };
        self.report.repetitions.push(repetition);
        self.progress.end(estimate, &format!("{}  {}  repetition {round}  {outcome}", scenario.name, way.name()));
        Ok(())
    }

    /// Returns the result, or records in one line why there is none. A way that cannot be set up for a reason unrelated
    /// to the scenario is left out from now on: each further attempt may cost a whole start timeout.
    fn known<T>(
        &mut self,
        measured: Result<T, Unmeasured>,
        index: usize,
        scenario: &Scenario,
    ) -> Result<Result<T, String>, Stopped> {
        // If the scenario has variables of its own, it may be the cause.
        let is_plain = scenario.worker_env.is_empty();
        let (why, is_hopeless) = match measured {
            Ok(measured) => {
                self.started.insert(index);
                return Ok(Ok(measured));
            }
            Err(Unmeasured::Interrupted) => return Err(Stopped),
            Err(Unmeasured::Unable(why)) => (why, is_plain),
            Err(Unmeasured::NotStarted(why)) => (why, is_plain && !self.started.contains(&index)),
            Err(Unmeasured::Failed(why)) => {
                self.started.insert(index);
                (why, false)
            }
        };
        // A program's last lines are on separate lines, which are joined here.
        let why = why.lines().map(str::trim).collect::<Vec<_>>().join(" | ");
        if is_hopeless {
            self.leave_out(index, None, &why);
        }
        Ok(Err(why))
    }

    fn leave_out(&mut self, index: usize, scenario: Option<&Scenario>, why: &str) {
        let way = self.choice.ways[index].name();
        if scenario.is_none() {
            self.unable.insert(index);
        }
        let at = scenario.map(|scenario| format!(" in {}", scenario.name)).unwrap_or_default();
        self.progress.note(&format!("skipped: {way}{at}: {why}"));
        self.report.skipped.push(Skipped {
            way: Some(way.to_owned()),
            scenario: scenario.map(|scenario| scenario.name.clone()),
            why: why.to_owned(),
        });
    }

    fn go_on(&self) -> Result<(), Stopped> {
        if self.bench.interrupt.is_asked() { Err(Stopped) } else { Ok(()) }
    }
}

fn way_record(way: &Way) -> WayRecord {
    WayRecord { name: way.name().to_owned(), about: way.about().to_owned(), origin: way.origin() }
}
