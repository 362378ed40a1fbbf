//! One fault under way: the target, the checked load on it, chance by the seed, and what has been seen so far.

use std::time::Duration;

use fastrand::Rng;
use roundelay_checker::{Ask, Length, Load, Plan, Protocol};
use tokio::time::Instant;

use super::promise::{Checked, Promise};
use super::target::Target;
use super::waiting::{Aborted, Waiting};
use crate::rig::{RigError, Signal, WorkerProcess, signal};

/// Kept connections of the keep-alive clients.
const KEPT: usize = 16;

/// The part of the operations that go over kept connections; see [`plan`].
const KEPT_SHARE: f64 = 1.0 / 3.0;

/// How long a kept connection rests between two requests, in seconds, where workers are drained that do not announce it: no
/// balancer can close a connection that is never silent, and after a second of silence it may.
const REST: f64 = 2.5;

/// How long an operation may take: longer than any worker may stand still unnoticed.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What a load is.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Of a program of the user's; the demo is asked for its echo.
    pub(crate) path: String,
    /// Operations a second.
    pub(crate) rate: f64,
    /// How long at least.
    pub(crate) length: Duration,
    /// Repeats it.
    pub(crate) seed: u64,
}

/// A fault under way.
pub(crate) struct Scene<'a> {
    pub(crate) target: Target,
    pub(crate) asked: &'a Asked,
    pub(crate) random: Rng,
    pub(crate) waiting: &'a Waiting,
    pub(crate) promises: Vec<Promise>,
    pub(crate) done: Vec<String>,
    /// Kept connections of the keep-alive clients.
    pub(crate) kept: usize,
    /// Nobody serves any more: the load need not last as long as it was to.
    pub(crate) is_over: bool,
    load: Load,
    begun: Instant,
}

/// Why a fault was not played to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The user wants the end at once.
    Aborted,
    /// The target cannot do it.
    Unable(String),
    /// It does not answer what is asked, before anything was done to it.
    Unanswered(String),
    /// The target does not do what every target must, such as to say who its workers are.
    Failed(String),
}

impl From<Aborted> for Trouble {
    fn from(Aborted: Aborted) -> Self {
        Self::Aborted
    }
}

impl From<RigError> for Trouble {
    fn from(error: RigError) -> Self {
        match error {
            RigError::Unable(why) => Self::Unable(why),
            RigError::Failed(why) => Self::Failed(why),
        }
    }
}

/// A process that was stopped; it goes on when this is dropped.
pub(crate) struct Stopped(u32);

impl Stopped {
    pub(crate) fn new(pid: u32) -> Result<Self, RigError> {
        signal(pid, Signal::STOP)?;
        Ok(Self(pid))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have been killed meanwhile.
        let _ = signal(self.0, Signal::CONT);
    }
}

impl<'a> Scene<'a> {
    /// Starts the load, once the target has answered one operation.
    pub(crate) fn begin(
        target: Target,
        asked: &'a Asked,
        has_drains: bool,
        waiting: &'a Waiting,
        random: Rng,
    ) -> Result<Self, Trouble> {
        probe(&target, asked)?;
        let rests = has_drains && !target.is_demo();
        let kept = if rests { (asked.rate * KEPT_SHARE * REST).ceil() as usize } else { KEPT };
        let failed = |cause: std::io::Error| Trouble::Failed(format!("cannot make the load: {cause}"));
        let load = Load::start(plan(&target, asked, kept)).map_err(failed)?;
        let (promises, done) = (Vec::new(), Vec::new());
        let begun = Instant::now();
        let mut scene = Self { target, asked, random, waiting, promises, done, kept, is_over: false, load, begun };
        scene.pause(Duration::from_millis(500))?;
        Ok(scene)
    }

    /// From the start of the load: the clock of failures.
    pub(crate) fn now(&self) -> Duration {
        self.load.elapsed()
    }

    /// Whether the load has lasted as long as it was asked to, but for so much.
    pub(crate) fn is_late(&self, reserve: Duration) -> bool {
        self.begun.elapsed() + reserve >= self.asked.length
    }

