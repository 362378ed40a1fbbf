//! Reports with planted data for tests: the true values are known.

use std::time::Duration;

use crate::record::{
    Cpu, Drive, Environment, EventRecord, Histogram, Memory, Method, Origin, Phase, Repetition, Report, SCHEMA,
    ScenarioRecord, Tick, WayRecord,
};

/// A report under construction: [`Planted::cell`] adds a cell with the noise that is set.
#[derive(Clone, Debug)]
pub(crate) struct Planted {
    /// Repetitions of each cell.
    pub(crate) repeat: usize,
    /// The standard deviation of all values, as a part of them.
    pub(crate) noise: f64,
    /// The drift: the part of its value that everything gains from the first to the last repetition.
    pub(crate) drift: f64,
    rng: fastrand::Rng,
    report: Report,
}

/// The true values of a way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    /// Requests per second at saturation.
    pub(crate) rps: f64,
    /// The 99th percentile in seconds, at the headline rate; the median is a fourth of it.
    pub(crate) p99: f64,
    /// The errors in each repetition.
    pub(crate) errors: u64,
    /// The balancer's seconds for one answer.
    pub(crate) balancer_cpu: f64,
}

impl Default for Planted {
    fn default() -> Self {
        Self::new(1, 5)
    }
}

impl Default for Level {
    fn default() -> Self {
        Self { rps: 2000.0, p99: 0.04, errors: 0, balancer_cpu: 14e-6 }
    }
}

impl Planted {
    pub(crate) fn new(seed: u64, repeat: usize) -> Self {
        let method = Method {
            workers: 4,
            connections: 64,
            repeat,
            warm_up_seconds: 1.0,
            closed_seconds: 5.0,
            open_seconds: 5.0,
            shares: vec![0.5, 0.7],
            timeout_seconds: 5.0,
            seed,
            ..Method::default()
        };
        let environment = Environment { cores: 2, cpu: "planted".into(), ..Environment::default() };
        let report = Report {
            schema: SCHEMA.into(),
            is_partial: false,
            environment,
            method,
            scenarios: Vec::new(),
            ways: Vec::new(),
            skipped: Vec::new(),
            repetitions: Vec::new(),
        };
        Self { repeat, noise: 0.01, drift: 0.0, rng: fastrand::Rng::with_seed(seed), report }
    }

    pub(crate) fn report(self) -> Report {
        self.report
    }

    /// Adds a way in a scenario without an event. New names are added to the plan.
    pub(crate) fn cell(&mut self, scenario_name: &str, way: &str, level: Level) {
        self.name(scenario(scenario_name, None), way);
        for number in 0..self.repeat {
            let mut closed = phase(Drive::Closed);
            closed.done = (self.noisy(level.rps, number) * closed.seconds).round() as u64;
            let open = [0.5, 0.7].map(|share| {
                let mut open = phase(Drive::Open { rate: 1000.0 * share });
                open.done = (1000.0 * share * open.seconds) as u64;
                self.fill(&mut open, level, number);
                open
            });
            self.add(scenario_name, way, number, [vec![closed], open.into()].concat());
        }
    }

    /// Adds a way in a scenario with an event in the middle, followed by this many bad steps of a tenth of a second.
    pub(crate) fn event_cell(&mut self, scenario_name: &str, way: &str, level: Level, bad: usize) {
        self.name(scenario(scenario_name, Some("kill")), way);
        for number in 0..self.repeat {
            let mut open = phase(Drive::Open { rate: 700.0 });
            open.done = 3500;
            self.fill(&mut open, level, number);
            let good = Tick { done: 70, errors: 0, p99: 0.002, max: 0.003 };
            open.timeline = (0..50).map(|i| if (25..25 + bad).contains(&i) { Tick::default() } else { good }).collect();
            open.event = Some(EventRecord { what: "SIGKILL".into(), at: 2.5, took: None, failure: None });
            self.add(scenario_name, way, number, vec![open]);
        }
    }

    fn fill(&mut self, phase: &mut Phase, level: Level, number: usize) {
        let p99 = self.noisy(level.p99, number);
        for i in 0..200 {
            phase.latency.record(Duration::from_secs_f64(if i < 196 { p99 / 4.0 } else { p99 }));
        }
        phase.errors = [("reset_midway".to_owned(), level.errors)].into();
        phase.started = phase.done + level.errors;
        phase.cpu.balancer = self.noisy(level.balancer_cpu, number) * phase.done as f64;
        phase.answers = (1..=4).map(|slot| (format!("demo/{slot}"), phase.done / 4)).collect();
    }

    fn noisy(&mut self, value: f64, number: usize) -> f64 {
        value * drifted(self.drift, number, self.repeat) * (1.0 + self.noise * normal(&mut self.rng))
    }

    fn name(&mut self, scenario: ScenarioRecord, way: &str) {
        if !self.report.scenarios.iter().any(|known| known.name == scenario.name) {
            self.report.scenarios.push(scenario);
        }
        if !self.report.ways.iter().any(|known| known.name == way) {
            let origin = match way {
                "direct" => Origin::Direct,
                "haproxy" | "nginx" | "pm2" | "node-cluster" => Origin::Reference,
                _ => Origin::Product,
            };
            self.report.ways.push(WayRecord { name: way.into(), about: String::new(), origin });
        }
    }

    fn add(&mut self, scenario: &str, way: &str, number: usize, phases: Vec<Phase>) {
        let (scenario, way) = (scenario.to_owned(), way.to_owned());
        self.report.repetitions.push(Repetition { scenario, way, number, phases, failure: None });
    }
}

/// Returns a scenario's record with that name.
pub(crate) fn scenario(name: &str, event: Option<&str>) -> ScenarioRecord {
    ScenarioRecord {
        name: name.into(),
        about: String::new(),
        requests_per_connection: None,
        event: event.map(str::to_owned),
        lowest_saturation: Some((1000.0, "round-robin".into())),
        rates: vec![500.0, 700.0],
    }
}

/// Returns a phase of five seconds in which nothing was done.
pub(crate) fn phase(drive: Drive) -> Phase {
    Phase {
        drive,
        seconds: 5.0,
        started: 0,
        done: 0,
        errors: [].into(),
        not_started: 0,
        latency: Histogram::default(),
        lag: Histogram::default(),
        bytes: 0,
        answers: [].into(),
        cpu: Cpu { balancer: 0.05, workers: [("demo/1".into(), 1.0)].into(), generator: 1.0, stolen: 0.0 },
        memory: Memory { balancer: 6 << 20, workers: 40 << 20 },
        timeline: Vec::new(),
        event: None,
    }
}

/// Returns a random number with standard normal distribution, by Box and Muller.
pub(crate) fn normal(rng: &mut fastrand::Rng) -> f64 {
    let (radius, angle) = ((1.0 - rng.f64()).ln() * -2.0, rng.f64() * std::f64::consts::TAU);
    radius.sqrt() * angle.cos()
}

/// Returns 1 with a common drift, at one of `repeat` repetitions.
pub(crate) fn drifted(drift: f64, number: usize, repeat: usize) -> f64 {
    1.0 + drift * number as f64 / repeat.saturating_sub(1).max(1) as f64
}
