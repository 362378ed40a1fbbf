//! Decides if a worker is hung, busy or well. Pure: samples and their times come in; a condition and an action go out.
//!
//! Busy is not hung. A worker that serves one client for a minute looks from outside like a deadlocked one, and ending
//! it resets that client. So the table depends first on whether a client is in service:
//!
//! | sign | client in service | condition | what follows |
//! |---|---|---|---|
//! | none | any | `Well` | |
//! | every process of the group is stopped | any | `Stopped` | ended after `hang-timeout`, unless a debugger holds one |
//! | mute | no | `Mute` | ended `hang-timeout` later; `busy-timeout` later if it uses CPU time |
//! | mute | yes, or not known | `Busy` | replaced, new first, after `busy-timeout` without progress while clients wait, else after `idle-timeout`; its clients have up to `idle-timeout` to finish |
//!
//! *Mute* means one of: a client waits in its accept queue and none was taken for a while; the health path or the
//! question on its channel is unanswered; its heartbeat stopped. The length of the queue alone is no sign: the entry
//! that does not move may be a closed check of ours.
//!
//! The sources of the signs depend on the mode:
//!
//! | how it gets connections | client waits | in service | progress |
//! |---|---|---|---|
//! | relayed (`proxy`) | untaken connections in its queue, without our own checks | connections open on it that it has taken | bytes either way, a connection taken |
//! | handed over, `worker-runtime` | handed over and not taken | taken and not ended | a connection taken or ended |
//! | handed over, Node | the same | its established sockets, looked up while it is mute | a connection taken, bytes on those sockets |
//! | its own accept (`shared`, `reuseport`) | not known | the same | bytes on those sockets |
//!
//! An answer to a question and a heartbeat are progress in every mode. A clock that ran while the master itself stood
//! still (a paused container, both stopped) proves nothing: [`HangDetector::forgive`].

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Health;

/// The time that a client must wait untaken, while no other is taken, before that is a sign.
const WAITING_SIGN: Duration = Duration::from_millis(750);
/// The time that all processes must be stopped, without progress, before that is a sign: cpulimit and similar tools
/// stop and continue a program many times a second.
const STOPPED_SIGN: Duration = Duration::from_millis(400);
/// The time that a worker has, after it finished its last client, for answers to checks that it had no time for.
const GRACE: Duration = Duration::from_millis(750);
/// The share of one CPU below which a process counts as doing nothing: timers of runtimes and garbage collectors use
/// some.
const IDLE_SHARE: f64 = 0.02;
/// A worker that used CPU time within this time counts as computing.
const COMPUTES: Duration = Duration::from_secs(1);

/// The condition of a worker as seen from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::supervisor) enum Condition {
    /// No sign speaks against the worker.
    #[default]
    Well,
    /// The worker serves a client, or may do so, and shows no sign of life meanwhile.
    Busy,
    /// The worker shows no sign of life and serves no client.
    Mute,
    /// All processes of the worker are stopped (SIGSTOP).
    Stopped,
}

/// The action that a condition calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum HangAction {
    /// Kill the worker and start another: it serves no client.
    Kill,
    /// Start another worker beside it, which replaces it when it is ready.
    Replace,
}

/// A sample of a worker's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) struct ProgressSample {
    /// The number of clients whose connections the worker has not taken.
    pub(in crate::supervisor) waiting: usize,
    /// The number of clients that the worker serves; `None` if that cannot be known.
    pub(in crate::supervisor) in_service: Option<usize>,
    /// True if the worker took a connection, or bytes moved on one that it has, since the sample before.
    pub(in crate::supervisor) has_moved: bool,
}

/// CPU time used by a process group; `is_wanted` if a process of it is ready to run.
#[derive(Clone, Copy, Debug)]
pub(in crate::supervisor) struct Cpu {
    pub(in crate::supervisor) seconds: f64,
    pub(in crate::supervisor) is_wanted: bool,
}

/// The signs of life of one worker, with their times.
#[derive(Debug)]
pub(in crate::supervisor) struct HangDetector {
    /// The time since which a client waits, or of the last progress while one waits.
    waiting_since: Option<Instant>,
    /// The time since which a question that only the program can answer is unanswered.
    unanswered_since: Option<Instant>,
    /// The time of the last `WATCHDOG=1`, if the worker ever sent one.
    last_beat: Option<Instant>,
    /// The time since which the heartbeat is overdue.
    no_beat_since: Option<Instant>,
    stopped_since: Option<Instant>,
    /// The last known service: does the worker serve a client?
    service: Service,
    last_progress: Option<Instant>,
    /// The time since which the group uses almost no CPU time, and the CPU time that it had used then.
    idle: Option<(Instant, f64)>,
}

