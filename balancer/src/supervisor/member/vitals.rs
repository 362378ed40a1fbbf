//! Signs of life that need no code in the program: an accept queue that moves, CPU time that is used; and the heartbeat
//! where it is offered.

use std::time::Duration;

use tokio::time::Instant;

use super::super::health::Sign;
use super::super::slot::Event;
use super::Member;
use crate::config::Health;
use crate::os::inspect;
use crate::rotation::Endpoint;
use crate::stats::Restart as Cause;

/// How often accept queues are looked at.
pub(in crate::supervisor) const QUEUE_LOOK: Duration = Duration::from_millis(250);
/// For how long a queue must not have moved.
const STUCK: Duration = Duration::from_millis(750);
/// The share of one CPU below which a process is taken to do nothing: timers of runtimes and collectors use some.
const IDLE_SHARE: f64 = 0.02;

/// What is known of one process's progress. Pure: what was seen, and when, comes in.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    queue: Option<Queue>,
    is_stuck: bool,
    /// When it last sent `WATCHDOG=1`, if ever.
    last_beat: Option<Instant>,
    is_lifeless: bool,
    /// When it last took a connection from its queue or wrote something, as far as was seen.
    progress: Option<Instant>,
    /// How many bytes it had written, or connections taken from its channel, when that was last looked at.
    done: u64,
    suspicion: Option<Suspicion>,
    /// It was said that a debugger holds it.
    is_held: bool,
    /// Resident memory, as last seen.
    pub(super) memory: Option<u64>,
}

/// A queue that has not moved since.
#[derive(Clone, Copy, Debug)]
struct Queue {
    since: Instant,
    length: u32,
}

/// What is remembered of a process that seems hung.
#[derive(Clone, Copy, Debug)]
struct Suspicion {
    since: Instant,
    /// Since when it has used next to no CPU time, and how much it had used then.
    idle: (Instant, f64),
}

/// What a process group has used of the CPUs, and whether it would use more.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    seconds: f64,
    is_wanted: bool,
}

/// How a process seems from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seems {
    Well,
    /// It takes no connection and says nothing.
    Stuck,
    /// It was asked and said nothing, or all of it is stopped.
    Mute,
}

impl Vitals {
    /// Its accept queue has `length` connections, and it has done so much so far. Says what changed.
    fn queue_seen(&mut self, length: u32, done: u64, now: Instant) -> Option<Sign> {
        let has_moved = self.queue.is_some_and(|queue| length < queue.length) || done != self.done;
        if has_moved {
            self.progress = Some(now);
        }
        self.done = done;
        match self.queue.as_mut().filter(|_| length > 0 && !has_moved) {
            Some(queue) => queue.length = length,
            None => self.queue = (length > 0).then_some(Queue { since: now, length }),
        }
        let is_stuck = self.queue.is_some_and(|queue| now - queue.since >= STUCK);
        (std::mem::replace(&mut self.is_stuck, is_stuck) != is_stuck).then_some(Sign::Stuck(is_stuck))
    }

    /// Whether clients waited in its queue when that was last looked at.
    pub(super) fn has_queue(&self) -> bool {
        self.queue.is_some()
    }

    /// It sent a heartbeat. Says what changed.
    pub(super) fn beat(&mut self, now: Instant) -> Option<Sign> {
        self.last_beat = Some(now);
        std::mem::take(&mut self.is_lifeless).then_some(Sign::Lifeless(false))
    }

    /// When its next heartbeat is overdue, if it ever sent one and is not known to be silent.
    fn next_beat(&self, rules: &Health) -> Option<Instant> {
        let is_watched = !rules.heartbeat.is_zero() && !self.is_lifeless;
        self.last_beat.filter(|_| is_watched).map(|last| last + rules.heartbeat)
    }

