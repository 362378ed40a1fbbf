//! Turns the flags into a plan: ways, scenarios and the method of measurement. Pure.

use crate::analysis::Assertion;
use crate::failure::{Failure, code};
use crate::plan::{self, Event, QUICK, Scenario, USUAL};
use crate::record::{Method, Skipped};
use crate::setup::Way;
use crate::subject::{Product, Workload};

use super::args::CompareArgs;

/// The number of the product's ways in a quick comparison, counted from the first.
const QUICK_WAYS: usize = 3;
/// The parts of the lowest saturation at which latency is measured. In an open loop, generator, balancer and worker
/// must be woken for each request; in a closed one they find the next request waiting. So the open loop cannot reach
/// the closed one's rate: on 2 processors it did not reach 70 % of a saturation of 22,000/s, and
/// it would have measured only the queue before the processors.
const SHARES: [f64; 3] = [0.2, 0.35, 0.5];
const QUICK_SHARES: [f64; 1] = [0.35];

/// The whole comparison that is planned.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) workload: Workload,
    pub(crate) ways: Vec<Way>,
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) method: Method,
    /// The parts that were asked for, or are usual, but cannot be run.
    pub(crate) skipped: Vec<Skipped>,
}

/// Returns every possible way, in the order of reports.
pub(crate) fn all_ways(product: &Product) -> Vec<Way> {
    let references = [Way::Haproxy, Way::Nginx, Way::NodeCluster, Way::Pm2];
    let own = product.ways.iter().cloned().map(Way::Product);
    std::iter::once(Way::Direct).chain(own).chain(references).collect()
}

impl Choice {
    /// # Errors
    ///
    /// A name is unknown, or what it names cannot be measured.
    pub(crate) fn new(args: &CompareArgs, product: &Product, own: Vec<Scenario>, seed: u64) -> Result<Self, Failure> {
        let workload = match args.command.as_slice() {
            [] => Workload::Demo,
            words => Workload::Command(words.to_vec()),
        };
        let mut skipped = Vec::new();
        let ways = ways(args, product)?;
        let scenarios = scenarios(args, own)?.into_iter().filter(|scenario| {
            let fits = !scenario.needs_demo || workload == Workload::Demo;
            if !fits {
                let why =
                    String::from("asks for paths of the demo worker; a scenario file can say what your program knows");
                skipped.push(Skipped { way: None, scenario: Some(scenario.name.clone()), why });
            }
            fits
        });
        let scenarios: Vec<_> = scenarios.collect();
        let choice = Self { workload, ways, scenarios, method: method(args, seed), skipped };
        if choice.scenarios.is_empty() {
            let why = choice.skipped.first().map(|skipped| skipped.why.clone()).unwrap_or_default();
            return Err(Failure::new(code::USAGE, "no scenario is left to play").cause(why));
        }
        for assertion in &args.assertions {
            choice
                .check(assertion)
                .map_err(|cause| Failure::new(code::USAGE, format!("cannot judge `{assertion}`")).cause(cause))?;
        }
        Ok(choice)
    }

    /// Checks that the cells of an assertion will be measured.
    fn check(&self, assertion: &Assertion) -> Result<(), String> {
        let scenarios: Vec<_> = self.scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
        let ways: Vec<_> = self.ways.iter().map(Way::name).collect();
        assertion.check_names(&scenarios, &ways)?;
        for (scenario, way) in assertion.needs() {
            let found = self.scenarios.iter().find(|one| one.name == scenario);
            let found = found.zip(self.ways.iter().find(|one| one.name() == way));
            if let Some(why) = found.and_then(|(scenario, way)| Self::misfit(way, scenario)) {
                return Err(format!("{way} cannot play {scenario}: it {why}"));
            }
        }
        Ok(())
    }

