//! A reload: first everything that may be refused is done for all pools; then one pool after the other takes its new
//! configuration.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Controller, Outcome};
use crate::admin::commands::{CommandClient, CommandError, CommandErrorKind, CommandUpdate, PlannedChange};
use crate::app::config_source::Found;
use crate::app::listeners::{Closing, PendingListeners};
use crate::config::{self, Change, Config};
use crate::failure::{Failure, code};
use crate::pool::operation::{OperationKind, OperationRequest, Report};

/// The time for removed listeners to close, so that the next reload finds their addresses free. Listeners with a longer
/// queue close later.
const LAST_CLIENTS: Duration = Duration::from_secs(1);

/// The number of changes that a refusal lists.
const MOST_SHOWN: usize = 100;

impl Controller {
    /// Loads the configuration again and brings it to these pools, one after the other.
    pub(super) async fn reload(
        &self,
        meant: Vec<usize>,
        client: &CommandClient,
        reply: &mpsc::UnboundedSender<CommandUpdate>,
    ) -> Result<(), CommandError> {
        let lock = self.lock(&meant, OperationKind::Reload)?;
        let refuse = |kind, why: String| {
            for &index in &meant {
                self.pools[index].count_refusal(OperationKind::Reload);
            }
            CommandError::new(kind, why)
        };
        let Found { loaded, gone } = self.config_source.load().await.map_err(|problems| {
            tracing::error!("the configuration cannot be loaded, nothing was changed:\n{}", problems.trim_end());
            refuse(CommandErrorKind::Config, problems)
        })?;
        if !loaded.warnings.is_empty() {
            tracing::warn!("the configuration has warnings:\n{}", loaded.warnings.to_string().trim_end());
        }
        let changes = config::compare(&self.config(), &loaded.config);
        let fixed = self.fixed(&changes, &meant);
        if !fixed.is_empty() {
            let hint = "change it back, or stop the master and start it again";
            return Err(refuse(CommandErrorKind::Refused, fixed).hint(hint));
        }
        let lost = meant.iter().find_map(|&index| {
            let name = &self.pools[index].name;
            gone.get(name)
                .map(|dir| format!("the directory {} that workers of pool {name} start in is gone", dir.display()))
        });
        if let Some(lost) = lost {
            let hint = "make it again, set `cwd` in the file, or start the master anew, in a directory (or by a link) that stays";
            return Err(refuse(CommandErrorKind::Refused, lost).hint(hint));
        }
        let pending = self.open(&meant, &loaded.config).await.map_err(|Failure { error, cause, hint, .. }| {
            let why = [Some(error), cause].into_iter().flatten().collect::<Vec<_>>().join(": ");
            CommandError { hint, ..refuse(CommandErrorKind::Refused, why) }
        })?;
        // Reading and binding take time, and the client may have gone meanwhile.
        if client.is_gone() {
            return Err(refuse(CommandErrorKind::Refused, CommandError::abandoned().why));
        }
        self.take_level(&loaded.config);
        let mut pools = pending.into_iter();
        let mut has_begun = false;
        while let Some((index, config, pending)) = pools.next() {
            let name = &self.pools[index].name;
            let keys: Vec<&str> = changes.iter().filter(|change| is_of(change, name)).map(|c| c.key.as_str()).collect();
            tracing::info!(pool = name, changed = keys.join(", "), "reload begins");
            let outcome = self.reload_one(index, config, pending, reply).await;
            match outcome {
                Ok(Outcome::Clean) => has_begun = true,
                Ok(_) => {
                    self.not_reloaded(pools.map(|(index, ..)| index), name, reply);
                    break;
                }
                // The pools before this one have changed already, so this error is only a part of the answer, not a
                // refusal of it all.
                Err(refused) if has_begun => {
                    tracing::warn!(pool = name, why = refused.why, "not reloaded; those before it were");
                    let _ = reply.send(CommandUpdate::Refused(refused));
                    self.not_reloaded(pools.map(|(index, ..)| index), name, reply);
                    break;
                }
                Err(refused) => {
                    for (index, ..) in pools {
                        self.pools[index].count_refusal(OperationKind::Reload);
                    }
                    return Err(refused);
                }
            }
        }
        drop(lock);
        Ok(())
    }

