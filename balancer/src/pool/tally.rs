//! Counts the operations on a pool and their cost in connections.

use super::Pool;
use super::operation::{Ledger, OperationKind, Report};
use crate::stats::{Fate, OperationResult, OperationStats};

// `OperationStats` has one entry for each verb.
const _: () = assert!(OperationKind::ALL.len() == OperationStats::VERBS);

impl Report {
    /// Returns the result of the operation, in the word of metrics, API and commands.
    pub fn outcome(&self) -> OperationResult {
        match (&self.result, self.is_clean()) {
            (Err(_), _) => OperationResult::Failed,
            (Ok(()), false) => OperationResult::Lost,
            (Ok(()), true) => OperationResult::Done,
        }
    }
}

impl Ledger {
    /// Returns the count of each fate, in the order of [`Fate::ALL`]. `None` stands for a count that was not observed.
    pub fn by_fate(&self) -> [(Fate, Option<u64>); Fate::COUNT] {
        let Ledger { accepted, moved, rejected, cut, ends } = *self;
        [
            (Fate::Accepted, Some(accepted)),
            (Fate::Served, ends.map(|ends| ends.served)),
            (Fate::Moved, Some(moved)),
            (Fate::ClientEnded, ends.map(|ends| ends.client_ended)),
            (Fate::Unanswered, ends.map(|ends| ends.unanswered)),
            (Fate::Closed, ends.map(|ends| ends.closed)),
            (Fate::Rejected, Some(rejected)),
            (Fate::Cut, Some(cut)),
        ]
    }
}

impl Pool {
    /// Counts an operation that has ended, and its connections.
    pub fn count_report(&self, report: &Report) {
        let stats = &self.stats.operations[report.verb as usize];
        stats.ended[report.outcome() as usize].increment();
        for (fate, count) in report.ledger.iter().flat_map(Ledger::by_fate) {
            stats.connections[fate as usize].add(count.unwrap_or(0));
        }
    }

    /// Counts an operation that was refused before it began.
    pub fn count_refusal(&self, verb: OperationKind) {
        self.stats.operations[verb as usize].ended[OperationResult::Refused as usize].increment();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::config::{self, Program};
    use crate::pool::operation::Ends;

    fn report(result: Result<(), String>, ledger: Option<Ledger>) -> Report {
        let (took, at) = (Duration::ZERO, SystemTime::now());
        Report { verb: OperationKind::Scale, result, generation: 1, took, at, ledger }
    }

    #[test]
    fn verbs_and_fates_index_their_counters() {
        assert_eq!(OperationKind::ALL.map(|verb| verb as usize), [0, 1, 2, 3, 4, 5]);
        let fates = Ledger::default().by_fate().map(|(fate, _)| fate);
        assert_eq!(fates.as_slice(), Fate::ALL);
    }

    #[test]
    fn operation_cost_is_counted_once() {
        let pool = Pool::new(config::PoolConfig::new("a", Program::Demo), 1, 1, Vec::new());
        let ends = Some(Ends::default());
        let lost = Ledger { accepted: 7, cut: 2, ends, ..Ledger::default() };
        for (result, ledger, outcome) in [
            (Ok(()), None, OperationResult::Done),
            (Ok(()), Some(Ledger::default()), OperationResult::Done),
            (Ok(()), Some(lost), OperationResult::Lost),
            (Err("no".to_owned()), None, OperationResult::Failed),
        ] {
            let report = report(result, ledger);
            assert_eq!(report.outcome(), outcome);
            pool.count_report(&report);
        }
        pool.count_refusal(OperationKind::Scale);
        let stats = &pool.stats.operations[OperationKind::Scale as usize];
        assert_eq!(stats.ended.each_ref().map(|counter| counter.get()), [2, 1, 1, 1]);
        assert_eq!(stats.connections.each_ref().map(|counter| counter.get()), [7, 0, 0, 0, 0, 0, 0, 2]);
    }
}
