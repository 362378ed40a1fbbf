//! Launches a worker: from the effect to a running program.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::time::Instant;

use super::context::ProcessContext;
use super::endpoint::PrivateEndpoint;
use super::notify::NotifySocket;
use super::process::WorkerProcess;
use super::progress::Progress;
use super::recycling::Recycling;
use super::spec::{self, SpawnContext};
use super::{Context, Duration, ExitStatus, WorkerSlot};
use crate::config::{Program, Ready};
use crate::os::child::{ChildEvent, Exit, StartError};
use crate::os::unrunnable;
use crate::output::{LineSource, Output};
use crate::rotation::Upstream;
use crate::supervisor::WorkerEvent;
use crate::supervisor::slot::Event;

/// The time that a program has to be ready before the master looks where it listens instead.
const LOOK_AFTER: Duration = Duration::from_millis(500);
/// A program that goes into the background has done so within this time of its start.
const DAEMONIZES_WITHIN: Duration = Duration::from_secs(10);

impl WorkerSlot {
    /// Starts the process of an incarnation. If the workers accept, it inherits `public`.
    pub(in crate::supervisor) fn launch(
        &mut self,
        incarnation: u64,
        workers: u32,
        public: &[Arc<OwnedFd>],
        now: Instant,
    ) -> Result<(), StartError> {
        let Some(process_state) = self.slot.process(incarnation) else { return Ok(()) };
        let (config, generation) = (Arc::clone(&process_state.config), process_state.generation);
        let stage = |stage: &str| {
            let stage = stage.to_owned();
            move |source| StartError { stage, source }
        };
        let Context { resources, .. } = &*self.context;
        let private = PrivateEndpoint::choose(&config, resources)?;
        let endpoint = private.endpoint.clone();
        let notify_path = resources.fresh_notify(&config).map_err(stage("naming its notify socket"))?;
        let notify = NotifySocket::bind(&notify_path).map_err(stage("binding its notify socket"))?;
        resources.hand_over(&notify_path, &config).map_err(stage("giving it its notify socket"))?;
        let report = self.reporter(incarnation);
        let reach = notify.reach();
        let again = {
            let (resources, config, path) = (Arc::clone(resources), Arc::clone(&config), notify_path.clone());
            move || {
                resources.ensure_folder(&path, &config)?;
                let again = NotifySocket::bind(&path)?;
                resources.hand_over(&path, &config)?;
                Ok(again)
            }
        };
        let listening = tokio::spawn(notify.listen(again, move |message| report(WorkerEvent::Notify(message))));

        let upstream = Arc::new(Upstream::new(self.id, incarnation, endpoint.clone(), Arc::clone(&self.stats)));
        let own: Vec<_> = private.listener.iter().cloned().collect();
        let listen = if own.is_empty() { public } else { &own };
        let line = self.open_channel(config.passed_as(), &upstream)?;
        let channel = line.as_ref().map(|line| spec::ChannelEnd { end: &line.theirs, node_id: line.node_id });
        let listen = if channel.is_some() { &[] } else { listen };
        let (slot, notify) = (self.id, notify_path.as_path());
        let spawn_context = SpawnContext { slot, workers, generation, endpoint: &endpoint, notify, listen, channel };
        let spec = spec::spec(&config, &spawn_context, &resources.surroundings())?;
        let (dying, report) = (Arc::clone(&upstream), self.reporter(incarnation));
        let child = resources.launcher.launch(
            spec,
            Box::new(move |event| {
                // This runs on the spawner's thread, before any other part gets the event: no connection starts on a
                // dead process.
                match &event {
                    ChildEvent::Forked { pidfd, .. } => dying.set_process(Arc::clone(pidfd)),
                    ChildEvent::Exited(exit) => dying.set_ended(*exit == Exit::Code(0)),
                    ChildEvent::LeaderEnded => dying.set_outlived(),
                    ChildEvent::Executed | ChildEvent::Failed(_) | ChildEvent::WentToBackground(_) => {}
                }
                report(WorkerEvent::Child(event));
            }),
        );
        let channel = line.map(|line| {
            self.context.data_path.run_channel(self.id, line.channel);
            line.handle
        });
        let is_counted = self.slot.current().is_some_and(|process_state| process_state.incarnation == incarnation);
        self.starts += u64::from(is_counted);
        let context = ProcessContext::new(Arc::clone(&self.context), config, generation, upstream, now);
        let process = WorkerProcess {
            last_check: None,
            is_counted,
            private,
            child,
            channel,
            capture: None,
            notify: listening.abort_handle(),
            notify_reach: reach,
            start_error: None,
            went_to_background: None,
            status_text: None,
            is_online: false,
            said_ready: false,
            said_stopping: false,
            is_looked_at: false,
            was_ready: false,
            was_busy: false,
            drains_by_signal: false,
            next_probe: None,
            next_look: None,
            last_look: None,
            cpu_while_on_other_port: None,
            recycling: Recycling::default(),
            listener_dup: None,
            progress: Progress::new(&context),
            last_connect: None,
            port_owner: Default::default(),
            drain: None,
            context,
        };
        self.processes.insert(incarnation, process);
        Ok(())
    }