    /// Its group has used this much CPU time, while it seemed so. True if it is hung for sure.
    ///
    /// A queue that does not move is not enough to be sure soon: a program that serves one client at a time may wait for
    /// its database as long. But one that was asked and says nothing, or that somebody has stopped, does nothing at all.
    fn usage_seen(&mut self, seems: Seems, cpu: Cpu, rules: &Health, now: Instant) -> bool {
        let Cpu { seconds: cpu_seconds, is_wanted } = cpu;
        if seems == Seems::Well {
            self.suspicion = None;
            self.is_held = false;
            return false;
        }
        let suspicion = self.suspicion.get_or_insert(Suspicion { since: now, idle: (now, cpu_seconds) });
        // Too much work is not a hang: whoever still takes or answers a client is let be.
        if self.progress.is_some_and(|at| at > suspicion.since) {
            *suspicion = Suspicion { since: now, idle: (now, cpu_seconds) };
        }
        let (idle_since, used) = suspicion.idle;
        let idle_for = now - idle_since;
        // One tick of the kernel's clock is 10 ms: what is below that says nothing.
        let computes = is_wanted || cpu_seconds - used > (idle_for.as_secs_f64() * IDLE_SHARE).max(0.02);
        if computes {
            suspicion.idle = (now, cpu_seconds);
        }
        let is_mute = seems == Seems::Mute;
        let is_idle = is_mute && !computes && !rules.hang_timeout.is_zero() && idle_for >= rules.hang_timeout;
        // Each bound is about one thing only: with the other one off, what it would have found is let be.
        let has_long = !rules.busy_timeout.is_zero() && now - suspicion.since >= rules.busy_timeout;
        is_idle || (has_long && (computes || !is_mute))
    }
}

impl Member {
    /// The bound on the present process's memory, in bytes.
    pub(in crate::supervisor) fn memory_bound(&self) -> Option<u64> {
        self.present()?.rules.max_memory
    }

    /// Whether the present process has reached its age.
    pub(in crate::supervisor) fn is_too_old(&self, now: Instant) -> bool {
        self.present().and_then(|process| process.replace_at).is_some_and(|at| at <= now)
    }

    /// Returns true if the path of the present process's unix endpoint was missing at this look and the one before: a program
    /// that binds it anew removes it for a moment. One call of `lstat`.
    pub(in crate::supervisor) fn has_lost_endpoint(&mut self) -> bool {
        let Some(process) = self.present_mut().filter(|process| process.was_ready) else { return false };
        let (Endpoint::Unix(path) | Endpoint::UnixOf(path, _)) = &process.upstream.endpoint else { return false };
        let found = std::fs::symlink_metadata(path);
        let is_gone = found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        std::mem::replace(&mut process.is_endpoint_gone, is_gone) && is_gone
    }

    /// Whether the present process may be replaced at `now`; if so, not again before `next`.
    pub(in crate::supervisor) fn may_be_replaced(&mut self, next: Instant, now: Instant) -> bool {
        let Some(process) = self.present_mut() else { return false };
        let may = process.not_before.is_none_or(|at| at <= now);
        if may {
            process.not_before = Some(next);
        }
        // Due again only if this comes to nothing.
        process.replace_at = process.replace_at.map(|at| at.max(next));
        may
    }

    /// Whether that process is being killed because it is hung.
    pub(in crate::supervisor) fn is_hung(&self, incarnation: u64) -> bool {
        self.slot.life(incarnation).is_some_and(|life| life.fault == Some(Cause::Hung))
    }

    /// When a heartbeat of the present process is overdue.
    pub(super) fn next_beat(&self) -> Option<Instant> {
        let process = self.processes.get(&self.slot.current()?.incarnation)?;
        process.vitals.next_beat(&process.rules.health)
    }

    /// The heartbeat that did not come.
    pub(in crate::supervisor) fn beat_if_due(&mut self, now: Instant) -> Option<Event> {
        if self.next_beat().is_none_or(|due| due > now) {
            return None;
        }
        let incarnation = self.slot.current()?.incarnation;
        let process = self.processes.get_mut(&incarnation)?;
        // A heartbeat that could not arrive is no sign.
        let lost = process.vitals.last_beat.and_then(|last| process.notify_reach.lost_after(last, now));
        if lost.is_some() {
            process.vitals.last_beat = lost;
            return None;
        }
        process.vitals.is_lifeless = true;
        Some(Event::Sign(incarnation, Sign::Lifeless(true)))
    }

