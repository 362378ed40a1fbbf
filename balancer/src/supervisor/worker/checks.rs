//! Schedules the health checks of one process, and makes them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::channel::WorkerChannel;
use super::context::{Context, ProcessContext};
use super::probe::{self, CheckResult};
use super::progress::QueueState;
use crate::config::{Health, Probe};
use crate::net::proxy_header;
use crate::os::accept_queue::PeerId;
use crate::pool::{CheckStatus, SlotState};
use crate::rotation::Endpoint;
use crate::stats::Check;
use crate::supervisor::WorkerEvent;

/// The interval at which an idle worker is connected to, if nothing else shows that it takes connections.
const CONNECT_INTERVAL: Duration = Duration::from_secs(10);

/// The checks of one process. There never are two at a time: the answer schedules the next one.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// The time of the next check; `None` while one is under way, and if none is wanted.
    next: Option<Instant>,
    /// The time at which a check last connected to the process.
    last_connect: Option<Instant>,
    /// The result of the last check.
    last: Option<CheckStatus>,
}

/// The observations of a process from which its next check is chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct CheckContext {
    /// True until the process is ready.
    pub(super) is_starting: bool,
    /// True if its checks have failed, or the last one did.
    pub(super) is_failing: bool,
    pub(super) queue: QueueState,
    pub(super) last_progress: Option<Instant>,
}

/// The next step of a check.
#[derive(Debug, PartialEq, Eq)]
enum CheckPlan {
    /// Ask its endpoint, or its channel.
    Connect,
    /// Ask nothing now.
    Later,
    /// Nothing has to be asked: earlier observations are the answer.
    Answered(Check, String),
}

impl Checks {
    /// The time of the next check.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// Makes the next check at that time; never, if there is none.
    pub(super) fn schedule(&mut self, next: Option<Instant>) {
        self.next = next;
    }

    /// Schedules a check for `now` if none is scheduled.
    pub(super) fn begin(&mut self, now: Instant) {
        self.next.get_or_insert(now);
    }

    /// Makes the scheduled check at once.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.next = self.next.map(|next| now.min(next));
    }

    /// The result of the last check.
    pub(super) fn last(&self) -> Option<&CheckStatus> {
        self.last.as_ref()
    }

    /// The text of the last check, if that failed.
    pub(super) fn failed(&self) -> Option<&str> {
        self.last.as_ref().filter(|check| !check.is_ok).map(|check| check.what.as_str())
    }

    /// Makes the check that is due. Returns false if it was put off instead, as nothing is to be asked now.
    pub(super) fn make(
        &mut self,
        process: &ProcessContext,
        channel: &WorkerChannel,
        seen: CheckContext,
        now: Instant,
    ) -> bool {
        let config = &process.config.health;
        self.next = None;
        match self.plan(&config.probe, &process.upstream.endpoint, seen, now) {
            CheckPlan::Later => {
                self.next = Some(now + config.interval);
                return false;
            }
            CheckPlan::Answered(check, what) => {
                let took = Duration::ZERO;
                process.reporter()(WorkerEvent::Probed(Some(CheckResult { check, what, took })));
            }
            CheckPlan::Connect => {
                self.last_connect = Some(now);
                match config.probe {
                    Probe::Channel => channel.ping(process, config.timeout),
                    _ => ask_endpoint(process, seen.is_starting),
                }
            }
        }
        true
    }

    /// Decides the next check. A connection on which nothing is sent leaves a line in the log of many servers, so it is
    /// made only if nothing better shows the same.
    fn plan(&self, probe: &Probe, endpoint: &Endpoint, seen: CheckContext, now: Instant) -> CheckPlan {
        let CheckContext { is_starting, queue, last_progress, .. } = seen;
        let is_failing = seen.is_failing || is_starting;
        match probe {
            // A pool that wants no connecting checks gets none for readiness either.
            Probe::None | Probe::Channel | Probe::Http { .. } | Probe::Tcp if is_starting => CheckPlan::Connect,
            Probe::None | Probe::Channel => CheckPlan::Connect,
            // The worker has not taken the last check yet: that one is still unanswered.
            Probe::Http { .. } if queue.has_own_checks && queue.length > 0 => CheckPlan::Later,
            Probe::Http { .. } => CheckPlan::Connect,
            Probe::Tcp | Probe::ListenTable if !queue.is_listening => {
                CheckPlan::Answered(Check::Fail, format!("{endpoint}: no socket listens there"))
            }
            Probe::ListenTable if is_failing => CheckPlan::Answered(Check::Ok, "ok: it listens".to_owned()),
            Probe::ListenTable => CheckPlan::Later,
            // Clients wait already: a check would only take a client's place in the queue.
            Probe::Tcp if queue.length > 0 => CheckPlan::Later,
            Probe::Tcp if is_failing => CheckPlan::Connect,
            Probe::Tcp => {
                let since = last_progress.max(self.last_connect);
                let is_quiet = since.is_none_or(|since| now - since >= CONNECT_INTERVAL);
                if is_quiet { CheckPlan::Connect } else { CheckPlan::Later }
            }
        }
    }

    /// Takes the result of a check, and schedules the next one after `wait`; never, if there is none.
    pub(super) fn answered(&mut self, result: Option<&CheckResult>, wait: Option<Duration>, now: Instant) {
        self.next = wait.map(|wait| now + wait);
        if let Some(CheckResult { check, what, took }) = result {
            let is_ok = *check == Check::Ok;
            self.last = Some(CheckStatus { what: what.clone(), is_ok, took: *took, at: SystemTime::now() });
        }
    }
}

