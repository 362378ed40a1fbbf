//! The controller carries out commands: one operation at a time for each pool. It reports the progress and counts the
//! result.
//!
//! It owns the configuration that runs. It asks the pools' supervisors by their handles, and the public listeners by
//! [`Listeners`], so that a test can be both.

mod lock;
mod message;
mod reload;
pub(super) mod report;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::listeners::Listeners;
use super::{ConfigSource, LogLevel};
use crate::admin::commands::{
    CommandClient, CommandError, CommandErrorKind, CommandRequest, CommandUpdate, ControlCommand, PlannedChange,
};
use crate::config::Config;
use crate::pool::Pool;
use crate::pool::operation::{OperationKind, OperationRequest, OperationStep, Progress, Report, SlotRange};
use crate::strategy;
use crate::supervisor::SupervisorHandle;
use lock::{OperationLock, OperationLocks};

/// Carries out commands.
pub(super) struct Controller {
    /// The pools in the order of the configuration.
    pools: Vec<Arc<Pool>>,
    /// The supervisors of the pools, in the same order.
    supervisors: Vec<SupervisorHandle>,
    locks: Arc<OperationLocks>,
    /// The configuration that runs; the next reload compares with it.
    config: Mutex<Config>,
    config_source: ConfigSource,
    listeners: Arc<dyn Listeners>,
    log_level: LogLevel,
    /// True once the master stops: from then on the supervisors are asked for nothing more.
    is_stopping: Arc<AtomicBool>,
}

/// The result of an operation, which decides if the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Clean,
    /// It was carried out, but clients were lost.
    Lost,
    /// It was not carried out.
    Failed,
}

impl Controller {
    /// Creates a controller for these pools, which run by `config` behind `listeners`.
    pub(super) fn new(
        pools: Vec<(Arc<Pool>, SupervisorHandle)>,
        config: Config,
        config_source: ConfigSource,
        listeners: Arc<dyn Listeners>,
        log_level: LogLevel,
        is_stopping: Arc<AtomicBool>,
    ) -> Arc<Self> {
        let (pools, supervisors): (Vec<_>, Vec<_>) = pools.into_iter().unzip();
        let locks = Arc::new(OperationLocks::new(pools.len()));
        let config = Mutex::new(config);
        Arc::new(Self { pools, supervisors, locks, config, config_source, listeners, log_level, is_stopping })
    }

