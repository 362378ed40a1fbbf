//! For tests: a report generated from a seed, with as many ways and kinds of scenarios as a real one, and its verdict.
//! Pure.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use crate::analysis::{Analysis, Finding, analyse};
use crate::record::{
    Cpu, Drive, Environment, EventRecord, Histogram, Memory, Method, Origin, Phase, Repetition, Report, SCHEMA,
    ScenarioRecord, Skipped, Tick, WayRecord,
};

pub(crate) const WAYS: [(&str, Origin); 12] = [
    ("direct", Origin::Direct),
    ("proxy/least-connections", Origin::Product),
    ("proxy/least-waiting", Origin::Product),
    ("proxy/p2c", Origin::Product),
    ("proxy/random", Origin::Product),
    ("proxy/round-robin", Origin::Product),
    ("proxy/source-hash", Origin::Product),
    ("handoff", Origin::Product),
    ("shared", Origin::Product),
    ("reuseport", Origin::Product),
    ("haproxy", Origin::Reference),
    ("nginx", Origin::Reference),
];
/// For each scenario: its name, its event, the milliseconds of an answer without queueing, and how much the ways
/// differ.
const SCENARIOS: [(&str, Option<&str>, f64, f64); 5] = [
    ("uniform", None, 1.0, 0.1),
    ("slow-one", None, 1.2, 1.0),
    ("churn", None, 1.6, 0.3),
    ("kill", Some("kill"), 1.1, 0.2),
    ("reload", Some("reload"), 1.1, 0.2),
];
const REPEAT: usize = 5;

/// Returns a finished comparison without oddities, and its analysis. It is made once, since that takes a while.
pub(crate) fn planted() -> (Report, Analysis) {
    static MADE: LazyLock<(Report, Analysis)> = LazyLock::new(make);
    MADE.clone()
}

fn make() -> (Report, Analysis) {
    let mut random = fastrand::Rng::with_seed(7);
    let ways = WAYS.map(|(name, origin)| WayRecord { name: name.to_owned(), about: format!("what {name} is"), origin });
    let mut repetitions = Vec::new();
    for number in 0..REPEAT {
        for (scenario, event, base, differ) in SCENARIOS {
            for (at, way) in ways.iter().enumerate() {
                let level =
                    Level { base: base * (1.0 + differ * at as f64 * 0.15), at, event, slow: scenario == "slow-one" };
                repetitions.push(Repetition {
                    scenario: scenario.to_owned(),
                    way: way.name.clone(),
                    number,
                    phases: level.phases(&mut random),
                    failure: None,
                });
            }
        }
    }
    let report = Report {
        schema: SCHEMA.to_owned(),
        is_partial: false,
        environment: environment(),
        method: Method {
            event_seconds: 6.0,
            workers: 4,
            connections: 64,
            repeat: REPEAT,
            warm_up_seconds: 1.0,
            closed_seconds: 5.0,
            open_seconds: 10.0,
            shares: vec![0.5, 0.7, 0.9],
            rate: None,
            timeout_seconds: 5.0,
            seed: 7,
        },
        scenarios: SCENARIOS.map(scenario).into(),
        ways: ways.into(),
        skipped: vec![Skipped { way: Some("pm2".into()), scenario: None, why: "pm2 is not installed".into() }],
        repetitions,
    };
    let mut analysis = analyse(&report);
    analysis.findings.push(Finding { scenario: None, is_warning: true, text: "A planted warning.".to_owned() });
    (report, analysis)
}

fn scenario((name, event, ..): (&str, Option<&str>, f64, f64)) -> ScenarioRecord {
    ScenarioRecord {
        name: name.to_owned(),
        about: match name {
            "slow-one" => "One of four workers needs 50 ms more for every answer.".to_owned(),
            "churn" => "A new connection for each request.".to_owned(),
            "kill" => "One worker is killed by SIGKILL at 40 % of the time.".to_owned(),
            "reload" => "All workers are replaced, one after the other, at 40 % of the time.".to_owned(),
            _ => "All workers alike, every request the same work.".to_owned(),
        },
        requests_per_connection: (name == "churn").then_some(1),
        event: event.map(str::to_owned),
        lowest_saturation: Some((2_714.0, "proxy/random".to_owned())),
        rates: if event.is_some() { vec![1_900.0] } else { vec![1_357.0, 1_900.0, 2_443.0] },
    }
}

