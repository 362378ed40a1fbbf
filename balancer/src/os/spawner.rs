//! The one thread that forks, waits and reaps, for the life of the process.
//!
//! One thread, because the parent-death signal is sent when the forking *thread* ends, and because only who reaps knows
//! until when a pid is that child's. It sleeps in `poll` on the requests, on each child's pidfd and on each start's status
//! pipe; a death is told within a fraction of a millisecond, and nothing here ever waits for a child.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions};

use super::child::{ChildEvent, ChildId, Ending, Exit, Inherited, Launcher, Sink, Spec, StartError};
use super::guardian::Lifeline;
use super::shim::{self, Order};

/// While there is no guardian.
const TRY_GUARDIAN_AGAIN: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// The handle to the spawner's thread.
#[derive(Clone, Debug)]
pub struct Spawner {
    requests: mpsc::Sender<Request>,
    wake: Arc<OwnedFd>,
    next: Arc<AtomicU64>,
}

enum Request {
    Launch(ChildId, Box<Spec>, Sink),
    End(ChildId, Ending),
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
        std::thread::Builder::new().name("spawner".into()).spawn(move || match Family::start(theirs, inbox) {
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

    fn end(&self, child: ChildId, ending: Ending) {
        self.ask(Request::End(child, ending));
    }
}

/// A child between fork and reaping.
struct Living {
    pid: Pid,
    pidfd: Arc<OwnedFd>,
    /// Open until the program runs or its start failed.
    status: Option<PipeReader>,
    sink: Sink,
}

/// What the thread knows.
struct Family {
    wake: Arc<OwnedFd>,
    inbox: mpsc::Receiver<Request>,
    children: BTreeMap<ChildId, Living>,
    lifeline: Lifeline,
    /// None while one could not be started; then it is tried again.
    guardian: Option<(Pid, OwnedFd)>,
    own_pid: i32,
}

impl Family {
    fn start(wake: Arc<OwnedFd>, inbox: mpsc::Receiver<Request>) -> io::Result<Self> {
        let (lifeline, guardian) = start_guardian()?;
        let guardian = Some(guardian);
        let own_pid = rustix::process::getpid().as_raw_pid();
        Ok(Self { wake, inbox, children: BTreeMap::new(), lifeline, guardian, own_pid })
    }

    fn run(&mut self) {
        loop {
            let (statuses, deaths, guardian_died) = match self.wait() {
                Ok(ready) => ready,
                // Only EINTR, or ENOMEM that passes; both are answered by asking again.
                Err(_) => continue,
            };
            for id in statuses {
                self.read_status(id);
            }
            for id in deaths {
                self.bury(id);
            }
            if guardian_died || self.guardian.is_none() {
                self.replace_guardian();
            }
            while let Ok(request) = self.inbox.try_recv() {
                match request {
                    Request::Launch(id, spec, sink) => self.launch(id, &spec, sink),
                    Request::End(id, ending) => self.end(id, ending),
                    Request::ReapOrphans => self.reap_orphans(),
                }
            }
            self.end_stuck_guardian();
        }
    }

    /// Sleeps until something is to do: children with news on their status pipe, dead children, a dead guardian.
    fn wait(&self) -> io::Result<(Vec<ChildId>, Vec<ChildId>, bool)> {
        let mut polled = vec![PollFd::new(&*self.wake, PollFlags::IN)];
        let mut whose = Vec::new();
        for (&id, child) in &self.children {
            polled.push(PollFd::new(&*child.pidfd, PollFlags::IN));
            whose.push((id, true));
            if let Some(status) = &child.status {
                polled.push(PollFd::new(status, PollFlags::IN));
                whose.push((id, false));
            }
        }
        let guardian = self.guardian.as_ref().map(|(_, pidfd)| PollFd::new(pidfd, PollFlags::IN));
        let has_guardian = guardian.is_some();
        polled.extend(guardian);
        rustix::event::poll(&mut polled, if has_guardian { None } else { Some(&TRY_GUARDIAN_AGAIN) })?;
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

    fn fork(&self, spec: &Spec) -> io::Result<(Living, OwnedFd, OwnedFd)> {
        // Without close-on-exec, and closed again below: no other thread forks, so nobody else can inherit them.
        let inherited = spec.inherits.descriptors().iter().map(rustix::io::dup);
        let inherited = inherited.collect::<Result<Vec<OwnedFd>, _>>()?;
        let order = Order {
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
            .args(order.to_args())
            .env_clear()
            .envs(spec.env.iter().map(|(name, value)| (name, value)))
            .stdin(theirs)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        drop(inherited);
        // One that cannot be watched must not run either.
        let (pid, pidfd) = identify(child.id()).inspect_err(|_| abandon(&mut child))?;
        let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
        let stdout = child.stdout.take().ok_or_else(missing)?.into();
        let stderr = child.stderr.take().ok_or_else(missing)?.into();
        Ok((Living { pid, pidfd: Arc::new(pidfd), status: Some(status), sink: Box::new(|_| {}) }, stdout, stderr))
    }

    /// The status pipe ended (the program runs) or names the stage and errno of a failure.
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

    fn end(&self, id: ChildId, ending: Ending) {
        if let Some(child) = self.children.get(&id) {
            let signal = match ending {
                Ending::Signal(signal) => signal,
                Ending::Kill => Signal::KILL,
            };
            // Not reaped yet, so the number is still this child's group.
            let _ = rustix::process::kill_process_group(child.pid, signal);
        }
    }

    /// Kills what is left of the group, then reaps its leader: in this order, while the number cannot be another's.
    fn bury(&mut self, id: ChildId) {
        // It may have died of a failed start that was not read yet.
        self.read_status(id);
        let Some(mut child) = self.children.remove(&id) else { return };
        let _ = rustix::process::kill_process_group(child.pid, Signal::KILL);
        self.lifeline.remove(child.pid.as_raw_pid());
        (child.sink)(ChildEvent::Exited(reap(&child.pidfd)));
    }

    /// Looks at each dead child before reaping it: our own keep their status for `bury`, which also frees the view on
    /// those behind them.
    fn reap_orphans(&mut self) {
        while let Some(pid) = next_dead() {
            let ours = self.children.iter().find(|(_, child)| child.pid == pid).map(|(&id, _)| id);
            match ours {
                Some(id) => self.bury(id),
                None if self.guardian.as_ref().is_some_and(|(guardian, _)| pid == *guardian) => self.replace_guardian(),
                None => drop(rustix::process::waitpid(Some(pid), WaitOptions::NOHANG)),
            }
        }
    }

    /// Kills a guardian that stands still; its death is seen as any other's.
    fn end_stuck_guardian(&self) {
        if let (true, Some((pid, pidfd))) = (self.lifeline.is_stuck(), &self.guardian) {
            tracing::warn!(pid = pid.as_raw_pid(), "guardian does not read, killing it");
            let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
        }
    }

    fn replace_guardian(&mut self) {
        let ended = self.guardian.take();
        if let Some((pid, pidfd)) = &ended {
            reap(pidfd);
            tracing::warn!(pid = pid.as_raw_pid(), "the guardian ended; starting another");
        }
        match start_guardian() {
            Ok((mut lifeline, guardian)) => {
                // Only now: a guardian that was told groups and lost its pipe would kill them.
                lifeline.take_over(self.lifeline.groups());
                (self.lifeline, self.guardian) = (lifeline, Some(guardian));
            }
            Err(error) if ended.is_some() => {
                tracing::error!(%error, "no guardian: grandchildren would outlive a killed master; trying again");
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

/// Ends a child that nobody would look after.
fn abandon(child: &mut std::process::Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The pidfd of a child of ours that was not reaped yet.
fn identify(pid: u32) -> io::Result<(Pid, OwnedFd)> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    Ok((pid, rustix::process::pidfd_open(pid, PidfdFlags::empty())?))
}

fn reap(pidfd: &OwnedFd) -> Exit {
    let status =
        rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
    match status {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Code(-1),
        },
        // Somebody else reaped it; there is nothing better to say.
        Ok(None) | Err(_) => Exit::Code(-1),
    }
}

/// Some dead child of this process, which stays to be reaped.
fn next_dead() -> Option<Pid> {
    // SAFETY: `info` is a valid siginfo_t for the call to fill in; zeroed is what waitid wants to tell "nobody" by pid 0.
    let (result, info) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        (libc::waitid(libc::P_ALL, 0, &raw mut info, options), info)
    };
    // SAFETY: after a waitid that succeeded the union holds the SIGCHLD fields, of which si_pid is one.
    (result == 0).then(|| unsafe { info.si_pid() }).and_then(Pid::from_raw)
}
