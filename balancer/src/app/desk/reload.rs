//! A reload: everything that can be refused comes first, then one pool after the other takes its new rules.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Desk, Outcome};
use crate::admin::orders::{CommandClient, Plan, Refused, RefusedKind, Told};
use crate::app::doors::{Closing, Opened};
use crate::app::reread::Found;
use crate::config::{self, Change, Config};
use crate::failure::{Failure, code};
use crate::pool::operation::{Ask, Report, Verb};

/// For listeners that go to be closed, so that the next reload finds their addresses free; those with a longer queue close
/// later.
const LAST_CLIENTS: Duration = Duration::from_secs(1);

/// Changes that a refusal names.
const MOST_SHOWN: usize = 100;

impl Desk {
    /// Reads the configuration again and brings it to these pools, one after the other.
    pub(super) async fn reload(
        &self,
        meant: Vec<usize>,
        client: &CommandClient,
        reply: &mpsc::UnboundedSender<Told>,
    ) -> Result<(), Refused> {
        let claim = self.claim(&meant, Verb::Reload)?;
        let refuse = |kind, why: String| {
            for &index in &meant {
                self.pools[index].count_refusal(Verb::Reload);
            }
            Refused::new(kind, why)
        };
        let Found { loaded, gone } = self.reread.load().await.map_err(|problems| {
            tracing::error!("the configuration cannot be loaded, nothing was changed:\n{}", problems.trim_end());
            refuse(RefusedKind::Config, problems)
        })?;
        if !loaded.warnings.is_empty() {
            tracing::warn!("the configuration has warnings:\n{}", loaded.warnings.to_string().trim_end());
        }
        let changes = config::compare(&self.config(), &loaded.config);
        let fixed = self.fixed(&changes, &meant);
        if !fixed.is_empty() {
            let hint = "change it back, or stop the master and start it again";
            return Err(refuse(RefusedKind::Refused, fixed).hint(hint));
        }
        let lost = meant.iter().find_map(|&index| {
            let name = &self.pools[index].name;
            gone.get(name)
                .map(|dir| format!("the directory {} that workers of pool {name} start in is gone", dir.display()))
        });
        if let Some(lost) = lost {
            let hint = "make it again, set `cwd` in the file, or start the master anew, in a directory (or by a link) that stays";
            return Err(refuse(RefusedKind::Refused, lost).hint(hint));
        }
        let opened = self.open(&meant, &loaded.config).await.map_err(|Failure { error, cause, hint, .. }| {
            let why = [Some(error), cause].into_iter().flatten().collect::<Vec<_>>().join(": ");
            Refused { hint, ..refuse(RefusedKind::Refused, why) }
        })?;
        // Reading and binding take time.
        if client.is_gone() {
            return Err(refuse(RefusedKind::Refused, Refused::abandoned().why));
        }
        self.take_level(&loaded.config);
        let mut pools = opened.into_iter();
        let mut has_begun = false;
        while let Some((index, rules, opened)) = pools.next() {
            let name = &self.pools[index].name;
            let keys: Vec<&str> = changes.iter().filter(|change| is_of(change, name)).map(|c| c.key.as_str()).collect();
            tracing::info!(pool = name, changed = keys.join(", "), "reload begins");
            let outcome = self.reload_one(index, rules, opened, reply).await;
            match outcome {
                Ok(Outcome::Clean) => has_begun = true,
                Ok(_) => {
                    self.leave(pools.map(|(index, ..)| index), name, reply);
                    break;
                }
                // What was done to a pool before cannot be taken back by a refusal: it is said as part of the answer.
                Err(refused) if has_begun => {
                    tracing::warn!(pool = name, why = refused.why, "not reloaded; those before it were");
                    let _ = reply.send(Told::Refused(refused));
                    self.leave(pools.map(|(index, ..)| index), name, reply);
                    break;
                }
                Err(refused) => {
                    for (index, ..) in pools {
                        self.pools[index].count_refusal(Verb::Reload);
                    }
                    return Err(refused);
                }
            }
        }
        drop(claim);
        Ok(())
    }

    /// Gives one pool its new rules, and then the listeners that they say.
    async fn reload_one(
        &self,
        index: usize,
        rules: Arc<config::Pool>,
        opened: Box<dyn Opened>,
        reply: &mpsc::UnboundedSender<Told>,
    ) -> Result<Outcome, Refused> {
        let plan = Plan { at_once: Some(rules.max_surge), ..Plan::default() };
        let mut closing = None;
        let ask = Ask::Reload(Arc::clone(&rules));
        let at_end = |report: &mut Report| closing = self.settle(index, &rules, opened, report);
        let outcome = self.operate(index, ask, plan, reply, at_end).await;
        if let Some(closing) = closing {
            // Late ones are closed all the same.
            let _ = timeout(LAST_CLIENTS, closing).await;
        }
        outcome
    }

