//! The results of a load: counts, latencies, and details of the first failures.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::analysis::{self, Allowance, CheckResult};
use crate::client_kinds::ClientKind;
use crate::failure::{Class, Failure};
use crate::latency::Latency;
use crate::silence::Silence;

/// All results of a load so far.
#[derive(Clone, Debug, Default)]
pub struct Record {
    kinds: BTreeMap<ClientKind, KindRecord>,
    workers: BTreeMap<String, u64>,
    details: BTreeMap<String, u64>,
    not_started: BTreeMap<&'static str, u64>,
    kept: KeptRecord,
    failures: Vec<Failure>,
    keep_failures: usize,
    lag: Latency,
    silence: Silence,
    elapsed: Duration,
}

/// The results of one kind of client.
#[derive(Clone, Debug, Default)]
pub struct KindRecord {
    pub(crate) started: u64,
    pub(crate) good: u64,
    pub(crate) failed: BTreeMap<Class, u64>,
    pub(crate) messages: u64,
    pub(crate) latency: Latency,
}

/// Events of kept connections. None of them is a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptRecord {
    /// Connections opened.
    pub opened: u64,
    /// Answers that announced the end of their connection.
    pub said_close: u64,
    /// Ends of a connection without a request in progress, seen before the next request was sent.
    pub idle_closed: u64,
    /// Resets of such a connection.
    pub idle_reset: u64,
}

impl Record {
    pub(crate) fn new(keep_failures: usize) -> Self {
        Self { keep_failures, ..Self::default() }
    }

    /// Records that an operation starts, `late` after its time.
    pub(crate) fn start(&mut self, kind: ClientKind, late: Duration) {
        self.kinds.entry(kind).or_default().started += 1;
        self.lag.record(late);
    }

    /// Records that an operation was not carried out, for a reason of the generator itself.
    pub(crate) fn skip(&mut self, why: &'static str) {
        *self.not_started.entry(why).or_default() += 1;
    }

    /// Records that an operation that was counted as started could not connect, for a reason of the generator itself.
    pub(crate) fn take_back(&mut self, kind: ClientKind, why: &'static str) {
        let started = &mut self.kinds.entry(kind).or_default().started;
        *started = started.saturating_sub(1);
        self.skip(why);
    }

    /// Records that an operation ended well. An operation with many messages has no latency of its own.
    pub(crate) fn succeed(&mut self, kind: ClientKind, latency: Option<Duration>, worker: Option<&str>) {
        let record = self.kinds.entry(kind).or_default();
        record.good += 1;
        if let Some(latency) = latency {
            record.latency.record(latency);
        }
        if let Some(worker) = worker {
            match self.workers.get_mut(worker) {
                Some(count) => *count += 1,
                None => drop(self.workers.insert(worker.to_owned(), 1)),
            }
        }
    }

    /// Records that a message of a session came back.
    pub(crate) fn message(&mut self, kind: ClientKind, latency: Duration) {
        let record = self.kinds.entry(kind).or_default();
        record.messages += 1;
        record.latency.record(latency);
    }

    /// Records that an operation failed. Failures of a class are also counted by `detail`.
    pub(crate) fn fail(&mut self, failure: Failure, detail: Option<String>) {
        *self.kinds.entry(failure.kind).or_default().failed.entry(failure.class).or_default() += 1;
        if let Some(detail) = detail {
            *self.details.entry(detail).or_default() += 1;
        }
        if self.failures.len() < self.keep_failures {
            self.failures.push(failure);
        }
    }

    pub(crate) fn silence_mut(&mut self) -> &mut Silence {
        &mut self.silence
    }

    pub(crate) fn kept_mut(&mut self) -> &mut KeptRecord {
        &mut self.kept
    }

    pub(crate) fn set_elapsed(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
    }

    /// Returns the number of operations that were started.
    pub fn started(&self) -> u64 {
        self.kinds.values().map(|kind| kind.started).sum()
    }

    /// Returns the number of operations that ended well.
    pub fn good(&self) -> u64 {
        self.kinds.values().map(|kind| kind.good).sum()
    }

    /// Returns the number of operations that failed with this class.
    pub fn failed(&self, class: Class) -> u64 {
        self.kinds.values().map(|kind| kind.failed(class)).sum()
    }

    /// Returns the number of operations that failed.
    pub fn failed_total(&self) -> u64 {
        self.kinds.values().map(KindRecord::failed_total).sum()
    }

    /// Returns the number of open operations. After the end of the load these are lost, by a defect of this program.
    pub fn open(&self) -> u64 {
        self.started().saturating_sub(self.good() + self.failed_total())
    }

    /// Returns the number of operations that were not carried out for a reason of the generator itself: too many open
    /// operations, or no ports or descriptors left.
    pub fn not_started(&self) -> u64 {
        self.not_started.values().sum()
    }