    /// Begins a command; returns at once.
    pub(super) fn take(self: &Arc<Self>, CommandRequest { command, client, reply }: CommandRequest) {
        let controller = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(refused) = controller.carry_out(command, &client, &reply).await {
                // Mistakes in the configuration were logged already, as an error.
                if refused.kind != CommandErrorKind::Config {
                    tracing::warn!(
                        pool = refused.pool,
                        why = refused.why,
                        "control command refused, nothing was changed"
                    );
                }
                let _ = reply.send(CommandUpdate::Refused(refused));
            }
        });
    }

    /// Reloads everything, like [`Controller::take`] but without a client: the log shows the result.
    pub(super) fn reload_by_signal(self: &Arc<Self>) {
        tracing::info!("SIGHUP: reading the configuration again");
        let (reply, _) = mpsc::unbounded_channel();
        self.take(CommandRequest {
            command: ControlCommand::Reload { pool: None },
            client: CommandClient::default(),
            reply,
        });
    }

    async fn carry_out(
        &self,
        command: ControlCommand,
        client: &CommandClient,
        reply: &mpsc::UnboundedSender<CommandUpdate>,
    ) -> Result<(), CommandError> {
        let (index, request, plan) = match command {
            ControlCommand::Reload { pool } => {
                let meant = match pool {
                    Some(name) => vec![self.find(&name)?],
                    None => (0..self.pools.len()).collect(),
                };
                return self.reload(meant, client, reply).await;
            }
            ControlCommand::Scale { pool, workers } => {
                let index = self.find(&pool)?;
                let desired = self.pools[index].status.load().desired_workers;
                let wanted = workers.resolve(desired, self.config_source.sources.cpus);
                let wanted = wanted.map_err(|why| self.refuse(index, OperationKind::Scale, why))?;
                (
                    index,
                    OperationRequest::Scale(wanted),
                    PlannedChange { workers: Some((desired, wanted)), ..PlannedChange::default() },
                )
            }
            ControlCommand::Restart { pool, slots } => {
                (self.pool_with(&pool, slots)?, OperationRequest::Restart(slots), PlannedChange::default())
            }
            ControlCommand::Stop { pool, slots } => {
                (self.pool_with(&pool, slots)?, OperationRequest::Stop(slots), PlannedChange::default())
            }
            ControlCommand::Start { pool, slots } => {
                (self.pool_with(&pool, slots)?, OperationRequest::Start(slots), PlannedChange::default())
            }
            // The stored configuration stays as it is, as with `scale`: a reload changes the strategy only if the
            // file's has changed.
            ControlCommand::Strategy { pool, name } => {
                let index = self.find(&pool)?;
                let entry = strategy::find(name)
                    .ok_or_else(|| self.refuse(index, OperationKind::Strategy, format!("unknown strategy `{name}`")))?;
                let strategy = Some((self.pools[index].chosen_by(), entry.name));
                (index, OperationRequest::Strategy(entry), PlannedChange { strategy, ..PlannedChange::default() })
            }
            ControlCommand::Message { pool, message } => return self.say(&pool, message, reply).await,
            // The end of the master is handled elsewhere.
            ControlCommand::Shutdown { .. } => return Err(CommandError::stopping()),
        };
        let lock = self.lock(&[index], request.verb())?;
        self.operate(index, request, plan, reply, |_| {}).await?;
        drop(lock);
        Ok(())
    }

    /// Asks one pool's supervisor to do it. Reports, counts and logs the progress; `at_end` may change the result.
    ///
    /// # Errors
    ///
    /// The operation was not begun.
    async fn operate(
        &self,
        index: usize,
        request: OperationRequest,
        plan: PlannedChange,
        reply: &mpsc::UnboundedSender<CommandUpdate>,
        at_end: impl FnOnce(&mut Report) + Send,
    ) -> Result<Outcome, CommandError> {
        let pool = &self.pools[index];
        let name: Arc<str> = pool.name.as_str().into();
        let verb = request.verb();
        let (news, mut progress) = mpsc::unbounded_channel();
        self.supervisor(index)?.start_operation(request, news);
        let mut has_begun = false;
        let report = loop {
            match progress.recv().await {
                Some(Progress::Refused(why)) => return Err(self.refuse(index, verb, why)),
                Some(Progress::Step(step)) => {
                    has_begun = true;
                    let plan =
                        if matches!(step, OperationStep::Began { .. }) { plan } else { PlannedChange::default() };
                    let _ = reply.send(CommandUpdate::Step { pool: Arc::clone(&name), step, plan });
                }
                Some(Progress::Done(mut report)) => {
                    at_end(&mut report);
                    break report;
                }
                None if has_begun => break report::abandoned(pool, verb),
                None => return Err(CommandError { pool: Some(pool.name.clone()), ..CommandError::stopping() }),
            }
        };
        pool.count_report(&report);
        report::log(&pool.name, &report);
        let outcome = outcome(&report);
        let _ = reply.send(CommandUpdate::Report { pool: name, report });
        Ok(outcome)
    }

    /// Returns the supervisor of a pool, unless the master stops.
    fn supervisor(&self, index: usize) -> Result<&SupervisorHandle, CommandError> {
        let pool = Some(self.pools[index].name.clone());
        let stopping = || CommandError { pool, ..CommandError::stopping() };
        if self.is_stopping.load(Ordering::SeqCst) { Err(stopping()) } else { Ok(&self.supervisors[index]) }
    }

    fn refuse(&self, index: usize, verb: OperationKind, why: String) -> CommandError {
        let pool = &self.pools[index];
        pool.count_refusal(verb);
        CommandError { pool: Some(pool.name.clone()), ..CommandError::new(CommandErrorKind::Refused, why) }
    }

    fn lock(&self, meant: &[usize], verb: OperationKind) -> Result<OperationLock, CommandError> {
        self.locks.take(meant, verb).map_err(|(index, under_way)| {
            let why = format!("pool {} is busy: {} is under way", self.pools[index].name, under_way.name());
            self.refuse(index, verb, why).hint("wait for its end; `roundelay status` shows it")
        })
    }

    fn find(&self, name: &str) -> Result<usize, CommandError> {
        let found = self.pools.iter().position(|pool| pool.name == name);
        found.ok_or_else(|| CommandError::no_pool(name, self.pools.iter().map(|pool| pool.name.as_str())))
    }

    /// Returns the index of the pool if it has all of these slots.
    fn pool_with(&self, name: &str, slots: SlotRange) -> Result<usize, CommandError> {
        let index = self.find(name)?;
        let there = self.pools[index].status.load().workers.len();
        match slots {
            SlotRange::Slots(_, last) if last as usize >= there => {
                let what = format!("pool {name} has no worker {last}");
                let hint = format!("its workers are {name}/0 to {name}/{}", there.saturating_sub(1));
                Err(CommandError::new(CommandErrorKind::NoTarget, what).hint(hint))
            }
            _ => Ok(index),
        }
    }

    fn config(&self) -> MutexGuard<'_, Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn outcome(report: &Report) -> Outcome {
    match (&report.result, report.is_clean()) {
        (Err(_), _) => Outcome::Failed,
        (Ok(()), true) => Outcome::Clean,
        (Ok(()), false) => Outcome::Lost,
    }
}

#[cfg(test)]
mod tests;
