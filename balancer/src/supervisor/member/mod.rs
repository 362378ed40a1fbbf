//! A slot with its process: performs what the slot decides, keeps what is told of it.

mod probing;
mod report;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::endpoint::PrivateEndpoint;
use super::launch::{self, Birth};
use super::notify::{NotifySocket, Said};
use super::slot::Slot;
use super::{Connections, Input, News, Resources};
use crate::config::{self, Probe, Ready};
use crate::os::child::{ChildEvent, ChildId, Ending, Exit, StartError};
use crate::output::{Capture, Output};
use crate::pool::{CheckStatus, ExitStatus, Pool, SlotState};
use crate::rotation::{Endpoint, SlotId, Standing, Upstream};
use crate::stats::SlotStats;

/// How long after an exit its last words are waited for: a grandchild may hold the pipe for ever.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long a program may take to be ready before we look where it listens instead.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// What all members of a pool need of their surroundings.
pub(super) struct Context {
    pub(super) pool: Arc<Pool>,
    pub(super) resources: Arc<Resources>,
    pub(super) connections: Arc<dyn Connections>,
    pub(super) inputs: mpsc::UnboundedSender<Input>,
}

/// A slot and what is in it.
pub(super) struct Member {
    pub(super) slot: Slot,
    id: SlotId,
    context: Arc<Context>,
    stats: Arc<SlotStats>,
    process: Option<Process>,
    state: SlotState,
    since: SystemTime,
    starts: u64,
    last_exit: Option<(u64, ExitStatus)>,
    last_start_failed: bool,
    last_check: Option<CheckStatus>,
    looked_exposed: bool,
    chance: fastrand::Rng,
}

/// One incarnation's process.
struct Process {
    upstream: Arc<Upstream>,
    _private: PrivateEndpoint,
    child: ChildId,
    pid: Option<u32>,
    started: SystemTime,
    launched: Instant,
    capture: Option<Capture>,
    notify: AbortHandle,
    start_error: Option<String>,
    said: Option<String>,
    said_ready: bool,
    next_probe: Option<Instant>,
    next_look: Option<Instant>,
    last_look: Option<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.notify.abort();
    }
}

impl Member {
    pub(super) fn new(index: usize, context: &Arc<Context>) -> Self {
        let mut chance = fastrand::Rng::new();
        Self {
            slot: Slot::new(config::Pool::clone(&context.pool.config()), chance.u64(..)),
            id: SlotId(u32::try_from(index).unwrap_or(u32::MAX)),
            stats: Arc::clone(&context.pool.slots()[index]),
            context: Arc::clone(context),
            process: None,
            state: SlotState::Stopped,
            since: SystemTime::now(),
            starts: 0,
            last_exit: None,
            last_start_failed: false,
            last_check: None,
            looked_exposed: false,
            chance,
        }
    }

