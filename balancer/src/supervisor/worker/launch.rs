//! Launches a worker: from the slot's decision to a process with all its parts.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::time::Instant;

use super::channel::{self, WorkerChannel};
use super::context::{Context, ProcessContext};
use super::endpoint::PrivateEndpoint;
use super::notifications::Notifications;
use super::process::WorkerProcess;
use super::progress::Progress;
use super::recovery::WorkerListener;
use super::spec::{self, SpawnContext};
use crate::config::Program;
use crate::os::child::{ChildEvent, Exit, StartError};
use crate::os::unrunnable;
use crate::rotation::{SlotId, Upstream};
use crate::stats::SlotStats;
use crate::supervisor::WorkerEvent;
use crate::supervisor::slot::process::ProcessState;

/// The launch of one process.
pub(super) struct Launch<'a> {
    pub(super) context: &'a Arc<Context>,
    pub(super) slot: SlotId,
    pub(super) stats: &'a Arc<SlotStats>,
    /// The number of workers that the process is told.
    pub(super) workers: u32,
    /// The listeners that the process inherits, if the workers accept.
    pub(super) public: &'a [Arc<OwnedFd>],
    /// True if the process counts as a start of its slot at once.
    pub(super) is_counted: bool,
}

impl Launch<'_> {
    /// Starts the process of an incarnation.
    ///
    /// # Errors
    ///
    /// If the process gets no endpoint, socket or channel, or must not run as its configuration says.
    pub(super) fn run(&self, state: &ProcessState, now: Instant) -> Result<WorkerProcess, StartError> {
        let Self { slot, workers, .. } = *self;
        let Context { resources, data_path, .. } = &**self.context;
        let (config, incarnation) = (&state.config, state.incarnation);
        let private = PrivateEndpoint::choose(config, resources)?;
        let (path, notifications) = Notifications::open(resources, config, self.context.reporter(slot, incarnation))?;
        let upstream = Upstream::new(slot, incarnation, private.endpoint.clone(), Arc::clone(self.stats));
        let upstream = Arc::new(upstream);
        let context = ProcessContext::new(
            Arc::clone(self.context),
            Arc::clone(config),
            state.generation,
            Arc::clone(&upstream),
            now,
        );

        let own: Vec<_> = private.listener.iter().cloned().collect();
        let new_channel = channel::open(&context)?;
        let channel = new_channel.as_ref().map(|new| spec::ChannelEnd { end: &new.theirs, node_id: new.node_id });
        let listen = match &channel {
            Some(_) => &[],
            None if own.is_empty() => self.public,
            None => &own,
        };
        let (generation, endpoint, notify) = (state.generation, &private.endpoint, path.as_path());
        let spawn_context = SpawnContext { slot, workers, generation, endpoint, notify, listen, channel };
        let spec = spec::spec(config, &spawn_context, &resources.surroundings())?;
        let report = context.reporter();
        let child = resources.launcher.launch(
            spec,
            Box::new(move |event| {
                // This runs on the spawner's thread, before any other part gets the event: no connection starts on a
                // dead process.
                match &event {
                    ChildEvent::Forked { pidfd, .. } => upstream.set_process(Arc::clone(pidfd)),
                    ChildEvent::Exited(exit) => upstream.set_ended(*exit == Exit::Code(0)),
                    ChildEvent::LeaderEnded => upstream.set_outlived(),
                    ChildEvent::Executed | ChildEvent::Failed(_) | ChildEvent::WentToBackground(_) => {}
                }
                report(WorkerEvent::Child(event));
            }),
        );
        let handle = new_channel.map(|new| {
            data_path.run_channel(slot, new.channel);
            new.handle
        });
        Ok(WorkerProcess {
            child,
            is_counted: self.is_counted,
            checks: Default::default(),
            listens: Default::default(),
            port_owner: Default::default(),
            listener: WorkerListener::new(private),
            notifications,
            channel: WorkerChannel::new(handle),
            progress: Progress::new(&context),
            admissions: Default::default(),
            recycling: Default::default(),
            drain: None,
            exit: Default::default(),
            context,
        })
    }
}

/// Returns the error of a program that could not be started, in words.
pub(super) fn start_error(state: Option<&ProcessState>, error: &StartError) -> String {
    let program = state.map(|state| state.config.program.to_string()).unwrap_or_default();
    let is_missing = error.stage == "exec" && error.source.kind() == std::io::ErrorKind::NotFound;
    let why = state.filter(|_| is_missing).and_then(|state| match &state.config.program {
        Program::Command(words) => unrunnable::explain(words.first()?, state.config.cwd.as_deref()),
        Program::Demo => None,
    });
    let why = why.unwrap_or_else(|| error.source.to_string());
    format!("cannot start `{program}`: {error}: {why}")
}
