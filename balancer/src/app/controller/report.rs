//! Logs the end of an operation in one line, wherever its command came from.

use std::time::{Duration, SystemTime};

use crate::api::format::duration;
use crate::pool::Pool;
use crate::pool::operation::{OperationKind, Report};

/// Logs a report: as an error if the operation failed, as a warning if clients were lost.
pub(in crate::app) fn log(pool: &str, report: &Report) {
    let Report { verb, result, generation, took, ledger, .. } = report;
    let ends = ledger.and_then(|ledger| ledger.ends);
    let (verb, took) = (verb.name(), duration(took.as_secs_f64()));
    macro_rules! event {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                pool,
                generation,
                took,
                accepted = ledger.map(|ledger| ledger.accepted),
                served = ends.map(|ends| ends.served),
                moved = ledger.map(|ledger| ledger.moved),
                client_ended = ends.map(|ends| ends.client_ended),
                unanswered = ends.map(|ends| ends.unanswered),
                closed = ends.map(|ends| ends.closed),
                rejected = ledger.map(|ledger| ledger.rejected),
                cut = ledger.and_then(|ledger| ledger.known_cut()),
                connections = ledger.is_none().then_some("not observed"),
                ends = (ledger.is_some() && ends.is_none()).then_some("not observed"),
                why = result.as_ref().err(),
                $message,
                verb
            )
        };
    }
    match (result, report.is_clean()) {
        (Err(_), _) => event!(error, "{} failed"),
        (Ok(()), false) => event!(warn, "{} done, and clients were lost"),
        (Ok(()), true) => event!(info, "{} done"),
    }
}

/// Returns the report of an operation whose pool ended before it.
pub(super) fn abandoned(pool: &Pool, verb: OperationKind) -> Report {
    Report {
        verb,
        result: Err("the pool ended before it was over".to_owned()),
        generation: pool.status.load().generation,
        took: Duration::ZERO,
        at: SystemTime::now(),
        ledger: None,
    }
}