fn environment() -> Environment {
    Environment {
        began: "2030-01-02T03:04:05Z".into(),
        version: "0.1.0".into(),
        revision: Some("0123456789ab".into()),
        command: ["roundelay", "compare", "--repeat", "5", "--", "node", "my server.js"].map(str::to_owned).into(),
        workload: "the demo worker".into(),
        cpu: "Example CPU at 2.4 GHz".into(),
        cores: 2,
        governor: None,
        memory: 8_324_000_000,
        kernel: "Linux 6.1.0".into(),
        load_before: [0.21, 0.35, 0.3],
        programs: BTreeMap::from([("haproxy".into(), "2.6.12".into()), ("nginx".into(), "1.22.1".into())]),
    }
}

/// The planted level of a way in a scenario.
struct Level {
    base: f64,
    at: usize,
    event: Option<&'static str>,
    slow: bool,
}

impl Level {
    fn phases(&self, random: &mut fastrand::Rng) -> Vec<Phase> {
        if self.event.is_some() {
            return vec![self.phase(Drive::Open { rate: 1_900.0 }, random)];
        }
        let open = [1_357.0, 1_900.0, 2_443.0].map(|rate| self.phase(Drive::Open { rate }, random));
        [self.phase(Drive::Closed, random)].into_iter().chain(open).collect()
    }

    fn phase(&self, drive: Drive, random: &mut fastrand::Rng) -> Phase {
        let (seconds, load, rate) = match drive {
            Drive::Closed => (5.0, 1.4, (4_200.0 / self.base.sqrt()) * (0.97 + random.f64() * 0.06)),
            Drive::Open { rate } => (10.0, rate / 2_714.0, rate),
        };
        let done = (rate * seconds) as u64;
        let mut latency = Histogram::default();
        // Only one scenario has enough answers for the last percentile.
        let count = if drive == (Drive::Open { rate: 1_900.0 }) && self.base < 1.2 { 10_500 } else { 1_200 };
        for _ in 0..done.min(count) {
            let wait = -random.f64().max(1e-9).ln() * self.base * load * 0.5;
            let slow = if self.slow && random.f64() < 0.02 + 0.02 * (self.at % 5) as f64 { 50.0 } else { 0.0 };
            latency.record(Duration::from_secs_f64((self.base + wait + slow) / 1e3));
        }
        let (timeline, event) = self.event.map(|event| self.event(event, random)).unwrap_or_default();
        let failed: u64 = timeline.iter().map(|tick: &Tick| tick.errors).sum();
        let each = |worker: u64| done / 4 + worker * done / 80 * (self.at as u64 % 4) / 2;
        let workers = if self.at == 0 { 1 } else { 4 };
        Phase {
            drive,
            seconds,
            started: done + failed,
            done,
            errors: if failed > 0 { BTreeMap::from([("reset_midway".into(), failed)]) } else { BTreeMap::new() },
            not_started: 0,
            latency,
            lag: Histogram::default(),
            bytes: done * 180,
            answers: (0..workers).map(|worker| (format!("demo/{worker}"), each(worker))).collect(),
            cpu: Cpu {
                stolen: 0.0,
                balancer: if self.at == 0 { 0.0 } else { done as f64 * (12.0 + self.at as f64) * 1e-6 },
                workers: (0..workers).map(|worker| (format!("demo/{worker}"), each(worker) as f64 * 95e-6)).collect(),
                generator: done as f64 * 31e-6,
            },
            memory: Memory { balancer: 6_186_598 + (self.at as u64 * 1_048_576), workers: 40_000_000 },
            timeline,
            event,
        }
    }

    fn event(&self, event: &str, random: &mut fastrand::Rng) -> (Vec<Tick>, Option<EventRecord>) {
        let bad = if event == "kill" { 3 + self.at } else { self.at / 3 };
        let tick = |i: usize, random: &mut fastrand::Rng| {
            let is_bad = (40..40 + bad).contains(&i);
            let is_silent = is_bad && self.at == 6 && i < 43;
            let p99 =
                (self.base * 3.0 + random.f64() * 1.5 + if is_bad { 90.0 + random.f64() * 60.0 } else { 0.0 }) / 1e3;
            Tick {
                done: if is_silent { 0 } else { 190 },
                errors: if is_bad && event == "kill" { random.u64(0..=self.at as u64 / 2) } else { 0 },
                p99: if is_silent { 0.0 } else { p99 },
                max: if is_silent { 0.0 } else { p99 * 1.4 },
            }
        };
        let what = if event == "kill" { "SIGKILL to demo/1 (pid 4711)" } else { "reload" };
        let took = (event == "reload").then(|| 1.9 + random.f64() * 0.3);
        let record = EventRecord { what: what.to_owned(), at: 4.0, took, failure: None };
        ((0..100).map(|i| tick(i, random)).collect(), Some(record))
    }
}
