//! One incarnation's process: its parts, and the steps of its life that concern several of them.
//!
//! A part keeps its fields to itself, is given what else it needs, and returns what follows.

mod answers;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::time::Instant;

use super::admission::{Admission, Admissions};
use super::channel::WorkerChannel;
use super::checks::Checks;
use super::context::ProcessContext;
use super::drain::{self, Draining};
use super::exit::ExitRecord;
use super::listens::ListenLooks;
use super::notifications::Notifications;
use super::notify::NotifyMessage;
use super::port_owner::{self, PortOwner};
use super::progress::Progress;
use super::recovery::WorkerListener;
use super::recycling::Recycling;
use super::spec::{self, signal_of};
use crate::channel::ChannelCommand;
use crate::config::{PassedAs, Probe, Ready};
use crate::mode::Acceptor;
use crate::os::child::{ChildId, EndRequest};
use crate::output::{LineSource, Output};
use crate::rotation::Endpoint;
use crate::supervisor::slot::Event;

/// The time that a program has to be ready before the master looks where it listens instead.
const LOOK_AFTER: Duration = Duration::from_millis(500);
/// A program that goes into the background has done so within this time of its start.
const DAEMONIZES_WITHIN: Duration = Duration::from_secs(10);

/// The processes of one slot by incarnation: the present one, a replacement, the parked and retiring ones.
pub(super) type Processes = BTreeMap<u64, WorkerProcess>;

/// One incarnation's process.
pub(super) struct WorkerProcess {
    pub(super) context: ProcessContext,
    pub(super) child: ChildId,
    /// True if the process counts as a start of its slot: a replacement does once it serves for good.
    pub(super) is_counted: bool,
    pub(super) checks: Checks,
    pub(super) listens: ListenLooks,
    pub(super) port_owner: PortOwner,
    pub(super) listener: WorkerListener,
    pub(super) notifications: Notifications,
    pub(super) channel: WorkerChannel,
    pub(super) progress: Progress,
    pub(super) admissions: Admissions,
    pub(super) recycling: Recycling,
    /// The drain, once the process has left the rotation for good.
    pub(super) drain: Option<Draining>,
    pub(super) exit: ExitRecord,
}

impl WorkerProcess {
    /// The pid for the log, 0 until the process was forked.
    pub(super) fn logged_pid(&self) -> u32 {
        self.context.pid().unwrap_or(0)
    }

