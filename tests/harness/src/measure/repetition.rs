//! One repetition: sets up a way with fresh workers, warms it up, loads it, and ends it again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::interrupt::Interrupt;
use crate::load::{Load, Observed, Traffic};
use crate::plan::{CALIBRATION_SECONDS, Event, Scenario};
use crate::record::{Cpu, Drive, EventRecord, Memory, Method, Phase, Repetition};
use crate::setup::{self, RunningSetup, Setup, SetupError, Way, WorkerProcess};
use crate::subject::{Product, Workload};

use super::happening;
use super::proc::{CpuMeter, descendants, memory, stolen};

/// The name under which the processor time of the balancer's processes is summed up.
const BALANCER: &str = "balancer";
/// The interval at which the time of processes is read. What a process uses after the last read before its end is lost.
const LOOK: Duration = Duration::from_millis(100);
/// The interval at which the end of the load is checked.
const STEP: Duration = Duration::from_millis(10);
/// The interval at which the list of workers is read again during an event; the master answers beside its other work.
const ASK: Duration = Duration::from_millis(500);
/// The longest wait for the first answer.
const LONGEST_CALIBRATION: Duration = Duration::from_secs(10);
/// The longest time that a setup may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Measures repetitions of one comparison.
#[derive(Clone, Debug)]
pub struct Bench<'a> {
    /// The binary under test.
    pub product: &'a Product,
    /// The program that the workers run.
    pub workload: &'a Workload,
    /// The method of measurement.
    pub method: &'a Method,
    /// Shows if the user wants an end.
    pub interrupt: &'a Interrupt,
}

/// The reason why there is no measurement.
#[derive(Debug)]
pub enum Unmeasured {
    /// The way does not work on this machine or with this program, in no scenario.
    Unable(String),
    /// It should have started, but did not.
    NotStarted(String),
    /// It started, but nothing could be measured in this scenario this time.
    Failed(String),
    /// The user interrupted it.
    Interrupted,
}

impl Bench<'_> {
    /// Returns roughly the rate at which a way is saturated in a scenario: one short closed loop with its own workers.
    ///
    /// # Errors
    ///
    /// The way cannot be set up, or gives no answer in this scenario ([`Unmeasured::Failed`]).
    pub fn calibrate(&self, way: &Way, scenario: &Scenario) -> Result<f64, Unmeasured> {
        let mut running = self.set_up(way, scenario, 0)?;
        let rate = running.saturation(Duration::from_secs_f64(self.method.closed_seconds.min(CALIBRATION_SECONDS)));
        running.running.stop(PATIENCE);
        rate
    }

    /// Measures one repetition, with open loops at these rates.
    ///
    /// # Errors
    ///
    /// Nothing was measured at all. A later error is stored as the repetition's `failure`.
    pub fn repetition(
        &self,
        way: &Way,
        scenario: &Scenario,
        number: usize,
        rates: &[f64],
    ) -> Result<Repetition, Unmeasured> {
        let mut running = self.set_up(way, scenario, number as u64)?;
        let mut phases = Vec::new();
        let measured = match &scenario.event {
            Some(event) => running.with_event(event, rates, &mut phases),
            None => running.without_event(rates, &mut phases),
        };
        running.running.stop(PATIENCE);
        let failure = match measured {
            Ok(()) => None,
            Err(Unmeasured::Failed(why)) => Some(why),
            Err(other) => return Err(other),
        };
        let (scenario, way) = (scenario.name.clone(), way.name().to_owned());
        Ok(Repetition { scenario, way, number, phases, failure })
    }

    /// Sets a way up and warms it up.
    fn set_up(&self, way: &Way, scenario: &Scenario, number: u64) -> Result<Running<'_>, Unmeasured> {
        let setup = Setup {
            way: way.clone(),
            workload: self.workload.clone(),
            workers: if *way == Way::Direct { 1 } else { self.method.workers },
            worker_env: scenario.worker_env.clone(),
            options: Vec::new(),
        };
        let running = setup::start(self.product, &setup).map_err(|error| match error {
            SetupError::Unable(why) => Unmeasured::Unable(why),
            SetupError::Failed(why) => Unmeasured::NotStarted(why),
        })?;
        let traffic = Traffic {
            target: running.address(),
            requests: scenario.requests.clone(),
            requests_per_connection: scenario.requests_per_connection,
            connections: self.method.connections,
            lead_in: Duration::from_secs_f64(self.method.warm_up_seconds),
            timeout: Duration::from_secs_f64(self.method.timeout_seconds),
            // Every way gets the same requests.
            seed: self.method.seed.wrapping_add(number),
        };
        let mut running = Running { bench: self, running, traffic };
        let warm_up = Duration::from_secs_f64(self.method.warm_up_seconds);
        if !warm_up.is_zero() {
            running.closed(warm_up)?;
        }
        Ok(running)
    }
}

