//! Reports the end of a pool and its cost to clients.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::ledger::{Closes, Totals};
use crate::pool::Pool;
use crate::pool::operation::{OperationKind, Report};

/// A pool whose workers have all ended by command.
pub struct StopReport {
    pub(in crate::supervisor) pool: Arc<Pool>,
    pub(in crate::supervisor) begun: Instant,
    pub(in crate::supervisor) before: Totals,
    pub(in crate::supervisor) left: Closes,
    pub(in crate::supervisor) generation: u64,
}

impl std::fmt::Debug for StopReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StopReport").field("pool", &self.pool.name).finish_non_exhaustive()
    }
}

impl StopReport {
    /// Returns the report of the end up to now. Call it after the last connections have ended too.
    pub fn report(&self) -> Report {
        let ledger = self.before.until(&Totals::of(&self.pool), &self.left);
        Report {
            verb: OperationKind::Stop,
            result: Ok(()),
            generation: self.generation,
            took: self.begun.elapsed(),
            at: SystemTime::now(),
            ledger,
        }
    }

    /// The pool that ended.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }
}
