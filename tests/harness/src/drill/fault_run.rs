//! One fault under way: the target, the checked load, the seed's random choices, and the observations so far.

use std::time::Duration;

use fastrand::Rng;
use roundelay_checker::{Ask, Length, Load, Plan, Protocol};
use tokio::time::Instant;

use super::checked::Checked;
use super::promise::Promise;
use super::target::{CommandOutcome, Target};
use super::waiting::{Aborted, Waiting};
use crate::setup::{Patience, SetupError, Signal, WorkerProcess, signal};

/// The number of connections that the keep-alive clients keep.
const KEPT: usize = 16;

/// The part of the operations that use kept connections; see [`plan`].
const KEPT_SHARE: f64 = 1.0 / 3.0;

/// The rest of a kept connection between two requests, in seconds, where workers are drained that do not announce it.
/// No balancer can safely close a connection that is never silent; after a second of silence it may.
const REST: f64 = 2.5;

/// The longest time that an operation may take: longer than a worker may hang unnoticed.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The parameters of a load.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The path to request from the user's program; the demo has its own.
    pub(crate) path: String,
    /// Operations per second.
    pub(crate) rate: f64,
    /// The least duration.
    pub(crate) length: Duration,
    /// Repeats the same run.
    pub(crate) seed: u64,
}

/// A fault under way.
pub(crate) struct FaultRun<'a> {
    pub(crate) target: Target,
    pub(crate) asked: &'a Asked,
    pub(crate) random: Rng,
    pub(crate) waiting: &'a Waiting,
    pub(crate) promises: Vec<Promise>,
    pub(crate) done: Vec<String>,
    /// The number of connections that the keep-alive clients keep.
    pub(crate) kept: usize,
    /// True once no worker serves any more: then the load need not last its full time.
    pub(crate) is_over: bool,
    /// The number of workers that served at the beginning.
    pub(crate) workers: usize,
    /// The time of an operation before the fault began.
    pub(crate) usual: Duration,
    /// A remark that a good verdict would leave out; mostly empty.
    pub(crate) remark: String,
    load: Load,
    begun: Instant,
}

/// The results of a fault that was run.
pub(crate) struct Played {
    /// The actions, and the time of each.
    pub(crate) done: Vec<String>,
    pub(crate) promises: Vec<Promise>,
    pub(crate) checked: Checked,
    pub(crate) remark: String,
}

/// The reason why a fault was not run to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunError {
    /// The user interrupted it.
    Aborted,
    /// The target lacks the feature.
    Unable(String),
    /// The program does not answer the operation, before anything was done to it.
    Unanswered(String),
    /// The target fails at something that every target must do, such as naming its workers.
    Failed(String),
}

impl From<Aborted> for RunError {
    fn from(Aborted: Aborted) -> Self {
        Self::Aborted
    }
}

impl From<SetupError> for RunError {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Unable(why) => Self::Unable(why),
            SetupError::Failed(why) => Self::Failed(why),
        }
    }
}

/// A process that was stopped; it goes on when this is dropped.
pub(crate) struct Stopped(u32);

impl Stopped {
    pub(crate) fn new(pid: u32) -> Result<Self, SetupError> {
        signal(pid, Signal::STOP)?;
        Ok(Self(pid))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // The process may have been killed meanwhile.
        let _ = signal(self.0, Signal::CONT);
    }
}

impl<'a> FaultRun<'a> {
    /// Starts the load, once the target has answered one operation.
    pub(crate) fn begin(
        target: Target,
        asked: &'a Asked,
        has_drains: bool,
        waiting: &'a Waiting,
        random: Rng,
    ) -> Result<Self, RunError> {
        let first = probe(&target, asked)?;
        let workers = target.serving()?.len();
        let rests = has_drains && !target.is_demo();
        let kept = if rests { (asked.rate * KEPT_SHARE * REST).ceil() as usize } else { KEPT };
        let failed = |cause: std::io::Error| RunError::Failed(format!("cannot make the load: {cause}"));
        let load = Load::start(plan(&target, asked, kept)).map_err(failed)?;
        let (promises, done, remark) = (Vec::new(), Vec::new(), String::new());
        let (is_over, begun, usual) = (false, Instant::now(), first);
        let mut fault_run =
            Self { target, asked, random, waiting, promises, done, kept, is_over, workers, usual, remark, load, begun };
        fault_run.pause(Duration::from_millis(500))?;
        fault_run.usual = first.max(fault_run.median());
        Ok(fault_run)
    }

    /// Returns the time since the start of the load; the times of failures count from it, too.
    pub(crate) fn now(&self) -> Duration {
        self.load.elapsed()
    }

    /// Returns true if the load has lasted its time, less `reserve`.
    pub(crate) fn is_late(&self, reserve: Duration) -> bool {
        self.begun.elapsed() + reserve >= self.asked.length
    }

    /// Records and shows the present action.
    pub(crate) fn note(&mut self, what: impl Into<String>) {
        self.done.push(format!("{:.2} s: {}", self.now().as_secs_f64(), what.into()));
    }

