//! The desk where orders are carried out: one operation at a time a pool, each told as it goes and counted at its end.
//!
//! It owns the configuration that runs. The pools' supervisors belong to somebody else, as do the public listeners; what is
//! asked of them is passed on as [`Question`] and to [`Doors`], so that a test can be both.

mod claim;
mod message;
mod reload;
pub(super) mod report;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::doors::Doors;
use super::{LogLevel, Reread};
use crate::admin::orders::{CommandClient, Demand, Ordered, Plan, Refused, RefusedKind, Told};
use crate::config::Config;
use crate::pool::Pool;
use crate::pool::message::{Delivery, Message};
use crate::pool::operation::{Ask, Progress, Report, Step, Verb, Which};
use crate::strategy;
use claim::{Claim, Claims};

/// What the desk asks of the supervisors.
#[derive(Debug)]
pub(super) enum Question {
    Operate(Asking),
    Say(Saying),
}

/// An operation on a pool.
#[derive(Debug)]
pub(super) struct Asking {
    /// Which pool, in the order of the configuration.
    pub(super) pool: usize,
    pub(super) ask: Ask,
    pub(super) reply: mpsc::UnboundedSender<Progress>,
}

/// Something to be said to a pool's workers.
#[derive(Debug)]
pub(super) struct Saying {
    /// Which pool, in the order of the configuration.
    pub(super) pool: usize,
    pub(super) message: Message,
    pub(super) reply: oneshot::Sender<Vec<Delivery>>,
}

/// Carries out orders.
pub(super) struct Desk {
    /// In the order of the configuration.
    pools: Vec<Arc<Pool>>,
    claims: Arc<Claims>,
    /// What runs: with this the next reload is compared.
    config: Mutex<Config>,
    reread: Reread,
    doors: Arc<dyn Doors>,
    log_level: LogLevel,
    asks: mpsc::UnboundedSender<Question>,
}

/// Whether what comes after it should be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Clean,
    /// Carried out, but clients were lost.
    Lost,
    /// Not carried out.
    Failed,
}

impl Desk {
    /// A desk for `pools`, which run by `config` behind `doors`; also what it asks of their supervisors.
    pub(super) fn new(
        pools: Vec<Arc<Pool>>,
        config: Config,
        reread: Reread,
        doors: Arc<dyn Doors>,
        log_level: LogLevel,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Question>) {
        let (asks, asked) = mpsc::unbounded_channel();
        let claims = Arc::new(Claims::new(pools.len()));
        (Arc::new(Self { pools, claims, config: Mutex::new(config), reread, doors, log_level, asks }), asked)
    }