    /// The endpoint whose queue shows whether the present process takes connections.
    pub(in crate::supervisor) fn watched_endpoint(&self) -> Option<Endpoint> {
        let life = self.slot.current().filter(|life| life.ready_for(Instant::now()).is_some())?;
        let endpoint = &self.processes.get(&life.incarnation)?.upstream.endpoint;
        (*endpoint != Endpoint::Channel).then(|| endpoint.clone())
    }

    /// The queue of the present process has this length.
    pub(in crate::supervisor) fn queue_seen(&mut self, length: u32, now: Instant) -> Option<Event> {
        let incarnation = self.slot.current()?.incarnation;
        let process = self.processes.get_mut(&incarnation)?;
        let upstream = &process.upstream;
        let done = match upstream.endpoint {
            // Each was taken by the worker itself. A few that are always on their way are no queue that stands still.
            Endpoint::Channel => upstream.stats.connections.get(),
            _ => upstream.sent.get(),
        };
        process.vitals.queue_seen(length, done, now).map(|sign| Event::Sign(incarnation, sign))
    }

    /// What was handed to the present process and lies untaken is its queue.
    pub(in crate::supervisor) fn untaken_seen(&mut self, now: Instant) -> Option<Event> {
        let upstream = self.upstream().filter(|upstream| upstream.endpoint == Endpoint::Channel)?;
        // What was taken back from it still says that it does not read.
        let length = upstream.connecting() + usize::from(upstream.is_stalled());
        let (length, taken) = (u32::try_from(length).unwrap_or(u32::MAX), self.stats.connections.get());
        let incarnation = self.slot.current()?.incarnation;
        // What passes by the master is not what it writes: that it takes is what is seen of it.
        let sign = self.processes.get_mut(&incarnation)?.vitals.queue_seen(length, taken, now);
        sign.map(|sign| Event::Sign(incarnation, sign))
    }

