//! The one thread that forks, waits and reaps, for the life of the process.
//!
//! One thread, because the kernel sends the parent-death signal when the forking *thread* ends, and because only the
//! thread that reaps knows how long a pid belongs to a child. It sleeps in `poll` on the requests, on each child's
//! pidfd and on each start's status pipe. It reports a death within a fraction of a millisecond, and never blocks on a
//! child.

mod ending;
mod orphans;
mod reap;
mod strays;

use std::collections::BTreeMap;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::process::Pid;
use tokio::time::Instant;

use super::accept_queue::QueueReader;
use super::child::{ChildEvent, ChildId, EndRequest, Inherited, Launcher, Sink, Spec, StartError, Trail};
use super::guardian::Lifeline;
use super::shim::{self, SpawnSpec};
use super::stop_signal::Stop;
use reap::{abandon, identify, reap};
use strays::Strays;

/// The pause between tries to start a guardian while there is none.
const TRY_GUARDIAN_AGAIN: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
/// The pause between looks at a group if no descriptor is left to watch it with.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// The handle to the spawner's thread.
#[derive(Clone, Debug)]
pub struct Spawner {
    requests: mpsc::Sender<Request>,
    wake: Arc<OwnedFd>,
    next: Arc<AtomicU64>,
}

enum Request {
    Launch(ChildId, Box<Spec>, Sink),
    End(ChildId, EndRequest),
    ReapOrphans,
}

impl Spawner {
    /// Starts the thread and the guardian.
    ///
    /// # Errors
    ///
    /// The thread, its event descriptor or the guardian could not be made.
    pub fn start() -> io::Result<Self> {
        let wake = Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (requests, inbox) = mpsc::channel();
        let (started, result) = mpsc::sync_channel(1);
        let theirs = Arc::clone(&wake);
        std::thread::Builder::new().name("spawner".into()).spawn(move || match Children::start(theirs, inbox) {
            Ok(mut family) => {
                let _ = started.send(Ok(()));
                family.run();
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        })?;
        result.recv().map_err(io::Error::other)??;
        Ok(Self { requests, wake, next: Arc::default() })
    }

    /// Reaps dead children that this spawner did not start: orphans that the kernel gave to process 1.
    pub fn reap_orphans(&self) {
        self.ask(Request::ReapOrphans);
    }

    fn ask(&self, request: Request) {
        if self.requests.send(request).is_ok() {
            let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
        }
    }
}

impl Launcher for Spawner {
    fn launch(&self, spec: Spec, sink: Sink) -> ChildId {
        let id = ChildId(self.next.fetch_add(1, Ordering::Relaxed));
        self.ask(Request::Launch(id, Box::new(spec), sink));
        id
    }

    fn end(&self, child: ChildId, ending: EndRequest) {
        self.ask(Request::End(child, ending));
    }
}

/// A child between fork and reaping.
struct Child {
    pid: Pid,
    pidfd: Arc<OwnedFd>,
    /// Open until the program runs or its start failed.
    status: Option<PipeReader>,
    sink: Sink,
    trail: Trail,
    /// It was asked to end.
    stop: Option<Stop>,
}

impl Child {
    /// Returns true if the process has ended and is not reaped yet, so that its group keeps its number.
    fn is_kept(&self) -> bool {
        self.stop.as_ref().is_some_and(Stop::has_leader_ended)
    }
}

/// The state of the spawner's thread.
struct Children {
    wake: Arc<OwnedFd>,
    inbox: mpsc::Receiver<Request>,
    children: BTreeMap<ChildId, Child>,
    lifeline: Lifeline,
    /// None if it could not be started; then the start is tried again.
    guardian: Option<(Pid, OwnedFd)>,
    own_pid: i32,
    /// Finds the listeners of workers that are asked to end; made when it is needed first.
    queues: Option<QueueReader>,
    strays: Strays,
}

impl Children {
    fn start(wake: Arc<OwnedFd>, inbox: mpsc::Receiver<Request>) -> io::Result<Self> {
        let (lifeline, guardian) = start_guardian()?;
        let guardian = Some(guardian);
        let own_pid = rustix::process::getpid().as_raw_pid();
        if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
            tracing::warn!(%error, "cannot become a child subreaper: processes left in the background are not found");
        }
        let (children, queues, strays) = (BTreeMap::new(), None, Strays::new(own_pid));
        Ok(Self { wake, inbox, children, lifeline, guardian, own_pid, queues, strays })
    }