    /// Begins to carry out an order on a pool; returns at once.
    pub(super) fn take(self: &Arc<Self>, Ordered { demand, client, reply }: Ordered) {
        let desk = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(refused) = desk.carry_out(demand, &client, &reply).await {
                // Mistakes in the configuration are in the log already, as the error that they are.
                if refused.kind != RefusedKind::Config {
                    tracing::warn!(pool = refused.pool, why = refused.why, "an order was refused; nothing was changed");
                }
                let _ = reply.send(Told::Refused(refused));
            }
        });
    }

    /// As [`Desk::take`] with a reload of everything that nobody waits for: its outcome is in the log.
    pub(super) fn reload_by_signal(self: &Arc<Self>) {
        tracing::info!("SIGHUP: reading the configuration again");
        let (reply, _) = mpsc::unbounded_channel();
        self.take(Ordered { demand: Demand::Reload { pool: None }, client: CommandClient::default(), reply });
    }

    async fn carry_out(
        &self,
        demand: Demand,
        client: &CommandClient,
        reply: &mpsc::UnboundedSender<Told>,
    ) -> Result<(), Refused> {
        let (index, ask, plan) = match demand {
            Demand::Reload { pool } => {
                let meant = match pool {
                    Some(name) => vec![self.find(&name)?],
                    None => (0..self.pools.len()).collect(),
                };
                return self.reload(meant, client, reply).await;
            }
            Demand::Scale { pool, workers } => {
                let index = self.find(&pool)?;
                let desired = self.pools[index].status.load().desired;
                let wanted = workers.resolve(desired, self.reread.sources.cpus);
                let wanted = wanted.map_err(|why| self.refuse(index, Verb::Scale, why))?;
                (index, Ask::Scale(wanted), Plan { workers: Some((desired, wanted)), ..Plan::default() })
            }
            Demand::Restart { pool, which } => (self.place(&pool, which)?, Ask::Restart(which), Plan::default()),
            Demand::Stop { pool, which } => (self.place(&pool, which)?, Ask::Stop(which), Plan::default()),
            Demand::Start { pool, which } => (self.place(&pool, which)?, Ask::Start(which), Plan::default()),
            // The configuration is what it was: a reload sets what the file says only if that changes. As with `scale`.
            Demand::Strategy { pool, name } => {
                let index = self.find(&pool)?;
                let entry = strategy::find(name)
                    .ok_or_else(|| self.refuse(index, Verb::Strategy, format!("unknown strategy `{name}`")))?;
                let strategy = Some((self.pools[index].chosen_by(), entry.name));
                (index, Ask::Strategy(entry), Plan { strategy, ..Plan::default() })
            }
            Demand::Message { pool, message } => return self.say(&pool, message, reply).await,
            // The end of the master is not the desk's business.
            Demand::Shutdown { .. } => return Err(Refused::stopping()),
        };
        let claim = self.claim(&[index], ask.verb())?;
        self.operate(index, ask, plan, reply, |_| {}).await?;
        drop(claim);
        Ok(())
    }

    /// Has one pool's supervisor do it, and tells, counts and logs how it goes; `at_end` has a say in its outcome.
    ///
    /// # Errors
    ///
    /// It was not begun.
    async fn operate(
        &self,
        index: usize,
        ask: Ask,
        plan: Plan,
        reply: &mpsc::UnboundedSender<Told>,
        at_end: impl FnOnce(&mut Report) + Send,
    ) -> Result<Outcome, Refused> {
        let pool = &self.pools[index];
        let name: Arc<str> = pool.name.as_str().into();
        let verb = ask.verb();
        let (news, mut progress) = mpsc::unbounded_channel();
        if self.asks.send(Question::Operate(Asking { pool: index, ask, reply: news })).is_err() {
            return Err(Refused { pool: Some(pool.name.clone()), ..Refused::stopping() });
        }
        let mut has_begun = false;
        let report = loop {
            match progress.recv().await {
                Some(Progress::Refused(why)) => return Err(self.refuse(index, verb, why)),
                Some(Progress::Step(step)) => {
                    has_begun = true;
                    let plan = if matches!(step, Step::Began { .. }) { plan } else { Plan::default() };
                    let _ = reply.send(Told::Step { pool: Arc::clone(&name), step, plan });
                }
                Some(Progress::Done(mut report)) => {
                    at_end(&mut report);
                    break report;
                }
                None if has_begun => break report::abandoned(pool, verb),
                None => return Err(Refused { pool: Some(pool.name.clone()), ..Refused::stopping() }),
            }
        };
        pool.count_report(&report);
        report::log(&pool.name, &report);
        let outcome = outcome(&report);
        let _ = reply.send(Told::Report { pool: name, report });
        Ok(outcome)
    }

    fn refuse(&self, index: usize, verb: Verb, why: String) -> Refused {
        let pool = &self.pools[index];
        pool.count_refusal(verb);
        Refused { pool: Some(pool.name.clone()), ..Refused::new(RefusedKind::Refused, why) }
    }

    fn claim(&self, meant: &[usize], verb: Verb) -> Result<Claim, Refused> {
        self.claims.take(meant, verb).map_err(|(index, under_way)| {
            let why = format!("pool {} is busy: {} is under way", self.pools[index].name, under_way.name());
            self.refuse(index, verb, why).hint("wait for its end; `roundelay status` shows it")
        })
    }

    fn find(&self, name: &str) -> Result<usize, Refused> {
        let found = self.pools.iter().position(|pool| pool.name == name);
        found.ok_or_else(|| Refused::no_pool(name, self.pools.iter().map(|pool| pool.name.as_str())))
    }

    /// The pool, if it has all of these slots.
    fn place(&self, name: &str, which: Which) -> Result<usize, Refused> {
        let index = self.find(name)?;
        let there = self.pools[index].status.load().workers.len();
        match which {
            Which::Slots(_, last) if last as usize >= there => {
                let what = format!("pool {name} has no worker {last}");
                let hint = format!("its workers are {name}/0 to {name}/{}", there.saturating_sub(1));
                Err(Refused::new(RefusedKind::NoTarget, what).hint(hint))
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