/// A way that is set up.
struct Running<'a> {
    bench: &'a Bench<'a>,
    running: Box<dyn RunningSetup>,
    traffic: Traffic,
}

impl Running<'_> {
    fn without_event(&mut self, rates: &[f64], phases: &mut Vec<Phase>) -> Result<(), Unmeasured> {
        let method = self.bench.method;
        phases.push(self.closed(Duration::from_secs_f64(method.closed_seconds))?);
        for &rate in rates {
            let length = Duration::from_secs_f64(method.open_seconds);
            phases.push(self.follow(Drive::Open { rate }, length, None)?);
        }
        Ok(())
    }

    fn with_event(&mut self, event: &Event, rates: &[f64], phases: &mut Vec<Phase>) -> Result<(), Unmeasured> {
        let length = Duration::from_secs_f64(self.bench.method.event_seconds);
        for &rate in rates.iter().take(1) {
            let mut phase = self.follow(Drive::Open { rate }, length, Some(event))?;
            let failure = phase.event.as_mut().and_then(|event| event.failure.take());
            phases.push(phase);
            if let Some(why) = failure {
                return Err(Unmeasured::Failed(why));
            }
        }
        Ok(())
    }

    /// Returns the answers per second of a closed loop of that length; tries a longer one if there was no result at
    /// all.
    fn saturation(&mut self, mut length: Duration) -> Result<f64, Unmeasured> {
        // By then requests have reached their timeout, unless the timeout is longer than this wait.
        let longest = (self.traffic.timeout * 2).min(LONGEST_CALIBRATION).max(length);
        loop {
            let phase = self.closed(length)?;
            if phase.done > 0 {
                return Ok(phase.rate());
            }
            if !phase.errors.is_empty() || length >= longest {
                return Err(Unmeasured::Failed(silence(&phase.errors, length)));
            }
            length = (length * 4).min(longest);
        }
    }

    fn closed(&mut self, length: Duration) -> Result<Phase, Unmeasured> {
        self.follow(Drive::Closed, length, None)
    }

    /// Runs one load to its end, with its event.
    fn follow(&mut self, drive: Drive, length: Duration, event: Option<&Event>) -> Result<Phase, Unmeasured> {
        // The list of processes is read before anything is measured.
        let mut workers = self.running.workers().map_err(|error| Unmeasured::Failed(error.to_string()))?;
        let balancer = self.running.balancer();
        let (mut meter, stolen_before) = (CpuMeter::new(), stolen());
        if drive == Drive::Closed {
            meter.look(&processes(&balancer, &workers));
        }
        let load = match drive {
            Drive::Closed => Load::closed(self.traffic.clone(), length),
            Drive::Open { rate } => Load::open(self.traffic.clone(), rate, length),
        };
        let load = load.map_err(|error| Unmeasured::Failed(format!("cannot make the load: {error}")))?;
        if drive != Drive::Closed {
            std::thread::sleep(self.traffic.lead_in);
            meter.look(&processes(&balancer, &workers));
        }
        let mut asked = Duration::ZERO;
        let mut looked = Duration::ZERO;
        let mut happened: Option<EventRecord> = None;
        let mut undo = None;
        while !load.is_over() {
            if load.elapsed() >= looked + LOOK {
                meter.look(&processes(&balancer, &workers));
                looked = load.elapsed();
            }
            if self.bench.interrupt.is_urgent() {
                load.abort();
                return Err(Unmeasured::Interrupted);
            }
            let now = load.elapsed();
            if let Some(event) = event {
                if happened.is_none() && now >= length.mul_f64(event.share()) {
                    let (record, after) = self.happen(event, &load, &workers, || {
                        meter.look(&processes(&balancer, &workers));
                    });
                    (happened, undo) = (Some(record), after);
                } else if now >= asked + ASK {
                    // A master that is busy with a reload may not answer; the next attempt will succeed.
                    workers = self.running.workers().unwrap_or(workers);
                    asked = now;
                }
            }
            std::thread::sleep(STEP);
        }
        meter.look(&processes(&balancer, &workers));
        drop(undo);
        let mut workers_cpu = meter.seconds();
        let balancer_cpu = workers_cpu.remove(BALANCER).unwrap_or(0.0);
        let stolen = (stolen() - stolen_before).max(0.0);
        let of = |is_balancer: bool| {
            let pids = processes(&balancer, &workers).into_iter().filter(|(name, _)| (name == BALANCER) == is_balancer);
            pids.filter_map(|(_, pid)| memory(pid)).sum()
        };
        let memory = Memory { balancer: of(true), workers: of(false) };
        if let Some(event) = &mut happened
            && let Some(took) = event.took.filter(|took| event.at + took > length.as_secs_f64())
            && event.failure.is_none()
        {
            event.failure = Some(format!(
                "{}: it took {took:.1} s and was not over at the end of the load, so what clients saw of it is not known; \
                 a longer --duration shows it",
                event.what
            ));
        }
        let mut observed = load.wait();
        let cpu = Cpu {
            balancer: balancer_cpu,
            workers: workers_cpu,
            generator: observed.generator_cpu.as_secs_f64(),
            stolen,
        };
        let timeline = event.map(|_| std::mem::take(&mut observed.timeline)).unwrap_or_default();
        Ok(Phase { cpu, memory, timeline, event: happened, ..phase(drive, observed) })
    }

    /// Makes the event happen, which may take as long as a reload. Meanwhile `look` reads the times of processes.
    fn happen(
        &mut self,
        event: &Event,
        load: &Load,
        workers: &[WorkerProcess],
        mut look: impl FnMut(),
    ) -> (EventRecord, Option<happening::Undo>) {
        let (running, traffic) = (self.running.as_mut(), &self.traffic);
        std::thread::scope(|scope| {
            let happening = scope.spawn(|| happening::play(event, running, traffic, load, workers));
            while !happening.is_finished() {
                std::thread::sleep(STEP);
                look();
            }
            happening.join().unwrap_or_else(|defect| std::panic::resume_unwind(defect))
        })
    }
}