    /// `pool/slot`.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.context.pool.name, self.id)
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().and_then(|process| process.pid).unwrap_or(0)
    }

    pub(super) fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.process.as_ref().map(|process| &process.upstream)
    }

    /// A way to send news of the present incarnation from another task or thread.
    fn reporter(&self, incarnation: u64) -> impl Fn(News) + Send + Sync + Clone + 'static {
        let (inputs, slot) = (self.context.inputs.clone(), self.id.index());
        move |news| {
            let _ = inputs.send(Input::Worker { slot, incarnation, news });
        }
    }

    /// Starts the process of an incarnation, which inherits `listen`.
    pub(super) fn launch(&mut self, incarnation: u64, listen: &[Arc<OwnedFd>], now: Instant) -> Result<(), StartError> {
        let stage = |stage: &str| {
            let stage = stage.to_owned();
            move |source| StartError { stage, source }
        };
        let Context { pool, resources, .. } = &*self.context;
        let private = PrivateEndpoint::choose(&pool.config(), resources)?;
        let endpoint = private.endpoint.clone();
        let notify_path = resources.fresh_path("n").map_err(stage("naming its notify socket"))?;
        let notify = NotifySocket::bind(&notify_path).map_err(stage("binding its notify socket"))?;
        let report = self.reporter(incarnation);
        let listening = tokio::spawn(notify.listen(move |said| report(News::Said(said))));

        let upstream = Arc::new(Upstream::new(self.id, incarnation, endpoint.clone(), Arc::clone(&self.stats)));
        let birth = Birth {
            slot: self.id,
            workers: u32::try_from(pool.slots().len()).unwrap_or(u32::MAX),
            generation: 1,
            endpoint: &endpoint,
            notify: &notify_path,
            listen,
        };
        let spec = launch::spec(&pool.config(), &birth, &resources.inherited, resources.nofile);
        let (dying, report) = (Arc::clone(&upstream), self.reporter(incarnation));
        let child = resources.launcher.launch(
            spec,
            Box::new(move |event| {
                // On the spawner's thread, before anything else hears of it: no connection starts on the dead.
                match &event {
                    ChildEvent::Forked { pidfd, .. } => dying.set_process(Arc::clone(pidfd)),
                    ChildEvent::Exited(exit) => dying.set_ended(*exit == Exit::Code(0)),
                    ChildEvent::Executed | ChildEvent::Failed(_) => {}
                }
                report(News::Child(event));
            }),
        );
        self.starts += 1;
        self.process = Some(Process {
            upstream,
            _private: private,
            child,
            pid: None,
            started: SystemTime::now(),
            launched: now,
            capture: None,
            notify: listening.abort_handle(),
            start_error: None,
            said: None,
            said_ready: false,
            next_probe: None,
            next_look: None,
            last_look: None,
        });
        Ok(())
    }

    /// Its process exists. True if it said ready before this was heard.
    pub(super) fn forked(&mut self, pid: u32, stdout: OwnedFd, stderr: OwnedFd, output: &Output) -> bool {
        let name = self.name();
        let Some(process) = &mut self.process else { return false };
        process.pid = Some(pid);
        process.capture = Some(output.capture(&name, stdout, stderr, &process.upstream.stats));
        tracing::debug!(worker = %name, pid, endpoint = %process.upstream.endpoint, "worker started");
        process.said_ready
    }

    /// The program runs. True if that is all that ready means here.
    pub(super) fn executed(&mut self, now: Instant) -> bool {
        let ready = self.context.pool.config().ready;
        tracing::debug!(worker = %self.name(), pid = self.pid(), "worker executed");
        if let Some(process) = &mut self.process {
            process.next_look = Some(now + LOOK_AFTER);
            process.next_probe = (ready == Ready::Probe).then_some(now);
        }
        ready == Ready::None
    }

    /// The program could not be started. True if there is no process whose exit follows.
    pub(super) fn start_failed(&mut self, error: &StartError) -> bool {
        let what = format!("cannot start `{}`: {error}: {}", self.context.pool.config().program, error.source);
        tracing::error!(worker = %self.name(), "{what}");
        self.last_start_failed = true;
        match &mut self.process {
            Some(process) => {
                process.start_error = Some(what);
                let never_forked = process.pid.is_none();
                if never_forked {
                    self.exited(None);
                }
                never_forked
            }
            None => {
                self.note_exit(what, -1);
                true
            }
        }
    }

    /// Its process is gone; `None` if there never was one.
    pub(super) fn exited(&mut self, exit: Option<Exit>) {
        let Some(mut process) = self.process.take() else { return };
        process.upstream.set_standing(Standing::Dead);
        self.context.connections.orphan(self.id, process.upstream.incarnation, Vec::new());
        let what = end_in_words(exit, process.start_error.as_deref());
        let was_asked = matches!(self.state, SlotState::Draining | SlotState::Stopping);
        let (worker, pid) = (self.name(), process.pid.unwrap_or(0));
        if process.start_error.is_none() {
            if was_asked {
                tracing::info!(%worker, pid, exit = %what, "worker ended");
            } else {
                tracing::warn!(%worker, pid, exit = %what, "worker died");
            }
            self.last_start_failed = false;
        }
        self.note_exit(what, exit.map_or(-1, Exit::code));
        let report = self.reporter(process.upstream.incarnation);
        if let Some(mut capture) = process.capture.take() {
            tokio::spawn(async move {
                let _ = tokio::time::timeout(LAST_WORDS, capture.ended()).await;
                report(News::LastWords(capture.last_lines()));
            });
        } else {
            report(News::LastWords(Vec::new()));
        }
    }

    fn note_exit(&mut self, what: String, code: i32) {
        self.stats.last_exit.set(i64::from(code));
        let exit = ExitStatus { what, code, at: SystemTime::now(), last_lines: Vec::new() };
        self.last_exit = Some((self.slot.incarnation(), exit));
    }

    pub(super) fn last_words(&mut self, incarnation: u64, lines: Vec<String>) {
        if let Some((of, exit)) = &mut self.last_exit
            && *of == incarnation
        {
            exit.last_lines = lines;
        }
    }

    /// What it said by `NOTIFY_SOCKET`. True if that makes it ready.
    pub(super) fn said(&mut self, said: Said) -> bool {
        let Some(process) = &mut self.process else { return false };
        match said {
            Said::Ready => {
                process.said_ready = true;
                process.pid.is_some()
            }
            Said::Status(text) => {
                process.said = Some(text);
                false
            }
            Said::Stopping => {
                process.said = Some("stopping".to_owned());
                false
            }
        }
    }

    pub(super) fn admitted(&mut self, now: Instant) {
        let Some(process) = &mut self.process else { return };
        // Only a port can be reached from elsewhere, and the look is dear.
        let can_be_exposed = matches!(process.upstream.endpoint, Endpoint::Tcp(_));
        process.next_look = (can_be_exposed && self.id == SlotId(0) && !self.looked_exposed).then_some(now);
        process.next_probe = (self.context.pool.config().health.probe != Probe::None).then_some(now);
        let took = now - process.launched;
        let (pid, endpoint) = (process.pid.unwrap_or(0), process.upstream.endpoint.to_string());
        if self.state == SlotState::Suspect {
            self.stats.health_transitions.increment();
            tracing::info!(worker = %self.name(), pid, "worker healthy again");
        } else {
            self.context.pool.stats.spawn.shard(0).record(took);
            let after = humantime::format_duration(Duration::from_millis(took.as_millis().try_into().unwrap_or(0)));
            tracing::info!(worker = %self.name(), pid, endpoint, %after, "worker ready");
        }
    }

    pub(super) fn withdrawn(&mut self) {
        if self.slot.state() == SlotState::Suspect {
            self.stats.health_transitions.increment();
            let why = self.last_check.as_ref().map(|check| check.what.clone()).unwrap_or_default();
            tracing::warn!(worker = %self.name(), pid = self.pid(), why, "worker suspect: out of rotation");
        }
    }

    /// Tells when it is out of rotation and holds no connection any more.
    pub(super) fn await_drain(&self) {
        let Some(upstream) = self.upstream().cloned() else { return };
        let report = self.reporter(upstream.incarnation);
        tokio::spawn(async move {
            upstream.drained().await;
            report(News::Drained);
        });
    }

    pub(super) fn cut(&self) {
        if let Some(upstream) = self.upstream() {
            let open = upstream.active();
            tracing::warn!(worker = %self.name(), pid = self.pid(), open, "drain deadline: cutting what is still open");
            self.context.connections.cut(self.id, upstream.incarnation);
        }
    }

    /// It was not ready in time: that is its story, not the signal that ends it.
    pub(super) fn late(&mut self) {
        let timeout = humantime::format_duration(self.context.pool.config().ready_timeout);
        tracing::warn!(worker = %self.name(), pid = self.pid(), "not ready within {timeout}: ending it");
        if let Some(process) = &mut self.process {
            process.start_error = Some(format!("not ready within {timeout}"));
        }
    }

    pub(super) fn end(&self, ending: Ending) {
        if let Some(process) = &self.process {
            self.context.resources.launcher.end(process.child, ending);
        }
    }
}

/// In words for the log and the status: how a process ended, or why it never ran.
fn end_in_words(exit: Option<Exit>, start_error: Option<&str>) -> String {
    match (start_error, exit) {
        (Some(error), _) => error.to_owned(),
        (None, Some(exit)) => exit.to_string(),
        (None, None) => "ended".to_owned(),
    }
}