    fn run(&mut self) {
        loop {
            let (statuses, deaths, guardian_died) = match self.wait() {
                Ok(ready) => ready,
                // Only EINTR, or an ENOMEM that passes; both are answered by polling again.
                Err(_) => continue,
            };
            for id in statuses {
                self.read_status(id);
            }
            let mut changed = Vec::new();
            for id in deaths {
                changed.extend(self.ended(id));
            }
            if guardian_died || self.guardian.is_none() {
                self.replace_guardian();
            }
            while let Ok(request) = self.inbox.try_recv() {
                match request {
                    Request::Launch(id, spec, sink) => self.launch(id, &spec, sink),
                    Request::End(id, ending) => changed.extend(self.end(id, ending)),
                    Request::ReapOrphans => changed.extend(self.reap_orphans()),
                }
            }
            // All at once: a look at the groups is a pass over `/proc`.
            self.advance_stops(changed);
            self.strays.kill_overdue(Instant::now());
            self.end_stuck_guardian();
        }
    }

    /// Sleeps until there is work. Returns the children whose status pipe is readable, the dead children, and true if
    /// the guardian died.
    fn wait(&self) -> io::Result<(Vec<ChildId>, Vec<ChildId>, bool)> {
        let mut polled = vec![PollFd::new(&*self.wake, PollFlags::IN)];
        let mut whose = Vec::new();
        for (&id, child) in &self.children {
            let watched = match &child.stop {
                Some(stop) if stop.has_leader_ended() => stop.watched(),
                _ => Some(&*child.pidfd),
            };
            if let Some(watched) = watched {
                polled.push(PollFd::new(watched, PollFlags::IN));
                whose.push((id, true));
            }
            if let Some(status) = &child.status {
                polled.push(PollFd::new(status, PollFlags::IN));
                whose.push((id, false));
            }
        }
        let guardian = self.guardian.as_ref().map(|(_, pidfd)| PollFd::new(pidfd, PollFlags::IN));
        let has_guardian = guardian.is_some();
        polled.extend(guardian);
        let again = if self.children.iter().any(|(&id, child)| self.is_unwatched(id, child)) {
            Some(&LOOK_AGAIN)
        } else {
            (!has_guardian).then_some(&TRY_GUARDIAN_AGAIN)
        };
        let stray = self.strays.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
        // A millisecond more, so that the deadline has passed when this thread looks.
        let stray = stray.and_then(|wait| Timespec::try_from(wait + Duration::from_millis(1)).ok());
        let timeout = [again, stray.as_ref()].into_iter().flatten().min_by_key(|time| (time.tv_sec, time.tv_nsec));
        rustix::event::poll(&mut polled, timeout)?;
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let news = |is_death| {
            let fired = polled.iter().skip(1).zip(&whose).filter(|(fd, of)| is_ready(fd) && of.1 == is_death);
            fired.map(|(_, of)| of.0).collect::<Vec<_>>()
        };
        if polled.first().is_some_and(is_ready) {
            let _ = rustix::io::read(&*self.wake, &mut [0u8; 8]);
        }
        Ok((news(false), news(true), has_guardian && polled.last().is_some_and(is_ready)))
    }

    fn launch(&mut self, id: ChildId, spec: &Spec, mut sink: Sink) {
        match self.fork(spec) {
            Ok((mut child, stdout, stderr)) => {
                let pid = child.pid.as_raw_pid();
                self.lifeline.add(pid);
                let pidfd = Arc::clone(&child.pidfd);
                sink(ChildEvent::Forked { pid: pid.unsigned_abs(), pidfd, stdout, stderr });
                child.sink = sink;
                self.children.insert(id, child);
            }
            Err(source) => sink(ChildEvent::Failed(StartError { stage: "fork".into(), source })),
        }
    }