    /// Gives one pool its new configuration, and then its new listeners.
    async fn reload_one(
        &self,
        index: usize,
        config: Arc<config::PoolConfig>,
        pending: Box<dyn PendingListeners>,
        reply: &mpsc::UnboundedSender<CommandUpdate>,
    ) -> Result<Outcome, CommandError> {
        let plan = PlannedChange { at_once: Some(config.max_surge), ..PlannedChange::default() };
        let mut closing = None;
        let request = OperationRequest::Reload(Arc::clone(&config));
        let at_end = |report: &mut Report| closing = self.settle(index, &config, pending, report);
        let outcome = self.operate(index, request, plan, reply, at_end).await;
        if let Some(closing) = closing {
            // Listeners that need longer are closed all the same, later.
            let _ = timeout(LAST_CLIENTS, closing).await;
        }
        outcome
    }

    /// Runs when a pool's supervisor is done: opens and closes listeners according to the configuration that the pool
    /// now runs by. If the pool did not take the new configuration, the listeners for it are closed again.
    fn settle(
        &self,
        index: usize,
        config: &config::PoolConfig,
        pending: Box<dyn PendingListeners>,
        report: &mut Report,
    ) -> Option<Closing> {
        let pool = &self.pools[index];
        let runs = Arc::clone(&pool.config());
        let has_taken = is_taken(config, &runs);
        self.listeners.relimit(index);
        if let Some(known) = self.config().pools.iter_mut().find(|one| one.name == pool.name) {
            known.clone_from(&runs);
        }
        if !has_taken {
            return None;
        }
        match pending.activate() {
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
    /// The first address that cannot be bound; then none is.
    async fn open(&self, meant: &[usize], config: &Config) -> Result<Vec<Listed>, Failure> {
        let config = |&index: &usize| Some((index, Arc::new(config.pool(&self.pools[index].name)?.clone())));
        let meant: Vec<_> = meant.iter().filter_map(config).collect();
        let listeners = Arc::clone(&self.listeners);
        let open = move || {
            let one = |(index, config): (usize, Arc<config::PoolConfig>)| {
                let pending = Arc::clone(&listeners).open(index, &config)?;
                Ok((index, config, pending))
            };
            meant.into_iter().map(one).collect()
        };
        let pending = tokio::task::spawn_blocking(open).await;
        pending.unwrap_or_else(|error| Err(Failure::new(code::FAILED, "cannot open the public listeners").cause(error)))
    }

    /// Takes over the only setting of the whole master that a running master can change: `log.level`.
    fn take_level(&self, config: &Config) {
        let mut runs = self.config();
        if runs.log.level != config.log.level {
            runs.log.level.clone_from(&config.log.level);
            self.log_level.set(&config.log.level);
        }
    }

    /// Reports that these pools are left as they are, since the reload of `failed` did not go well.
    fn not_reloaded(
        &self,
        left: impl Iterator<Item = usize>,
        failed: &str,
        reply: &mpsc::UnboundedSender<CommandUpdate>,
    ) {
        for pool in left.map(|index| &self.pools[index]) {
            let why = format!("not reloaded, since the reload of {failed} did not go well");
            tracing::warn!(pool = pool.name, why);
            pool.count_refusal(OperationKind::Reload);
            let refused = CommandError::new(CommandErrorKind::Refused, why);
            let _ = reply.send(CommandUpdate::Refused(CommandError { pool: Some(pool.name.clone()), ..refused }));
        }
    }

    /// Lists the changed keys of these pools that a running master cannot change; empty if there are none.
    fn fixed(&self, changes: &[Change], meant: &[usize]) -> String {
        let concerns = |change: &&Change| match &change.pool {
            None => true,
            // A pool that was added or removed belongs to no running pool; it concerns only a reload of everything.
            Some(name) => meant.len() == self.pools.len() || meant.iter().any(|&index| self.pools[index].name == *name),
        };
        let fixed: Vec<_> = changes.iter().filter(|change| change.is_fixed).filter(concerns).collect();
        let shown = fixed.iter().take(MOST_SHOWN).map(|change| format!("{change} needs a restart of the master"));
        let more = fixed.len().saturating_sub(MOST_SHOWN);
        let more = (more > 0).then(|| format!("{more} more changes need one"));
        shown.chain(more).collect::<Vec<_>>().join("\n")
    }
}

/// A pool that is reloaded: its index, its new configuration and the listeners for it.
type Listed = (usize, Arc<config::PoolConfig>, Box<dyn PendingListeners>);

/// Returns true if a pool that runs by `runs` has taken this configuration. A number of workers that could not be
/// reached does not count as a refusal of the rest.
fn is_taken(config: &config::PoolConfig, runs: &config::PoolConfig) -> bool {
    config::PoolConfig { workers: runs.workers, ..config.clone() } == *runs
}

fn is_of(change: &Change, pool: &str) -> bool {
    change.pool.as_deref() == Some(pool)
}