    /// What is left to do when a pool's supervisor is done: the listeners follow the rules that it now runs by. Listeners
    /// for rules that it did not take are closed again.
    fn settle(
        &self,
        index: usize,
        rules: &config::Pool,
        opened: Box<dyn Opened>,
        report: &mut Report,
    ) -> Option<Closing> {
        let pool = &self.pools[index];
        let runs = Arc::clone(&pool.config());
        let has_taken = is_taken(rules, &runs);
        self.doors.relimit(index);
        if let Some(known) = self.config().pools.iter_mut().find(|one| one.name == pool.name) {
            known.clone_from(&runs);
        }
        if !has_taken {
            return None;
        }
        match opened.enter() {
            Ok(closing) => Some(closing),
            Err(why) => {
                tracing::error!(pool = pool.name, why, "not all listeners were opened; those of before are kept");
                if report.result.is_ok() {
                    report.result = Err(why);
                }
                None
            }
        }
    }

    /// Binds every new address of these pools, on a thread that may wait for `/proc`.
    ///
    /// # Errors
    ///
    /// The first address that cannot be had; none is bound then.
    async fn open(&self, meant: &[usize], config: &Config) -> Result<Vec<Listed>, Failure> {
        let rules = |&index: &usize| Some((index, Arc::new(config.pool(&self.pools[index].name)?.clone())));
        let meant: Vec<_> = meant.iter().filter_map(rules).collect();
        let doors = Arc::clone(&self.doors);
        let open = move || {
            let one = |(index, rules): (usize, Arc<config::Pool>)| {
                let opened = Arc::clone(&doors).open(index, &rules)?;
                Ok((index, rules, opened))
            };
            meant.into_iter().map(one).collect()
        };
        let opened = tokio::task::spawn_blocking(open).await;
        opened.unwrap_or_else(|error| Err(Failure::new(code::FAILED, "cannot open the public listeners").cause(error)))
    }

    /// Of what is said of the whole master, all that a running one takes.
    fn take_level(&self, config: &Config) {
        let mut runs = self.config();
        if runs.log.level != config.log.level {
            runs.log.level.clone_from(&config.log.level);
            self.log_level.set(&config.log.level);
        }
    }

    /// Says that these pools are left as they are, since the reload of `failed` did not go well.
    fn leave(&self, left: impl Iterator<Item = usize>, failed: &str, reply: &mpsc::UnboundedSender<Told>) {
        for pool in left.map(|index| &self.pools[index]) {
            let why = format!("not reloaded, since the reload of {failed} did not go well");
            tracing::warn!(pool = pool.name, why);
            pool.count_refusal(Verb::Reload);
            let refused = Refused::new(RefusedKind::Refused, why);
            let _ = reply.send(Told::Refused(Refused { pool: Some(pool.name.clone()), ..refused }));
        }
    }

    /// What a running master cannot change, of what concerns these pools; empty if there is nothing.
    fn fixed(&self, changes: &[Change], meant: &[usize]) -> String {
        let concerns = |change: &&Change| match &change.pool {
            None => true,
            // A pool that is new or gone is nobody's, and concerns a reload of everything.
            Some(name) => meant.len() == self.pools.len() || meant.iter().any(|&index| self.pools[index].name == *name),
        };
        let fixed: Vec<_> = changes.iter().filter(|change| change.is_fixed).filter(concerns).collect();
        let shown = fixed.iter().take(MOST_SHOWN).map(|change| format!("{change} needs a restart of the master"));
        let more = fixed.len().saturating_sub(MOST_SHOWN);
        let more = (more > 0).then(|| format!("{more} more changes need one"));
        shown.chain(more).collect::<Vec<_>>().join("\n")
    }
}

/// A pool that is reloaded, its new rules, and the listeners for them.
type Listed = (usize, Arc<config::Pool>, Box<dyn Opened>);

/// Whether a pool that runs by `runs` has taken these rules. A number of workers that it could not reach does not take the
/// others back.
fn is_taken(rules: &config::Pool, runs: &config::Pool) -> bool {
    config::Pool { workers: runs.workers, ..rules.clone() } == *runs
}

fn is_of(change: &Change, pool: &str) -> bool {
    change.pool.as_deref() == Some(pool)
}