/// The clients in service, as last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    /// No client is in service, since then.
    Nobody(Option<Instant>),
    Somebody,
    Unknown,
}

impl Default for HangDetector {
    fn default() -> Self {
        Self {
            waiting_since: None,
            unanswered_since: None,
            last_beat: None,
            no_beat_since: None,
            stopped_since: None,
            service: Service::Nobody(None),
            last_progress: None,
            idle: None,
        }
    }
}

impl HangDetector {
    /// Takes a sample of the worker's connections.
    pub(in crate::supervisor) fn saw(&mut self, look: ProgressSample, now: Instant) {
        if look.has_moved {
            self.moved(now);
        }
        match (look.waiting, self.waiting_since) {
            (0, _) => self.waiting_since = None,
            (_, None) => self.waiting_since = Some(now),
            _ => {}
        }
        self.service = match (look.in_service, self.service) {
            (None, _) => Service::Unknown,
            (Some(0), Service::Nobody(since)) => Service::Nobody(since),
            (Some(0), _) => Service::Nobody(Some(now)),
            (Some(_), _) => Service::Somebody,
        };
    }

    /// Records that the worker did something for a client.
    fn moved(&mut self, now: Instant) {
        self.last_progress = Some(now);
        if let Some(since) = &mut self.waiting_since {
            *since = now;
        }
    }

    /// Records that the worker answered a question, well or badly.
    pub(in crate::supervisor) fn answered(&mut self, now: Instant) {
        self.unanswered_since = None;
        self.last_progress = Some(now);
    }

    /// Records that the worker did not answer in time a question that only the program can answer.
    pub(in crate::supervisor) fn unanswered(&mut self, now: Instant) {
        self.unanswered_since.get_or_insert(now);
    }

    /// Records a heartbeat.
    pub(in crate::supervisor) fn beat(&mut self, now: Instant) {
        self.last_beat = Some(now);
        self.no_beat_since = None;
        self.last_progress = Some(now);
    }

    /// The time of the last heartbeat, if the worker ever sent one.
    pub(in crate::supervisor) fn last_beat(&self) -> Option<Instant> {
        self.last_beat
    }

    /// The time at which the next heartbeat is overdue, if the worker ever sent one and is not known to be silent.
    pub(in crate::supervisor) fn next_beat(&self, config: &Health) -> Option<Instant> {
        let is_watched = !config.heartbeat.is_zero() && self.no_beat_since.is_none();
        self.last_beat.filter(|_| is_watched).map(|last| last + config.heartbeat)
    }

    /// Records that the heartbeat is overdue.
    pub(in crate::supervisor) fn missed_beat(&mut self, now: Instant) {
        self.no_beat_since.get_or_insert(now);
    }

    /// Expects the next heartbeat from `until` on, because none could have arrived before.
    pub(in crate::supervisor) fn excuse_beat(&mut self, until: Instant) {
        self.last_beat = self.last_beat.map(|last| last.max(until));
    }

    /// Records if all processes of the worker are stopped. A process held by a debugger serves no client either, but is
    /// not ended.
    pub(in crate::supervisor) fn stopped(&mut self, is_stopped: bool, now: Instant) {
        self.stopped_since = is_stopped.then(|| self.stopped_since.unwrap_or(now));
    }

    /// Records the CPU time that the worker's group has used. This counts only while a sign speaks against it.
    pub(in crate::supervisor) fn used(&mut self, cpu: Cpu, now: Instant) {
        if self.condition(now) == Condition::Well {
            self.idle = None;
            return;
        }
        let (since, before) = *self.idle.get_or_insert((now, cpu.seconds));
        // One tick of the kernel's clock is 10 ms: a smaller difference proves nothing.
        let idle_most = ((now - since).as_secs_f64() * IDLE_SHARE).max(0.02);
        if cpu.is_wanted || cpu.seconds - before > idle_most {
            self.idle = Some((now, cpu.seconds));
        }
    }

    /// Restarts all deadlines: the master itself stood still.
    pub(in crate::supervisor) fn forgive(&mut self, now: Instant) {
        self.no_beat_since = None;
        self.last_beat = self.last_beat.map(|_| now);
        self.unanswered_since = None;
        self.idle = None;
        for since in [&mut self.waiting_since, &mut self.stopped_since].into_iter().flatten() {
            *since = now;
        }
        if let Service::Nobody(since) = &mut self.service {
            *since = Some(now);
        }
    }

