//! Carries a comparison out, cell by cell, into a report.

use std::collections::BTreeSet;

use crate::interrupt::Interrupt;
use crate::measure::{Bench, Unmeasured, environment};
use crate::plan::{self, Scenario};
use crate::record::{Report, SCHEMA, ScenarioRecord, Skipped, WayRecord};
use crate::rig::Way;
use crate::subject::Product;

use super::choice::Choice;
use super::progress::Progress;

/// A comparison under way.
pub(crate) struct Campaign<'a> {
    choice: &'a Choice,
    bench: Bench<'a>,
    progress: Progress,
    report: Report,
    /// Ways that turned out not to work at all, by index.
    unable: BTreeSet<usize>,
}

/// Somebody wanted an end: what there is, is all there will be.
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
        Self { choice, bench, progress, report, unable: BTreeSet::new() }
    }

    /// Measures all there is to measure, or until somebody wants an end.
    pub(crate) fn run(mut self) -> Report {
        self.name_the_missing();
        for scenario in &self.choice.scenarios {
            if self.play(scenario).is_err() {
                self.report.is_partial = true;
                break;
            }
        }
        self.progress.finish();
        self.report.ways.retain(|way| self.report.repetitions.iter().any(|repetition| repetition.way == way.name));
        self.report
    }

    /// Ways of which it is clear before anything starts that they cannot be measured here.
    fn name_the_missing(&mut self) {
        for (index, way) in self.choice.ways.iter().enumerate() {
            if let Err(why) = way.available(&self.choice.workload) {
                self.leave_out(index, None, &why);
            }
        }
    }

    fn play(&mut self, scenario: &Scenario) -> Result<(), Stopped> {
        let mut ways = Vec::new();
        for (index, way) in self.choice.ways.iter().enumerate() {
            match Choice::misfit(way, scenario) {
                _ if self.unable.contains(&index) => {}
                Some(why) => self.leave_out(index, Some(scenario), why),
                None => ways.push(index),
            }
        }
        let lowest = self.calibrate(scenario, &mut ways)?;
        let rates = plan::rates(&self.choice.method, scenario.event.is_some(), lowest.as_ref().map_or(0.0, |l| l.0));
        self.report.scenarios.push(ScenarioRecord {
            name: scenario.name.clone(),
            about: scenario.about.clone(),
            requests_per_connection: scenario.requests_per_connection.map(Into::into),
            event: scenario.event.as_ref().map(|event| event.name().to_owned()),
            lowest_saturation: lowest,
            rates: rates.clone(),
        });
        for number in 0..self.choice.method.repeat {
            for index in plan::rotated(&ways, number) {
                if !self.unable.contains(&index) {
                    self.repeat(scenario, index, number, &rates)?;
                }
            }
        }
        Ok(())
    }

    /// The lowest saturation and whose it is. Ways that cannot be set up are taken out.
    fn calibrate(&mut self, scenario: &Scenario, ways: &mut Vec<usize>) -> Result<Option<(f64, String)>, Stopped> {
        if self.choice.method.rate.is_some() {
            return Ok(None);
        }
        let estimate = plan::calibration_seconds(&self.choice.method);
        let mut lowest: Option<(f64, String)> = None;
        let mut able = Vec::new();
        for &index in ways.iter() {
            self.go_on()?;
            let way = &self.choice.ways[index];
            self.progress.begin(&scenario.name, way.name(), "calibration");
            match self.bench.calibrate(way, scenario) {
                Ok(rate) => {
                    able.push(index);
                    if lowest.as_ref().is_none_or(|(least, _)| rate < *least) {
                        lowest = Some((rate, way.name().to_owned()));
                    }
                    self.progress
                        .end(estimate, &format!("{}  {}  saturated at about {rate:.0}/s", scenario.name, way.name()));
                }
                Err(Unmeasured::Interrupted) => return Err(Stopped),
                Err(Unmeasured::Unable(why) | Unmeasured::Failed(why)) => {
                    // It may be only this scenario that it cannot do, such as one whose paths it does not know.
                    self.leave_out(index, Some(scenario), &why);
                    self.progress.end(estimate, "");
                }
            }
        }
        *ways = able;
        Ok(lowest)
    }

    fn repeat(&mut self, scenario: &Scenario, index: usize, number: usize, rates: &[f64]) -> Result<(), Stopped> {
        self.go_on()?;
        let way = &self.choice.ways[index];
        let what = format!("repetition {}/{}", number + 1, self.choice.method.repeat);
        self.progress.begin(&scenario.name, way.name(), &what);
        let estimate = plan::repetition_seconds(&self.choice.method, scenario.event.is_some());
        match self.bench.repetition(way, scenario, number, rates) {
            Ok(repetition) => {
                let outcome = match (&repetition.failure, repetition.phases.last()) {
                    (Some(why), _) => why.clone(),
                    (None, Some(last)) => format!(
                        "{:.0}/s  p99 {:.1} ms  {} failed",
                        last.rate(),
                        last.latency.percentile(99.0) * 1e3,
                        last.failed()
                    ),
                    (None, None) => String::from("nothing measured"),
                };
                self.report.repetitions.push(repetition);
                self.progress.end(estimate, &format!("{}  {}  {what}  {outcome}", scenario.name, way.name()));
            }
            Err(Unmeasured::Interrupted) => return Err(Stopped),
            Err(Unmeasured::Unable(why) | Unmeasured::Failed(why)) => {
                self.leave_out(index, Some(scenario), &format!("{what}: {why}"));
                self.progress.end(estimate, "");
            }
        }
        Ok(())
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