    /// Records a promise and its result; `broken` is the text for tables if it was not kept.
    pub(crate) fn promise(&mut self, what: &str, broken: &str, allowed: &str, seen: impl Into<String>, is_kept: bool) {
        self.promises.push(Promise::new(what, broken, allowed, seen, is_kept));
    }

    /// Replaces all workers, and returns the result; waits no longer than `longest`.
    ///
    /// # Errors
    ///
    /// The user interrupted it, or the target has no reload.
    pub(crate) fn reload(&mut self, longest: Duration) -> Result<CommandOutcome, RunError> {
        let waiting = self.waiting;
        let outcome = self.target.reload(Patience { longest, is_given_up: &|| waiting.is_urgent() });
        if waiting.is_urgent() { Err(RunError::Aborted) } else { Ok(outcome?) }
    }

    /// Returns true if other workers can serve while one does not.
    pub(crate) fn has_others(&self) -> bool {
        self.workers > 1 && self.target.is_spread
    }

    pub(crate) fn pause(&mut self, length: Duration) -> Result<(), RunError> {
        Ok(self.waiting.pause(length)?)
    }

    /// Pauses for a random time that the seed decides.
    pub(crate) fn pause_between(&mut self, least: u64, most: u64) -> Result<(), RunError> {
        let length = Duration::from_millis(self.random.u64(least..=most));
        self.pause(length)
    }

    /// Returns a serving worker that the seed chooses.
    pub(crate) fn victim(&mut self) -> Result<WorkerProcess, RunError> {
        let mut serving = self.target.serving()?;
        // Sorted, so that the choice depends on the seed alone and not on the order of the list.
        serving.sort_by(|a, b| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));
        let nobody = || RunError::Failed("no worker serves".to_owned());
        let at = self.random.usize(..serving.len().max(1));
        serving.into_iter().nth(at).ok_or_else(nobody)
    }

    /// Waits until as many workers serve as at the beginning, and none of `gone` is among them. Returns the time that
    /// it took, or `None` if that was too long.
    pub(crate) fn wait_replaced(
        &self,
        count: usize,
        gone: u32,
        patience: Duration,
    ) -> Result<Option<Duration>, RunError> {
        let begun = Instant::now();
        let found = self.waiting.wait(patience, || {
            let serving = self.target.serving().ok()?;
            let is_back = serving.len() >= count && serving.iter().all(|worker| worker.pid != gone);
            is_back.then(|| begun.elapsed())
        })?;
        Ok(found)
    }

    /// Returns the number of operations that have ended, and of those that were started.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let record = self.load.so_far();
        (record.good() + record.failed_total(), record.started())
    }

    /// Returns the number of operations that have succeeded.
    pub(crate) fn good(&self) -> u64 {
        self.load.so_far().good()
    }

    /// Returns the median latency.
    pub(crate) fn median(&self) -> Duration {
        self.load.so_far().latency().percentile(50.0)
    }

    /// Lets the load run its full time, then ends it and the target.
    ///
    /// # Errors
    ///
    /// The user interrupted it.
    pub(crate) fn end(mut self) -> Result<Played, RunError> {
        let left = if self.is_over { Duration::ZERO } else { self.asked.length.saturating_sub(self.begun.elapsed()) };
        // The last action must have time to show its consequences.
        self.pause(left.max(Duration::from_millis(500)))?;
        let Self { target, waiting, load, promises, done, remark, .. } = self;
        load.finish();
        // Waits for the rest: each operation has a deadline of its own.
        waiting.wait(2 * TIMEOUT, || load.is_over().then_some(()))?;
        let checked = Checked::new(&load.stop());
        drop(target);
        Ok(Played { done, promises, checked, remark })
    }
}

/// Runs one operation of the load, to see if the program answers it at all, and how long that takes.
fn probe(target: &Target, asked: &Asked) -> Result<Duration, RunError> {
    let plan = Plan { length: Length::Count(1), rate: 1000.0, ..plan(target, asked, 1) };
    let failed = |cause: std::io::Error| RunError::Failed(format!("cannot make the load: {cause}"));
    let record = Load::start(plan).map_err(failed)?.wait();
    match record.failures().first() {
        None if record.good() == 1 => Ok(record.latency().max()),
        None => Err(RunError::Failed("cannot connect: no ports or descriptors left".to_owned())),
        Some(failure) => Err(RunError::Unanswered(failure.what.clone())),
    }
}

fn plan(target: &Target, asked: &Asked, kept: usize) -> Plan {
    let mut plan = Plan::new(target.address());
    // Both loads and the choice of victims use the same seed; they do not influence each other.
    plan.seed = asked.seed;
    plan.rate = asked.rate;
    plan.length = Length::UntilStopped;
    plan.timeout = TIMEOUT;
    plan.connections = kept;
    plan.keep_failures = 1_000_000;
    // The checker's own tests spell the name in this way too; with a wrong name only one-shot clients would run.
    plan.kinds = "one-shot=2,keep-alive=1".parse().unwrap_or(plan.kinds);
    if !target.is_demo() {
        plan.protocol = Protocol::Http(Ask::Page);
        plan.paths.page.clone_from(&asked.path);
    }
    plan
}