    /// Returns true if a client waits that the worker has not taken.
    pub(in crate::supervisor) fn has_waiting(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// Returns true if a client has waited long enough for a sign.
    pub(in crate::supervisor) fn keeps_waiting(&self, now: Instant) -> bool {
        self.waiting_since.is_some_and(|since| now - since >= WAITING_SIGN)
    }

    /// The time of the last progress, if any was seen.
    pub(in crate::supervisor) fn last_progress(&self) -> Option<Instant> {
        self.last_progress
    }

    /// The time since which the worker is mute.
    fn mute_since(&self, now: Instant) -> Option<Instant> {
        let waiting = self.waiting_since.filter(|_| self.keeps_waiting(now));
        let has_just_finished =
            matches!(self.service, Service::Nobody(Some(since)) if now.saturating_duration_since(since) < GRACE);
        let owed = [self.unanswered_since, self.no_beat_since].map(|since| since.filter(|_| !has_just_finished));
        owed.into_iter().chain([waiting]).flatten().min()
    }

    /// Returns true if the worker has been stopped long enough for a sign.
    fn is_stopped(&self, now: Instant) -> bool {
        let since = self.stopped_since.max(self.stopped_since.and(self.last_progress));
        since.is_some_and(|since| now.saturating_duration_since(since) >= STOPPED_SIGN)
    }

    /// Returns the condition of the worker at `now`.
    pub(in crate::supervisor) fn condition(&self, now: Instant) -> Condition {
        match (self.is_stopped(now), self.mute_since(now), self.service) {
            (true, ..) => Condition::Stopped,
            (false, None, _) => Condition::Well,
            (false, Some(_), Service::Nobody(_)) => Condition::Mute,
            (false, Some(_), Service::Somebody | Service::Unknown) => Condition::Busy,
        }
    }

    /// The sign in words, for the log and the status.
    pub(in crate::supervisor) fn reason(&self, now: Instant) -> &'static str {
        match () {
            () if self.is_stopped(now) => "its processes are stopped",
            () if self.no_beat_since.is_some() => "its heartbeat has stopped",
            () if self.unanswered_since.is_some() => "it does not answer its health check",
            () if self.keeps_waiting(now) => "a client waits and it takes none",
            () => "",
        }
    }

    /// Returns the action that is due at `now`. `clients_wait` is true if a client waits anywhere in the pool;
    /// `idle_timeout` is the time that a connection may be silent. A limit of 0 is off, and the other limit does not
    /// replace it.
    pub(in crate::supervisor) fn action(
        &self,
        config: &Health,
        idle_timeout: Duration,
        clients_wait: bool,
        now: Instant,
    ) -> Option<HangAction> {
        let is_over =
            |since: Instant, bound: Duration| !bound.is_zero() && now.saturating_duration_since(since) >= bound;
        let latest =
            |first: Instant, others: [Option<Instant>; 2]| others.into_iter().flatten().fold(first, Instant::max);
        match self.condition(now) {
            Condition::Well => None,
            Condition::Stopped => {
                // A process that is stopped and continued many times, as by a limit on CPU time, works in between.
                let idle = self.idle.map(|(since, _)| since);
                let since = latest(self.stopped_since?, [self.last_progress, idle]);
                is_over(since, config.hang_timeout).then_some(HangAction::Kill)
            }
            Condition::Mute => {
                let nobody = match self.service {
                    Service::Nobody(since) => since,
                    Service::Somebody | Service::Unknown => None,
                };
                let since = latest(self.mute_since(now)?, [self.last_progress, nobody]);
                let (idle_since, _) = self.idle?;
                let is_idle = is_over(since.max(idle_since), config.hang_timeout);
                let computes = now.saturating_duration_since(idle_since) < COMPUTES;
                (is_idle || computes && is_over(since, config.busy_timeout)).then_some(HangAction::Kill)
            }
            Condition::Busy => {
                let since = latest(self.mute_since(now)?, [self.last_progress, None]);
                let bound = if clients_wait { config.busy_timeout } else { idle_timeout.max(config.busy_timeout) };
                let is_off = config.busy_timeout.is_zero() || (!clients_wait && idle_timeout.is_zero());
                (!is_off && is_over(since, bound)).then_some(HangAction::Replace)
            }
        }
    }
}

#[cfg(test)]
mod tests;
