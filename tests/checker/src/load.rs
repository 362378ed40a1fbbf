//! A running load: the open loop on a thread of its own.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::client_kinds::{self, Shared};
use crate::pace::Pace;
use crate::plan::Plan;
use crate::pool::Pool;
use crate::record::Record;
use crate::recorder::Recorder;
use crate::schedule::Schedule;

/// The interval at which kept connections are checked for an end by the peer.
const SWEEP: Duration = Duration::from_millis(10);

/// The number of operations that start in a row before others get their turn, if the generator is late.
const BUNCH: u64 = 16;

/// A running load. Dropping it ends all operations at once.
#[derive(Debug)]
pub struct Load {
    phase: watch::Sender<Phase>,
    recorder: Recorder,
    start: Instant,
    thread: Option<JoinHandle<io::Result<()>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// Starts nothing more, and lets open operations end.
    Finishing,
    /// Ends at once.
    BrokenOff,
}

impl Load {
    /// Starts the load on a thread and a runtime of its own, so that it runs beside a blocking test.
    ///
    /// # Errors
    ///
    /// Fails if the plan cannot be carried out ([`Plan::check`]), or no thread or descriptor is left.
    pub fn start(plan: Plan) -> io::Result<Self> {
        plan.check().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let recorder = Recorder::new(Record::new(plan.keep_failures));
        let (phase, phases) = watch::channel(Phase::Running);
        let start = Instant::now();
        let theirs = recorder.clone();
        let body = move || runtime.block_on(run(Arc::new(plan), theirs, start, phases));
        let thread = std::thread::Builder::new().name("checker".to_owned()).spawn(body)?;
        Ok(Self { phase, recorder, start, thread: Some(thread) })
    }

    /// Returns the results so far.
    pub fn so_far(&self) -> Record {
        self.recorder.change(|record| {
            if !self.is_over() {
                record.set_elapsed(self.start.elapsed());
            }
            record.clone()
        })
    }

    /// Returns the time from the start of the load until now. [`Failure::at`](crate::Failure::at) uses the same clock.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns true once all operations of the plan have ended.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Starts no more operations. Open operations go on up to their time limit; see [`Load::is_over`].
    pub fn finish(&self) {
        self.phase.send_replace(Phase::Finishing);
    }

    /// Does the same, and waits for open operations.
    pub fn stop(self) -> Record {
        self.finish();
        self.wait()
    }

    /// Waits until the plan is carried out, which is for ever if the plan has no end.
    pub fn wait(mut self) -> Record {
        self.join();
        self.so_far()
    }

    fn join(&mut self) {
        match self.thread.take().map(JoinHandle::join) {
            // `run` counts the operations that were not carried out.
            None | Some(Ok(_)) => {}
            // A panic of the load's thread is a defect of this program, and must not look like a good load.
            Some(Err(defect)) if !std::thread::panicking() => std::panic::resume_unwind(defect),
            Some(Err(_)) => {}
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::BrokenOff);
        self.join();
    }
}

async fn run(
    plan: Arc<Plan>,
    recorder: Recorder,
    start: Instant,
    mut phases: watch::Receiver<Phase>,
) -> io::Result<()> {
    let (ending, ending_seen) = watch::channel(false);
    let pools = || plan.targets.iter().map(|_| Pool::new(plan.connections, recorder.clone())).collect::<Vec<_>>();
    let shared = Arc::new(Shared {
        plan: Arc::clone(&plan),
        recorder: recorder.clone(),
        keep_alive: pools(),
        stubborn: pools(),
        start,
        ending: ending_seen,
    });
    let slots = Arc::new(Semaphore::new(plan.max_open));
    let theirs = phases.clone();
    let work = async {
        let result = issue(&shared, &slots, theirs).await;
        ending.send_replace(true);
        let all = u32::try_from(plan.max_open).unwrap_or(u32::MAX);
        let _ = slots.acquire_many(all).await;
        result
    };
    tokio::select! {
        result = work => {
            recorder.change(|record| {
                record.set_elapsed(start.elapsed());
                if result.is_err() {
                    record.skip("no descriptor for the schedule");
                }
            });
            result
        }
        () = sweep(&shared) => Ok(()),
        _ = phases.wait_for(|phase| *phase == Phase::BrokenOff) => Ok(()),
    }
}

/// Starts each operation at its time, independently of earlier ones.
async fn issue(shared: &Arc<Shared>, slots: &Arc<Semaphore>, mut phases: watch::Receiver<Phase>) -> io::Result<()> {
    let pace = Pace::new()?;
    for operation in Schedule::new(&shared.plan) {
        let due = shared.start + operation.at;
        let wait = due.saturating_duration_since(Instant::now());
        if wait.is_zero() && operation.token.number() % BUNCH == 0 {
            tokio::task::yield_now().await;
        }
        if !wait.is_zero() {
            tokio::select! {
                waited = pace.wait(wait) => waited?,
                _ = phases.wait_for(|phase| *phase != Phase::Running) => return Ok(()),
            }
        } else if *phases.borrow_and_update() != Phase::Running {
            return Ok(());
        }
        match Arc::clone(slots).try_acquire_owned() {
            Ok(slot) => {
                let shared = Arc::clone(shared);
                tokio::spawn(async move {
                    client_kinds::run(shared, operation).await;
                    drop(slot);
                });
            }
            Err(_) => shared.recorder.change(|record| record.skip("too many under way")),
        }
    }
    Ok(())
}

async fn sweep(shared: &Shared) {
    loop {
        tokio::time::sleep(SWEEP).await;
        shared.keep_alive.iter().chain(&shared.stubborn).for_each(|pool| pool.sweep());
    }
}