    /// Returns the reason why a way cannot run a scenario; `None` if it can.
    pub(crate) fn misfit(way: &Way, scenario: &Scenario) -> Option<&'static str> {
        let event = scenario.event.as_ref()?;
        match (way, event) {
            (_, Event::Request(_)) => None,
            (Way::Direct, _) => Some("has one worker and no manager"),
            (Way::Haproxy | Way::Nginx, Event::Reload | Event::Scale) => Some("does not run the workers"),
            (Way::Product(way), Event::Scale) if way.has_fixed_workers => Some("has a fixed number of workers"),
            _ => None,
        }
    }

    /// Returns about how many seconds all of it takes.
    pub(crate) fn estimate(&self) -> f64 {
        let one = |scenario: &Scenario| {
            let ways = self.ways.iter().filter(|way| Self::misfit(way, scenario).is_none()).count();
            self.cell_seconds(scenario) * ways as f64
        };
        self.scenarios.iter().map(one).sum()
    }

    /// Returns about how many seconds one way takes in that scenario.
    pub(crate) fn cell_seconds(&self, scenario: &Scenario) -> f64 {
        let repeated = plan::repetition_seconds(&self.method, scenario.event.is_some()) * self.method.repeat as f64;
        let calibrated = if self.method.rate.is_some() { 0.0 } else { plan::calibration_seconds(&self.method) };
        repeated + calibrated
    }
}

fn method(args: &CompareArgs, seed: u64) -> Method {
    let usual = match (args.quick, args.full) {
        (true, _) => 0.6,
        (_, true) => 2.0,
        (false, false) => 1.0,
    };
    let seconds = args.duration.map_or(usual, |duration| duration.as_secs_f64());
    Method {
        workers: usize::from(args.workers),
        connections: usize::from(args.connections),
        repeat: usize::from(args.repeat),
        warm_up_seconds: (seconds / 4.0).min(0.5),
        closed_seconds: seconds,
        open_seconds: seconds,
        // A hang needs time to be found; a quick comparison has no hang.
        event_seconds: if args.quick { seconds * 2.5 } else { (seconds * 3.0).max(8.0) },
        shares: if args.quick { QUICK_SHARES.to_vec() } else { SHARES.to_vec() },
        rate: args.rate,
        timeout_seconds: args.timeout.as_secs_f64(),
        seed,
    }
}

fn ways(args: &CompareArgs, product: &Product) -> Result<Vec<Way>, Failure> {
    let all = all_ways(product);
    let is_all = args.ways.iter().any(|name| name == "all");
    if args.ways.is_empty() && args.quick {
        return Ok(all.into_iter().take(1 + QUICK_WAYS).collect());
    }
    if is_all || (args.ways.is_empty() && args.full) {
        return Ok(all);
    }
    if args.ways.is_empty() {
        // Every strategy of the default mode, and every other mode with its default strategy.
        return Ok(all.into_iter().filter(|way| !way.name().contains('/')).collect());
    }
    let known: Vec<_> = all.iter().map(Way::name).collect();
    if let Some(unknown) = args.ways.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(unknown_name("way", unknown, &known));
    }
    Ok(all.into_iter().filter(|way| args.ways.iter().any(|name| name == way.name())).collect())
}

fn scenarios(args: &CompareArgs, own: Vec<Scenario>) -> Result<Vec<Scenario>, Failure> {
    let builtin = plan::scenarios(&args.path);
    if let Some(twice) = own.iter().find(|own| builtin.iter().any(|scenario| scenario.name == own.name)) {
        return Err(Failure::new(
            code::USAGE,
            format!("scenario `{}` of the file has the name of a built-in one", twice.name),
        ));
    }
    let is_all = args.full || args.scenarios.iter().any(|name| name == "all");
    if args.scenarios.is_empty() && !own.is_empty() && !args.full {
        return Ok(own);
    }
    let all: Vec<_> = builtin.into_iter().chain(own).collect();
    if is_all && args.scenarios.len() <= 1 {
        return Ok(all);
    }
    let usual: &[&str] = if args.quick { &QUICK } else { &USUAL };
    let asked: Vec<&str> = match args.scenarios.as_slice() {
        [] => usual.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    let known: Vec<_> = all.iter().map(|scenario| scenario.name.as_str()).collect();
    if let Some(unknown) = asked.iter().find(|name| !known.contains(name)) {
        return Err(unknown_name("scenario", unknown, &known));
    }
    Ok(all.into_iter().filter(|scenario| asked.contains(&scenario.name.as_str())).collect())
}

fn unknown_name(what: &str, name: &str, known: &[&str]) -> Failure {
    Failure::new(code::USAGE, format!("there is no {what} `{name}`")).hint(format!("there are {}", known.join(", ")))
}
