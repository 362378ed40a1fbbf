//! The task of a pool under paused time, with doubles of the launcher and of the data path.
//!
//! No program runs and no client comes: a test decides what the processes do, and the clock jumps from one deadline to
//! the next. So a backoff of minutes costs nothing. Only the output of a
//! process ends on a thread of its own, so times that include it vary by up to a second.

mod doubles;
mod holding;
mod reloads;
mod replacing;
mod restarts;
mod stopping;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::worker::notify::NotifyMessage;
use super::{Input, Resources, Shutdown, SpawnBudget, SupervisorHandle, SupervisorTask, WorkerEvent};
use crate::config::{EndpointKind, PoolConfig, Probe, Program, Ready};
use crate::net::public::Public;
use crate::os::child::Exit;
use crate::os::run_dir::RunDirs;
use crate::output::Output;
use crate::pool::operation::{OperationRequest, OperationStep, Progress, Report};
use crate::pool::{Pool, PoolStatus, SlotState};
use crate::rotation::AcceptState;
use doubles::{Behaviour, TestDataPath, TestLauncher};

/// The time within which every condition of a test comes true, on the test's own clock.
const PATIENCE: Duration = Duration::from_secs(1200);
/// The pause between two looks at a condition.
const LOOK: Duration = Duration::from_millis(20);

/// A pool whose processes are played by the test.
struct TestPool {
    pool: Arc<Pool>,
    handle: SupervisorHandle,
    task: SupervisorTask,
    launcher: Arc<TestLauncher>,
    data_path: Arc<TestDataPath>,
}

/// The configuration of a pool whose program is `good`: ready as soon as it runs, and gone at its stop signal. No check
/// connects to it.
fn config() -> PoolConfig {
    let mut config = PoolConfig::new("api", program("good"));
    config.endpoint = EndpointKind::Inherited;
    config.ready = Ready::None;
    config.health.probe = Probe::None;
    config.settle = Duration::ZERO;
    config
}

/// The same with a program that is ready only when it says so, which `silent` never does.
fn config_of(name: &str) -> PoolConfig {
    PoolConfig { program: program(name), ready: Ready::Notify, ..config() }
}

fn program(name: &str) -> Program {
    Program::Command(vec![name.to_owned()])
}

impl TestPool {
    /// Starts a pool of that many workers.
    fn start(config: PoolConfig, workers: u32) -> Self {
        let launcher = Arc::new(TestLauncher::default());
        Self::start_with(config, workers, launcher)
    }

    fn start_with(config: PoolConfig, workers: u32, launcher: Arc<TestLauncher>) -> Self {
        let pool = Arc::new(Pool::new(config, workers, 1, Vec::new()));
        let budget = SpawnBudget::new(1000, 1000, Instant::now());
        let run_dirs = RunDirs::create(false).unwrap();
        let output = Output::start().unwrap();
        let resources = Resources::new(Arc::<TestLauncher>::clone(&launcher), output, run_dirs, None, None, budget);
        let data_path = Arc::new(TestDataPath::default());
        let none = Public::Listeners(Vec::new());
        let of_pool = Arc::<TestDataPath>::clone(&data_path);
        let (handle, inbox) = super::channel();
        let task = handle.start(inbox, Arc::clone(&pool), Arc::new(resources), of_pool, none).unwrap();
        Self { pool, handle, task, launcher, data_path }
    }

    /// Starts a pool and waits until all its workers are ready.
    async fn ready(config: PoolConfig, workers: u32) -> Self {
        let test = Self::start(config, workers);
        test.until("all workers are ready", |status| states(status).iter().all(|state| *state == SlotState::Ready))
            .await;
        test
    }

    fn status(&self) -> Arc<PoolStatus> {
        self.pool.status.load_full()
    }

    fn states(&self) -> Vec<SlotState> {
        states(&self.status())
    }

    /// The generations of the workers by slot.
    fn generations(&self) -> Vec<u64> {
        self.status().workers.iter().map(|worker| worker.generation).collect()
    }

    /// The slots in rotation, with the incarnation that serves each.
    fn rotation(&self) -> Vec<(u32, u64)> {
        let snapshot = self.pool.rotation.snapshot();
        snapshot.upstreams.iter().map(|upstream| (upstream.slot.0, upstream.incarnation)).collect()
    }

    fn accept_state(&self) -> AcceptState {
        self.status().accept_state
    }

    /// Waits until the status is as wanted. Returns how long that took.
    async fn until(&self, what: &str, is_so: impl Fn(&PoolStatus) -> bool) -> Duration {
        let begun = Instant::now();
        while !is_so(&self.status()) {
            assert!(begun.elapsed() < PATIENCE, "not so within {PATIENCE:?}: {what}; {:?}", self.states());
            sleep(LOOK).await;
        }
        begun.elapsed()
    }

    /// Asserts that a condition holds at every look for that long.
    async fn stays(&self, what: &str, time: Duration, is_so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            assert!(is_so(self), "not so after {:?}: {what}; {:?}", begun.elapsed(), self.states());
            sleep(LOOK).await;
        }
    }

    /// Starts an operation. The receiver gets its progress.
    fn operate(&self, request: OperationRequest) -> Operating {
        let (reply, progress) = mpsc::unbounded_channel();
        self.handle.start_operation(request, reply);
        Operating { progress, steps: Vec::new() }
    }

    fn reload(&self, config: PoolConfig) -> Operating {
        self.operate(OperationRequest::Reload(Arc::new(config)))
    }

    /// Sends the supervisor an event of a process.
    fn send(&self, slot: usize, incarnation: u64, event: WorkerEvent) {
        let _ = self.handle.inputs.send(Input::Worker { slot, incarnation, event });
    }

    fn send_input(&self, input: Input) {
        let _ = self.handle.inputs.send(input);
    }
}

fn states(status: &PoolStatus) -> Vec<SlotState> {
    status.workers.iter().map(|worker| worker.state).collect()
}

/// An operation that was started.
struct Operating {
    progress: mpsc::UnboundedReceiver<Progress>,
    steps: Vec<OperationStep>,
}

impl Operating {
    /// Waits for the report. Steps are kept in `steps`.
    async fn report(&mut self) -> Report {
        loop {
            match self.progress.recv().await {
                Some(Progress::Step(step)) => self.steps.push(step),
                Some(Progress::Done(report)) => return report,
                Some(Progress::Refused(why)) => panic!("refused: {why}"),
                None => panic!("no report: the pool has ended"),
            }
        }
    }

    /// Waits for the refusal.
    async fn refusal(&mut self) -> String {
        match self.progress.recv().await {
            Some(Progress::Refused(why)) => why,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Returns true if no report has come yet.
    fn is_under_way(&mut self) -> bool {
        loop {
            match self.progress.try_recv() {
                Ok(Progress::Step(step)) => self.steps.push(step),
                Ok(_) => return false,
                Err(error) => return error == mpsc::error::TryRecvError::Empty,
            }
        }
    }

    /// The slots whose processes became ready, in order.
    fn ready_slots(&self) -> Vec<u32> {
        let ready = |step: &OperationStep| match step {
            OperationStep::Ready { slot, .. } => Some(*slot),
            _ => None,
        };
        self.steps.iter().filter_map(ready).collect()
    }
}