    /// What was done now.
    pub(crate) fn note(&mut self, what: impl Into<String>) {
        self.done.push(format!("{:.2} s: {}", self.now().as_secs_f64(), what.into()));
    }

    pub(crate) fn promise(&mut self, what: &str, allowed: &str, seen: impl Into<String>, is_kept: bool) {
        self.promises.push(Promise::new(what, allowed, seen, is_kept));
    }

    pub(crate) fn pause(&mut self, length: Duration) -> Result<(), Trouble> {
        Ok(self.waiting.pause(length)?)
    }

    /// A pause whose length the seed decides.
    pub(crate) fn pause_between(&mut self, least: u64, most: u64) -> Result<(), Trouble> {
        let length = Duration::from_millis(self.random.u64(least..=most));
        self.pause(length)
    }

    /// One of the workers that serve, as the seed decides.
    pub(crate) fn victim(&mut self) -> Result<WorkerProcess, Trouble> {
        let mut serving = self.target.serving()?;
        // The order in which they are told is no matter of the seed's.
        serving.sort_by(|a, b| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));
        let nobody = || Trouble::Failed("no worker serves".to_owned());
        let at = self.random.usize(..serving.len().max(1));
        serving.into_iter().nth(at).ok_or_else(nobody)
    }

    /// Waits until as many workers serve as at the beginning and none of `gone` is among them: how long it took, or nothing
    /// if that was too long.
    pub(crate) fn wait_replaced(
        &self,
        count: usize,
        gone: u32,
        patience: Duration,
    ) -> Result<Option<Duration>, Trouble> {
        let begun = Instant::now();
        let found = self.waiting.wait(patience, || {
            let serving = self.target.serving().ok()?;
            let is_back = serving.len() >= count && serving.iter().all(|worker| worker.pid != gone);
            is_back.then(|| begun.elapsed())
        })?;
        Ok(found)
    }

    /// Operations that have ended, and those that were started, until now.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let record = self.load.so_far();
        (record.good() + record.failed_total(), record.started())
    }

    /// Lets the load go on until it is as long as asked, and ends it.
    ///
    /// # Errors
    ///
    /// Interrupted meanwhile.
    pub(crate) fn end(mut self) -> Result<(Target, Vec<String>, Vec<Promise>, Checked), Trouble> {
        let left = if self.is_over { Duration::ZERO } else { self.asked.length.saturating_sub(self.begun.elapsed()) };
        // What was done last shall have consequences, if any.
        self.pause(left.max(Duration::from_millis(500)))?;
        let Self { target, load, promises, done, .. } = self;
        Ok((target, done, promises, Checked::new(&load.stop())))
    }
}

/// One operation of the load, to find out whether that program can be asked so at all.
fn probe(target: &Target, asked: &Asked) -> Result<(), Trouble> {
    let plan = Plan { length: Length::Count(1), rate: 1000.0, ..plan(target, asked, 1) };
    let failed = |cause: std::io::Error| Trouble::Failed(format!("cannot make the load: {cause}"));
    let record = Load::start(plan).map_err(failed)?.wait();
    match record.failures().first() {
        None if record.good() == 1 => Ok(()),
        None => Err(Trouble::Failed("cannot connect: no ports or descriptors left".to_owned())),
        Some(failure) => Err(Trouble::Unanswered(failure.what.clone())),
    }
}

fn plan(target: &Target, asked: &Asked, kept: usize) -> Plan {
    let mut plan = Plan::new(target.address());
    // The seeds of the two loads and of the victims are the same; they never meet.
    plan.seed = asked.seed;
    plan.rate = asked.rate;
    plan.length = Length::UntilStopped;
    plan.timeout = TIMEOUT;
    plan.connections = kept;
    plan.keep_failures = 1_000_000;
    // Spelled so in the checker's own tests; if it were not, one-shot clients alone would ask.
    plan.kinds = "one-shot=2,keep-alive=1".parse().unwrap_or(plan.kinds);
    if !target.is_demo() {
        plan.protocol = Protocol::Http(Ask::Page);
        plan.paths.page.clone_from(&asked.path);
    }
    plan
}