    /// The time of the next check or look.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let drain = self.drain.as_ref().and_then(Draining::next_look);
        [self.checks.next(), self.listens.next(), drain].into_iter().flatten().min()
    }

    /// Records that the process exists, and captures its output.
    pub(super) fn forked(&mut self, pid: u32, stdout: OwnedFd, stderr: OwnedFd, output: &Output) -> Option<Event> {
        self.context.forked(pid);
        let process = &self.context;
        let line_source = LineSource {
            pool: process.shared.pool.name.clone(),
            slot: process.slot(),
            pid,
            generation: process.generation,
            incarnation: process.incarnation(),
        };
        self.exit.capture(output.capture(&line_source, stdout, stderr, &process.upstream.stats));
        tracing::debug!(worker = %process.name(), pid, endpoint = %process.upstream.endpoint, "worker started");
        // READY=1 may have come before this event.
        if self.notifications.has_said_ready() { self.ready_said(Instant::now()) } else { None }
    }

    /// Records that the program runs. With `ready = "none"` it is ready now.
    pub(super) fn executed(&mut self, now: Instant) -> Option<Event> {
        tracing::debug!(worker = %self.context.name(), pid = self.context.pid(), "worker executed");
        self.listens.schedule(Some(now + LOOK_AFTER));
        let ready = self.context.config.ready;
        // Its READY=1 may have come before this event.
        if ready == Ready::Probe {
            self.checks.schedule(Some(now));
        }
        (ready == Ready::None).then_some(Event::Ready(self.context.incarnation()))
    }

    /// Records that the process has exited by itself with code 0 while a process of this name went on.
    pub(super) fn went_to_background(&mut self, name: String, now: Instant) {
        // A program that runs for longer before it exits was in the foreground.
        if now - self.context.launched < DAEMONIZES_WITHIN {
            self.exit.go_to_background(name);
        }
    }

    /// Handles a message that the process sent to its notify socket.
    pub(super) fn notified(&mut self, message: &NotifyMessage, now: Instant) -> Option<Event> {
        self.notifications.take(message);
        match message {
            NotifyMessage::Ready => return self.ready_said(now),
            NotifyMessage::Beat => self.progress.beat(now),
            NotifyMessage::DrainsBySignal | NotifyMessage::Status(_) => {}
            NotifyMessage::Stopping => {
                // A quiesced process has no queue, and most say this when the master has told them to end.
                if self.drain.as_ref().is_some_and(|drain| drain.next_look().is_some()) {
                    self.listener.recall(&self.context);
                }
                return Some(Event::Stopping(self.context.incarnation()));
            }
        }
        None
    }

    /// Handles `READY=1`. A preforking server sends it before its application is imported, and a program that cannot be
    /// a worker of this mode may send it too: if the program can be probed, the first check is made at once and
    /// decides.
    fn ready_said(&mut self, now: Instant) -> Option<Event> {
        let config = &self.context.config;
        let is_asked = matches!(config.health.probe, Probe::Http { .. } | Probe::Channel);
        match config.ready {
            Ready::Probe => {
                self.checks.hurry(now);
                None
            }
            Ready::Notify if is_asked => {
                self.checks.begin(now);
                self.checks.hurry(now);
                None
            }
            _ if self.context.upstream.endpoint == Endpoint::Inherited && config.passed_as() != PassedAs::Node => {
                self.listens.look_if_it_accepts(&self.context);
                None
            }
            _ => self.context.pid().map(|_| Event::Ready(self.context.incarnation())),
        }
    }

    /// Records that the process is in rotation now, for the first time or again. `wants_exposure` is true if its slot
    /// shall look for a port that other machines can reach; `chance` (0 to 1) spreads maximum ages.
    pub(super) fn admitted(&mut self, wants_exposure: bool, chance: f64, now: Instant) {
        let process = &self.context;
        let (worker, pid) = (process.name(), self.logged_pid());
        // Only a port can be reached from other machines, and the look is expensive.
        let can_be_exposed = matches!(process.upstream.endpoint, Endpoint::Tcp(_));
        self.listens.schedule((can_be_exposed && wants_exposure).then_some(now));
        self.checks.schedule((process.config.health.probe != Probe::None).then_some(now));
        match self.admissions.admit() {
            Admission::NotBusyAnyMore => tracing::debug!(%worker, pid, "worker no longer busy"),
            Admission::HealthyAgain => {
                process.upstream.stats.health_transitions.increment();
                if !process.is_log_limited("healthy") {
                    tracing::info!(%worker, pid, "worker healthy again");
                }
            }
            Admission::First => {
                let took = now - process.launched;
                self.recycling.begin(process.config.max_age, chance, now);
                process.shared.pool.stats.spawn.of_thread(0).record(took);
                let millis = took.as_millis().try_into().unwrap_or(0);
                let after = humantime::format_duration(Duration::from_millis(millis));
                let endpoint = process.upstream.endpoint.to_string();
                tracing::info!(%worker, pid, endpoint, %after, "worker ready");
                self.listener.duplicate(process);
            }
        }
    }

    /// Records that the process was not ready in time: that is the reason for its end, not the signal that ends it.
    pub(super) fn late(&mut self) {
        let timeout = humantime::format_duration(self.context.config.ready_timeout);
        tracing::warn!(
            worker = %self.context.name(), pid = self.context.pid(), %timeout,
            "worker not ready within ready-timeout: ending it"
        );
        let check = self.checks.failed().map_or(String::new(), |check| format!("; its last check: {check}"));
        self.exit.fail_start(format!("not ready within {timeout}{check}"));
    }

    /// Begins the drain of the process, which has left the rotation for good. `was_busy` is true if it will not get to
    /// its queue soon.
    pub(super) fn begin_drain(&mut self, was_busy: bool, now: Instant) {
        self.checks.schedule(None);
        self.drain = Some(Draining::begin(&self.context, now));
        // One that is ending by itself never gets to its queue.
        if was_busy || self.notifications.has_said_stopping() {
            self.listener.recall(&self.context);
        }
    }

    /// Checks the drain if that is due. Returns an event if the process is quiesced now.
    pub(super) fn check_drain(&mut self, now: Instant) -> Option<Event> {
        let is_due = |drain: &&mut Draining| drain.next_look().is_some_and(|due| due <= now);
        let drain = self.drain.as_mut().filter(is_due)?;
        if !drain.look(&self.context, now) {
            return None;
        }
        self.listener.release();
        let listens_at = spec::listens_at(&self.context.upstream.endpoint, self.listener.is_inherited());
        let drains_by_signal = self.notifications.drains_by_signal();
        let method = drain::method(&self.context, drains_by_signal, listens_at.as_ref());
        Some(Event::Quiesced(self.context.incarnation(), method))
    }

    /// Ends the open connections of the process.
    pub(super) fn abort(&self) {
        let process = &self.context;
        let open = process.upstream.active();
        if open > 0 {
            let (worker, pid) = (process.name(), self.logged_pid());
            tracing::warn!(%worker, pid, open, "drain deadline: cutting open connections");
        }
        process.shared.data_path.abort(process.slot(), process.incarnation());
    }

    /// Sends the process its stop signal.
    pub(super) fn terminate(&mut self, now: Instant) {
        self.record_end(now);
        self.listener.release();
        let config = &self.context.config;
        self.end(EndRequest::Stop(signal_of(config.stop_signal), config.stop_signal_to));
    }

    /// Disconnects the process from Node's cluster.
    pub(super) fn disconnect(&mut self, now: Instant) {
        self.record_end(now);
        let config = &self.context.config;
        self.end(EndRequest::Expected(signal_of(config.stop_signal), config.stop_signal_to));
        self.channel.send(ChannelCommand::Disconnect);
    }

    pub(super) fn kill(&self) {
        self.end(EndRequest::Kill);
    }

    fn end(&self, request: EndRequest) {
        self.context.shared.resources.launcher.end(self.child, request);
    }

    /// Records the begin of a drain if the workers accept: there the drain begins with the stop signal or the
    /// disconnect.
    fn record_end(&mut self, now: Instant) {
        let is_observed = self.context.shared.pool.mode.acceptor() == Acceptor::Master;
        if self.admissions.was_ready() && !is_observed {
            self.drain.get_or_insert_with(|| Draining::unobserved(now));
        }
    }

    /// Gives away what an exited process leaves: the clients in its queue, the outcomes of its connections and its last
    /// lines. `exit` is the exit in words.
    pub(super) fn clean_up(mut self, exit: String) {
        if !self.listener.has_duplicate() && self.admissions.was_ready() {
            port_owner::ask_after_death(&self.context);
        }
        self.channel.end(self.drain.is_some());
        self.listener.recover(&self.context);
        if let Some(drain) = &self.drain {
            drain.count_ends(&self.context, exit);
        }
        self.exit.report_last_lines(&self.context);
    }
}