    /// Returns the same number by reason.
    pub fn not_started_by_reason(&self) -> &BTreeMap<&'static str, u64> {
        &self.not_started
    }

    /// Returns the results of one kind of client, or `None` if no operation of that kind was started.
    pub fn kind(&self, kind: ClientKind) -> Option<&KindRecord> {
        self.kinds.get(&kind)
    }

    /// Returns the results of each kind of client.
    pub fn kinds(&self) -> &BTreeMap<ClientKind, KindRecord> {
        &self.kinds
    }

    /// Returns the number of good answers by the worker that they name; see [`Ask::Worker`](crate::Ask::Worker).
    pub fn workers(&self) -> &BTreeMap<String, u64> {
        &self.workers
    }

    /// Returns failures of class `bad_status` by status, and of class `other` by error.
    pub fn details(&self) -> &BTreeMap<String, u64> {
        &self.details
    }

    /// Returns the events of kept connections.
    pub fn kept(&self) -> KeptRecord {
        self.kept
    }

    /// Returns the first failures in the order of their end, at most
    /// [`Plan::keep_failures`](crate::Plan::keep_failures).
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// Returns the latencies of operations that ended well, from the intended start to the complete answer. A slow
    /// reader's latency ends with the first byte. A websocket has a latency for each message.
    pub fn latency(&self) -> Latency {
        let mut all = Latency::default();
        self.kinds.values().for_each(|kind| all.merge(&kind.latency));
        all
    }

    /// Returns the delays of the starts of operations. The generator itself causes these delays, and the latencies
    /// contain them.
    pub fn lag(&self) -> &Latency {
        &self.lag
    }

    /// Returns the longest time without a good answer or a returned message of a session, while operations were
    /// started. It begins with the start of the load or with an answer, and ends with the last start of an operation
    /// before the next answer.
    pub fn longest_silence(&self) -> Duration {
        self.silence.longest()
    }

    /// Returns the time from the start of the load until now or its end.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Returns the verdict on this record.
    pub fn verdict(&self, allowance: &Allowance) -> CheckResult {
        analysis::analyse(self, allowance)
    }

    /// Checks that the verdict is good. For tests, at the end of the load.
    ///
    /// # Errors
    ///
    /// Returns the verdict and the first failures, to be printed.
    pub fn analyse(&self, allowance: &Allowance) -> Result<(), String> {
        let verdict = self.verdict(allowance);
        if verdict == CheckResult::Passed {
            return Ok(());
        }
        let failures: String = self.failures.iter().take(20).map(|failure| format!("\n  {failure}")).collect();
        Err(format!("{verdict}; {} started, {} good{failures}", self.started(), self.good()))
    }
}

impl KindRecord {
    /// Returns the number of operations that were started.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// Returns the number of operations that ended well.
    pub fn good(&self) -> u64 {
        self.good
    }

    /// Returns the number of operations that failed with this class.
    pub fn failed(&self, class: Class) -> u64 {
        self.failed.get(&class).copied().unwrap_or(0)
    }

    /// Returns the number of operations that failed.
    pub fn failed_total(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Returns the number of messages of sessions that came back.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Returns the latencies; see [`Record::latency`].
    pub fn latency(&self) -> &Latency {
        &self.latency
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn good(count: u64) -> Record {
        let mut record = Record::new(2);
        for _ in 0..count {
            record.start(ClientKind::OneShot, Duration::ZERO);
            record.succeed(ClientKind::OneShot, Some(Duration::from_millis(1)), Some("demo/0"));
        }
        record
    }

    pub(crate) fn failed(record: &mut Record, class: Class, count: u64) {
        for _ in 0..count {
            record.start(ClientKind::KeepAlive, Duration::ZERO);
            let failure = Failure {
                class,
                kind: ClientKind::KeepAlive,
                token: String::new(),
                at: Duration::ZERO,
                ended: Duration::from_millis(1500),
                target: String::new(),
                what: "status 503".to_owned(),
            };
            record.fail(failure, Some("status 503".to_owned()));
        }
    }

    pub(crate) fn not_started(record: &mut Record, count: u64) {
        (0..count).for_each(|_| record.skip("too many under way"));
    }

    pub(crate) fn lost(record: &mut Record, count: u64) {
        (0..count).for_each(|_| record.start(ClientKind::OneShot, Duration::ZERO));
    }

    #[test]
    fn failures_are_all_counted_and_the_first_are_kept() {
        let mut record = good(3);
        failed(&mut record, Class::BadStatus, 4);
        lost(&mut record, 1);
        assert_eq!((record.started(), record.good(), record.failed_total(), record.open()), (8, 3, 4, 1));
        assert_eq!(record.failures().len(), 2);
        assert_eq!(record.details().get("status 503"), Some(&4));
        assert_eq!(record.workers().get("demo/0"), Some(&3));
        assert_eq!(record.latency().count(), 3, "failures have no latency");
        assert_eq!(record.kind(ClientKind::KeepAlive).map(|kind| kind.failed(Class::BadStatus)), Some(4));
        let told = record.analyse(&Allowance::none()).unwrap_err();
        assert!(told.contains("4 bad_status (0 allowed)") && told.contains("0.000 s to 1.500 s"), "{told}");
    }

    #[test]
    fn operation_taken_back_was_not_started() {
        let mut record = good(1);
        lost(&mut record, 1);
        record.take_back(ClientKind::OneShot, "no ports or descriptors left");
        assert_eq!((record.started(), record.open(), record.not_started()), (1, 0, 1));
    }
}