    /// Records that the process exists, and captures its output.
    pub(in crate::supervisor) fn forked(
        &mut self,
        incarnation: u64,
        pid: u32,
        stdout: OwnedFd,
        stderr: OwnedFd,
        output: &Output,
    ) -> Option<Event> {
        let name = self.name();
        let process = self.processes.get_mut(&incarnation)?;
        process.context.forked(pid);
        let line_source = LineSource {
            pool: self.context.pool.name.clone(),
            slot: self.id,
            pid,
            generation: process.context.generation,
            incarnation,
        };
        process.capture = Some(output.capture(&line_source, stdout, stderr, &process.context.upstream.stats));
        tracing::debug!(worker = %name, pid, endpoint = %process.context.upstream.endpoint, "worker started");
        // READY=1 may have come before this event.
        if process.said_ready { self.ready_said(incarnation, Instant::now()) } else { None }
    }

    /// Records that the program runs. With `ready = "none"` it is ready now.
    pub(in crate::supervisor) fn executed(&mut self, incarnation: u64, now: Instant) -> Option<Event> {
        let name = self.name();
        let process = self.processes.get_mut(&incarnation)?;
        tracing::debug!(worker = %name, pid = process.context.pid(), "worker executed");
        process.next_look = Some(now + LOOK_AFTER);
        // Its READY=1 may have come before this event.
        if process.context.config.ready == Ready::Probe {
            process.next_probe = Some(now);
        }
        (process.context.config.ready == Ready::None).then_some(Event::Ready(incarnation))
    }

    /// Reports that the program could not be started. Returns an event if there is no process whose exit follows.
    pub(in crate::supervisor) fn start_failed(&mut self, incarnation: u64, error: &StartError) -> Option<Event> {
        let process_state = self.slot.process(incarnation);
        let program = process_state.map(|process_state| process_state.config.program.to_string()).unwrap_or_default();
        let why =
            process_state.filter(|_| error.stage == "exec" && error.source.kind() == std::io::ErrorKind::NotFound);
        let why = why.and_then(|process_state| match &process_state.config.program {
            Program::Command(words) => unrunnable::explain(words.first()?, process_state.config.cwd.as_deref()),
            Program::Demo => None,
        });
        let why = why.unwrap_or_else(|| error.source.to_string());
        let what = format!("cannot start `{program}`: {error}: {why}");
        tracing::error!(worker = %self.name(), "{what}");
        self.last_start_failed = true;
        match self.processes.get_mut(&incarnation) {
            Some(process) => {
                process.start_error = Some(what);
                if process.context.pid().is_some() {
                    return None;
                }
                self.exited(incarnation, None);
            }
            None => {
                self.last_exit = Some((incarnation, ExitStatus::new(what.clone(), -1)));
                self.stats.last_exit.set(-1);
                self.failed_starts.push((incarnation, what));
                self.reporter(incarnation)(WorkerEvent::LastLines(Arc::default()));
            }
        }
        Some(Event::Exited(incarnation))
    }

    /// Records that the process has exited by itself with code 0 while a process of this name went on.
    pub(in crate::supervisor) fn went_to_background(&mut self, incarnation: u64, name: String, now: Instant) {
        let is_asked = self.slot.retiring().iter().any(|process_state| process_state.incarnation == incarnation);
        let Some(process) = self.processes.get_mut(&incarnation).filter(|_| !is_asked) else { return };
        // A program that runs for longer before it exits was in the foreground.
        if now - process.context.launched < DAEMONIZES_WITHIN {
            process.went_to_background = Some(name);
        }
    }

    /// Records that the process was not ready in time: that is the reason for its end, not the signal that ends it.
    pub(in crate::supervisor) fn late(&mut self, incarnation: u64) {
        let name = self.name();
        let Some(process) = self.processes.get_mut(&incarnation) else { return };
        let timeout = humantime::format_duration(process.context.config.ready_timeout);
        tracing::warn!(worker = %name, pid = process.context.pid(), %timeout, "worker not ready within ready-timeout: ending it");
        let check = process.failed_check().map_or(String::new(), |check| format!("; its last check: {check}"));
        process.start_error = Some(format!("not ready within {timeout}{check}"));
    }
}