/// Returns the reason for a period without any answer.
fn silence(errors: &BTreeMap<String, u64>, length: Duration) -> String {
    let failures: Vec<_> = errors.iter().map(|(class, count)| format!("{count} {class}")).collect();
    if failures.is_empty() {
        return format!("answered nothing within {length:?}");
    }
    format!("answered nothing with a status of 200 to 399: {}", failures.join(", "))
}

/// Returns the processes by name. A worker includes its descendants: the program may be a child of `npm` or of a shell.
fn processes(balancer: &[u32], workers: &[WorkerProcess]) -> Vec<(String, u32)> {
    let balancer = balancer.iter().map(|&pid| (String::from(BALANCER), pid));
    let workers = workers.iter().flat_map(|worker| {
        let pids = std::iter::once(worker.pid).chain(descendants(worker.pid));
        pids.map(|pid| (worker.name.clone(), pid))
    });
    balancer.chain(workers).collect()
}

/// Returns the part of a phase that the generator saw; the rest is filled in by the caller.
fn phase(drive: Drive, observed: Observed) -> Phase {
    Phase {
        drive,
        seconds: observed.seconds,
        started: observed.started,
        done: observed.done,
        errors: observed.errors,
        not_started: observed.not_started,
        latency: observed.latency,
        lag: observed.lag,
        bytes: observed.bytes,
        answers: observed.answers,
        cpu: Cpu::default(),
        memory: Memory::default(),
        timeline: Vec::new(),
        event: None,
    }
}