/// Returns the pause until the next check of a process; `None` if it gets none any more. `chance` (0 to 1) spreads the
/// checks of workers that were started together. `age` is the time since the start.
pub(super) fn pause(
    state: SlotState,
    result: Option<&CheckResult>,
    is_in_doubt: bool,
    config: &Health,
    age: Duration,
    chance: f64,
) -> Option<Duration> {
    match state {
        SlotState::Starting => Some(readiness_pause(age)),
        _ if !state.is_up() => None,
        _ if result.is_some_and(|result| result.check != Check::Ok) || is_in_doubt => Some(config.fast_interval),
        _ => Some(config.interval.mul_f64(0.9 + 0.2 * chance)),
    }
}

/// Returns the pause between readiness probes: short at first, since most programs are ready in a moment.
fn readiness_pause(age: Duration) -> Duration {
    match age.as_millis() {
        ..1_000 => Duration::from_millis(10),
        1_000..5_000 => Duration::from_millis(50),
        _ => Duration::from_millis(200),
    }
}

/// Asks the endpoint of a process, in a task of its own that reports the answer.
fn ask_endpoint(process: &ProcessContext, is_starting: bool) {
    let config = &process.config.health;
    let question = match &config.probe {
        Probe::None => Probe::Tcp,
        asked => asked.clone(),
    };
    let header = proxy_header::of_probe(process.config.proxy_protocol);
    // While the program starts, one connection waits for it as long as `ready-timeout`: more would fill its short queue.
    let timeout = match question {
        Probe::Tcp if is_starting => process.config.ready_timeout,
        _ => config.timeout,
    };
    let endpoint = process.upstream.endpoint.clone();
    let asked = Asked { context: Arc::clone(&process.shared), endpoint, report: process.reporter() };
    tokio::spawn(async move {
        let result = probe::ask(&asked.endpoint, &question, &header, timeout, &asked).await;
        (asked.report)(WorkerEvent::Probed(result));
    });
}

/// A check that is under way.
struct Asked<R> {
    context: Arc<Context>,
    endpoint: Endpoint,
    report: R,
}

impl<R: Fn(WorkerEvent)> probe::Surroundings for Asked<R> {
    fn sources(&self) -> u8 {
        self.context.pool.config().source_addresses
    }

    fn connected(&self, from: PeerId) {
        (self.report)(WorkerEvent::Checking(from));
    }

    fn is_taken(&self, from: PeerId) -> bool {
        self.context.resources.is_taken(&self.endpoint, from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: CheckContext =
        CheckContext { is_starting: false, is_failing: false, queue: QueueState::NONE, last_progress: None };

    fn plan(probe: &Probe, seen: CheckContext) -> CheckPlan {
        Checks::default().plan(probe, &Endpoint::Inherited, seen, Instant::now())
    }

    #[test]
    fn connecting_check_is_made_only_of_a_quiet_worker() {
        let now = Instant::now();
        let queue = QueueState { length: 1, ..QueueState::NONE };
        for (seen, expected) in [
            (QUIET, CheckPlan::Connect),
            (CheckContext { last_progress: Some(now), ..QUIET }, CheckPlan::Later),
            (CheckContext { last_progress: Some(now), is_failing: true, ..QUIET }, CheckPlan::Connect),
            (CheckContext { queue, ..QUIET }, CheckPlan::Later),
            (CheckContext { queue, is_failing: true, ..QUIET }, CheckPlan::Later),
            (CheckContext { queue, is_starting: true, ..QUIET }, CheckPlan::Connect),
        ] {
            assert_eq!(plan(&Probe::Tcp, seen), expected, "{seen:?}");
        }
    }

    #[test]
    fn listen_table_check_never_connects() {
        let closed = QueueState { is_listening: false, ..QueueState::NONE };
        let of = |seen| plan(&Probe::ListenTable, seen);
        assert_eq!(of(QUIET), CheckPlan::Later);
        for is_starting in [true, false] {
            let seen = CheckContext { is_starting, is_failing: true, ..QUIET };
            assert!(matches!(of(seen), CheckPlan::Answered(Check::Ok, _)), "{seen:?}");
            let seen = CheckContext { queue: closed, ..seen };
            assert!(matches!(of(seen), CheckPlan::Answered(Check::Fail, _)), "{seen:?}");
        }
    }

    #[test]
    fn next_check_comes_fast_while_a_worker_is_in_doubt() {
        let config = Health::default();
        let bad = CheckResult { check: Check::Fail, what: String::new(), took: Duration::ZERO };
        let of = |state, result: Option<&CheckResult>, is_in_doubt| {
            pause(state, result, is_in_doubt, &config, Duration::ZERO, 0.5)
        };
        assert_eq!(of(SlotState::Ready, None, false), Some(config.interval));
        assert_eq!(of(SlotState::Ready, Some(&bad), false), Some(config.fast_interval));
        assert_eq!(of(SlotState::Suspect, None, true), Some(config.fast_interval));
        assert_eq!(of(SlotState::Starting, Some(&bad), false), Some(Duration::from_millis(10)));
        assert_eq!(of(SlotState::Draining, Some(&bad), true), None);
    }

    #[test]
    fn hurried_check_is_not_made_beside_one_under_way() {
        let (mut checks, now) = (Checks::default(), Instant::now());
        checks.hurry(now);
        assert_eq!(checks.next(), None);
        checks.schedule(Some(now + Duration::from_secs(5)));
        checks.hurry(now);
        assert!(checks.is_due(now));
    }
}