    fn fork(&self, spec: &Spec) -> io::Result<(Child, OwnedFd, OwnedFd)> {
        // Without close-on-exec, and closed again below: no other thread forks, so no other child can inherit them.
        let inherited = spec.inherits.descriptors().iter().map(rustix::io::dup);
        let inherited = inherited.collect::<Result<Vec<OwnedFd>, _>>()?;
        let spawn_spec = SpawnSpec {
            parent: self.own_pid,
            nofile: spec.nofile,
            core: spec.core,
            credentials: spec.credentials.clone(),
            no_new_privs: spec.no_new_privs,
            start_dir: spec.start_dir.clone(),
            cwd: spec.cwd.clone(),
            inherit: inherited.iter().map(AsRawFd::as_raw_fd).collect(),
            has_listeners: matches!(spec.inherits, Inherited::Listeners(_)),
            program: spec.program.clone(),
            args: spec.args.clone(),
        };
        let (status, theirs) = io::pipe()?;
        let mut child = Command::new("/proc/self/exe")
            .arg0("roundelay")
            .arg(shim::COMMAND)
            .args(spawn_spec.to_args())
            .env_clear()
            .envs(spec.env.iter().map(|(name, value)| (name, value)))
            .stdin(theirs)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        drop(inherited);
        // A child that cannot be watched must not run either.
        let (pid, pidfd) = identify(child.id()).inspect_err(|_| abandon(&mut child))?;
        let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
        let stdout = child.stdout.take().ok_or_else(missing)?.into();
        let stderr = child.stderr.take().ok_or_else(missing)?.into();
        let child = Child {
            pid,
            pidfd: Arc::new(pidfd),
            status: Some(status),
            sink: Box::new(|_| {}),
            trail: spec.trail.clone(),
            stop: None,
        };
        Ok((child, stdout, stderr))
    }

    /// Reads the status pipe: it ends (the program runs) or names the stage and errno of a failure.
    fn read_status(&mut self, id: ChildId) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let Some(mut status) = child.status.take() else { return };
        // The shim writes its one short line at once, or closes: this read does not wait.
        let mut line = [0; 64];
        let length = status.read(&mut line).unwrap_or(0);
        let said = String::from_utf8_lossy(line.get(..length).unwrap_or_default());
        match said.trim().split_once(' ') {
            None => (child.sink)(ChildEvent::Executed),
            Some((stage, errno)) => {
                let source = io::Error::from_raw_os_error(errno.parse().unwrap_or(libc::EIO));
                (child.sink)(ChildEvent::Failed(StartError { stage: stage.to_owned(), source }));
            }
        }
    }

    /// Kills a guardian that does not read; its death is handled as any other.
    fn end_stuck_guardian(&self) {
        if let (true, Some((pid, pidfd))) = (self.lifeline.is_stuck(), &self.guardian) {
            tracing::warn!(pid = pid.as_raw_pid(), "guardian does not read, killing it");
            let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
        }
    }

    fn replace_guardian(&mut self) {
        let ended = self.guardian.take();
        if let Some((pid, pidfd)) = &ended {
            reap(pidfd);
            tracing::warn!(pid = pid.as_raw_pid(), "guardian exited, starting another");
        }
        match start_guardian() {
            Ok((mut lifeline, guardian)) => {
                // Only now: a guardian that was told groups and lost its pipe would kill them.
                lifeline.take_over(self.lifeline.groups());
                (self.lifeline, self.guardian) = (lifeline, Some(guardian));
            }
            Err(error) if ended.is_some() => {
                tracing::error!(%error, "cannot start the guardian, retrying: grandchildren would outlive a killed master");
            }
            Err(_) => {}
        }
    }
}

fn start_guardian() -> io::Result<(Lifeline, (Pid, OwnedFd))> {
    let (lifeline, mut child) = Lifeline::start()?;
    let guardian = identify(child.id()).inspect_err(|_| abandon(&mut child))?;
    Ok((lifeline, guardian))
}