    /// What process groups use: of the present process, whether it is hung for sure, or too big.
    pub(in crate::supervisor) fn usage_seen(&mut self, usage: &inspect::Usage, now: Instant) -> Option<Event> {
        let life = self.slot.current()?;
        let is_stopped = usage.processes > 0 && usage.stopped == usage.processes;
        let seems = match (life.seems_hung(), life.is_mute() || is_stopped) {
            (false, _) => Seems::Well,
            (true, false) => Seems::Stuck,
            (true, true) => Seems::Mute,
        };
        let incarnation = self.slot.current()?.incarnation;
        let name = self.name();
        let process = self.processes.get_mut(&incarnation)?;
        process.vitals.memory = Some(usage.resident_bytes);
        let cpu = Cpu { seconds: usage.cpu_seconds, is_wanted: usage.runnable > 0 };
        if !process.vitals.usage_seen(seems, cpu, &process.rules.health, now) {
            return None;
        }
        process.vitals.suspicion = None;
        let pid = process.pid.unwrap_or(0);
        if inspect::is_traced(pid) {
            if std::mem::replace(&mut process.vitals.is_held, true) {
                return None;
            }
            tracing::warn!(worker = %name, pid, "seems hung, but a debugger holds it: left alone");
            return None;
        }
        tracing::error!(worker = %name, pid, "hung: killing its process group and starting another");
        Some(Event::Hung(incarnation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(250);

    fn used(seconds: f64) -> Cpu {
        Cpu { seconds, is_wanted: false }
    }

    #[test]
    fn a_queue_that_stands_still_while_nothing_is_said_is_stuck_and_one_step_frees_it() {
        let (mut vitals, mut now) = (Vitals::default(), Instant::now());
        let mut see = |length, written| {
            now += STEP;
            vitals.queue_seen(length, written, now)
        };
        assert_eq!([see(0, 10), see(3, 10), see(3, 10), see(4, 10)], [None; 4], "not for long enough");
        assert_eq!(see(5, 10), Some(Sign::Stuck(true)), "it only grows");
        assert_eq!(see(5, 10), None);
        assert_eq!(see(4, 10), Some(Sign::Stuck(false)), "one was accepted");
        assert_eq!([see(9, 11), see(9, 12), see(9, 13), see(9, 14), see(9, 15)], [None; 5], "full, but it works");
    }

    #[test]
    fn only_one_that_ever_beat_is_expected_to() {
        let (mut vitals, now, rules) = (Vitals::default(), Instant::now(), Health::default());
        assert_eq!(vitals.next_beat(&rules), None);
        assert_eq!(vitals.beat(now), None);
        assert_eq!(vitals.next_beat(&rules), Some(now + rules.heartbeat));
        vitals.is_lifeless = true;
        assert_eq!(vitals.beat(now), Some(Sign::Lifeless(false)));
        assert_eq!(vitals.next_beat(&Health { heartbeat: Duration::ZERO, ..rules }), None, "off");
    }

    /// For how long a process that seems hung is left alone, using that share of a CPU.
    fn patience(seems: Seems, share: f64) -> Duration {
        let (mut vitals, begun, rules) = (Vitals::default(), Instant::now(), Health::default());
        let mut now = begun;
        while !vitals.usage_seen(seems, used((now - begun).as_secs_f64() * share), &rules, now) {
            now += STEP;
            assert!(now - begun < Duration::from_secs(60), "never");
        }
        now - begun
    }

    #[test]
    fn doing_nothing_confirms_a_hang_soon_and_computing_only_after_long() {
        let rules = Health::default();
        assert_eq!(patience(Seems::Mute, 0.0), rules.hang_timeout);
        assert_eq!(patience(Seems::Mute, 0.01), rules.hang_timeout, "timers");
        assert_eq!(patience(Seems::Mute, 1.0), rules.busy_timeout);
        assert_eq!(patience(Seems::Mute, 0.2), rules.busy_timeout);
        assert_eq!(patience(Seems::Stuck, 0.0), rules.busy_timeout, "it may wait for something, one client at a time");
    }

    #[test]
    fn a_bound_that_is_off_is_not_replaced_by_the_other() {
        let (begun, long) = (Instant::now(), Duration::from_secs(600));
        let never_hangs = Health { hang_timeout: Duration::ZERO, ..Health::default() };
        let never_busy = Health { busy_timeout: Duration::ZERO, ..Health::default() };
        for (rules, share) in [(&never_hangs, 0.0), (&never_hangs, 0.01), (&never_busy, 1.0)] {
            let (mut vitals, mut now) = (Vitals::default(), begun);
            while now - begun < long {
                assert!(
                    !vitals.usage_seen(Seems::Mute, used((now - begun).as_secs_f64() * share), rules, now),
                    "{share}"
                );
                now += STEP;
            }
        }
    }

    #[test]
    fn a_worker_that_still_takes_or_answers_clients_is_overloaded_and_not_hung() {
        let (mut vitals, begun, rules) = (Vitals::default(), Instant::now(), Health::default());
        let mut now = begun;
        while now - begun < Duration::from_secs(120) {
            now += STEP;
            let answers = (now - begun).as_millis() / 2_000;
            vitals.queue_seen(9, u64::try_from(answers).unwrap(), now);
            assert!(!vitals.usage_seen(Seems::Mute, used(0.0), &rules, now), "an answer every 2 s");
        }
    }

    #[test]
    fn a_worker_that_waits_for_a_cpu_is_as_good_as_one_that_uses_it() {
        let (mut vitals, begun, rules) = (Vitals::default(), Instant::now(), Health::default());
        let starved = Cpu { seconds: 0.0, is_wanted: true };
        assert!(!vitals.usage_seen(Seems::Mute, starved, &rules, begun));
        assert!(!vitals.usage_seen(Seems::Mute, starved, &rules, begun + rules.hang_timeout));
        assert!(vitals.usage_seen(Seems::Mute, starved, &rules, begun + rules.busy_timeout));
    }

    #[test]
    fn a_suspicion_that_ends_is_forgotten() {
        let (mut vitals, now, rules) = (Vitals::default(), Instant::now(), Health::default());
        assert!(!vitals.usage_seen(Seems::Mute, used(0.0), &rules, now));
        assert!(!vitals.usage_seen(Seems::Well, used(0.0), &rules, now + STEP));
        assert!(!vitals.usage_seen(Seems::Mute, used(0.0), &rules, now + rules.hang_timeout));
    }
}
