//! Tests of a slot with its processes: no program is started, and the data path is a double.

use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::listener_owner::{OwnerCheck, Stranger};
use super::notify::NotifyMessage;
use super::*;
use crate::channel::Channel;
use crate::config::{Address, PoolConfig, Program};
use crate::dispatch::Client;
use crate::net::listeners::Listener;
use crate::os::child::{ChildId, EndRequest, Exit, Launcher, Sink, Spec, StartError};
use crate::os::run_dir::RunDirs;
use crate::output::Output;
use crate::pool::Pool;
use crate::supervisor::slot::Effect;
use crate::supervisor::slot::health::Sign;
use crate::supervisor::{DataPath, Input, Resources, SpawnBudget, WorkerEvent};

/// Starts nothing, and remembers how processes were to end.
#[derive(Default)]
struct FakeLauncher(Mutex<Vec<EndRequest>>);

impl Launcher for FakeLauncher {
    fn launch(&self, _: Spec, _: Sink) -> ChildId {
        ChildId(1)
    }

    fn end(&self, _: ChildId, ending: EndRequest) {
        self.0.lock().unwrap().push(ending);
    }
}

/// Carries no connections, and counts the processes whose exit it was told.
#[derive(Default)]
struct FakeDataPath(AtomicUsize);

impl DataPath for FakeDataPath {
    fn worker_exited(&self, _: SlotId, _: u64, _: Vec<OwnedFd>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn recall(&self, _: SlotId, _: u64, _: Vec<OwnedFd>) {}

    fn close_idle(&self, _: SlotId, _: u64) {}

    fn run_channel(&self, _: SlotId, _: Channel) {}

    fn add_listener(&self, _: Listener, _: u32) -> std::io::Result<()> {
        Ok(())
    }

    fn close_listener(&self, _: &Address) {}

    fn abort(&self, _: SlotId, _: u64) {}

    fn relay_to_public(&self, _: usize, _: &mut dyn FnMut() -> Option<Client>) -> usize {
        0
    }
}

struct World {
    worker: WorkerSlot,
    launcher: Arc<FakeLauncher>,
    data_path: Arc<FakeDataPath>,
    inbox: mpsc::UnboundedReceiver<Input>,
}

impl World {
    fn new() -> Self {
        let (launcher, data_path) = (Arc::new(FakeLauncher::default()), Arc::new(FakeDataPath::default()));
        let budget = SpawnBudget::new(1, 1, Instant::now());
        let (output, run_dirs) = (Output::start().unwrap(), RunDirs::create(false).unwrap());
        let resources = Resources::new(Arc::clone(&launcher) as _, output, run_dirs, None, None, budget);
        let config = PoolConfig { settle: Duration::ZERO, ..PoolConfig::new("test", Program::Demo) };
        let (inputs, inbox) = mpsc::unbounded_channel();
        let context = Context {
            pool: Arc::new(Pool::new(config, 1, 1, Vec::new())),
            resources: Arc::new(resources),
            data_path: Arc::clone(&data_path) as _,
            inputs,
            logged_owners: Default::default(),
            log_limit: Default::default(),
        };
        Self { worker: WorkerSlot::new(0, 1, &Arc::new(context)), launcher, data_path, inbox }
    }

    /// A slot whose first process has become ready.
    fn ready() -> Self {
        let mut world = Self::new();
        world.tell(Event::Start);
        world.tell(Event::Ready(1));
        assert_eq!(world.worker.status().state, SlotState::Ready);
        world
    }

    /// Gives the slot an event, and applies the effects that it decides.
    fn tell(&mut self, event: Event) {
        let (worker, now) = (&mut self.worker, Instant::now());
        for effect in worker.slot.on(event, now) {
            match effect {
                Effect::Launch(n) => worker.launch(n, 1, &[], now).unwrap(),
                Effect::Admit(n) => worker.admitted(n, now),
                Effect::Suspect(n) => worker.suspected(n),
                Effect::Drain(n) => worker.begin_drain(n, now),
                Effect::Terminate(n) => worker.terminate(n, now),
                Effect::Late(n) => worker.late(n),
                _ => {}
            }
        }
        worker.record_state();
    }

    /// Returns the next event of a process.
    async fn next(&mut self) -> WorkerEvent {
        match tokio::time::timeout(Duration::from_secs(20), self.inbox.recv()).await {
            Ok(Some(Input::Worker { event, .. })) => event,
            other => panic!("no event: {other:?}"),
        }
    }

    fn exit(&mut self, incarnation: u64, exit: Exit) {
        self.worker.exited(incarnation, Some(exit));
        self.tell(Event::Exited(incarnation));
    }
}

#[tokio::test]
async fn drained_worker_is_terminated_and_counted() {
    let mut world = World::ready();
    world.tell(Event::Stop);
    assert!(world.worker.next_deadline().is_some(), "it is looked at until it is quiesced");
    let mut now = Instant::now();
    let quiesced = loop {
        now += Duration::from_millis(50);
        if let Some(event) = world.worker.check_drains(now).pop() {
            break event;
        }
    };
    world.tell(quiesced);
    assert!(world.launcher.0.lock().unwrap().is_empty(), "its connections come first");
    assert!(matches!(world.next().await, WorkerEvent::Drained));
    world.tell(Event::Drained(1));
    assert!(matches!(world.launcher.0.lock().unwrap()[..], [EndRequest::Stop(..)]));
    world.exit(1, Exit::Code(0));
    assert_eq!(world.data_path.0.load(Ordering::SeqCst), 1);
    assert!(!world.worker.has_process() && !world.worker.is_over(), "its connections are not counted yet");
    assert_eq!(world.worker.exit_of(1), Some("exit code 0"));
    while !matches!(world.next().await, WorkerEvent::Counted(..)) {}
    world.worker.counted();
    assert!(world.worker.is_over());
}

#[tokio::test]
async fn failed_start_is_told_once_its_last_lines_are_known() {
    let mut world = World::new();
    world.tell(Event::Start);
    let error = StartError { stage: "exec".to_owned(), source: std::io::ErrorKind::NotFound.into() };
    assert!(matches!(world.worker.start_failed(1, &error), Some(Event::Exited(1))), "no exit follows");
    assert!(world.worker.startup_report().cannot_start);
    let WorkerEvent::LastLines(lines) = world.next().await else { panic!("no last lines") };
    let Some(WorkerOutcome::Failed { why, .. }) = world.worker.record_last_lines(1, Arc::clone(&lines)) else {
        panic!("not told")
    };
    assert!(why.starts_with("cannot start"), "{why}");
    assert!(world.worker.record_last_lines(1, lines).is_none(), "told once");
}

#[tokio::test]
async fn worker_on_a_taken_port_ends_with_that_reason() {
    let mut world = World::new();
    world.tell(Event::Start);
    let stranger = Stranger { uid: 4242, user: None, holder: "process 1 (init)".to_owned() };
    let event = world.worker.port_owner_seen(1, OwnerCheck::Stranger(stranger));
    assert!(matches!(event, Some(Event::PortTaken(1))), "{event:?}");
    world.tell(Event::PortTaken(1));
    world.exit(1, Exit::Signal(libc::SIGTERM));
    let told = world.worker.exit_of(1).map(str::to_owned);
    assert!(told.as_ref().is_some_and(|told| told.contains("uid 4242")), "{told:?}");
}

#[tokio::test]
async fn late_worker_is_told_with_its_last_check() {
    let mut world = World::new();
    world.tell(Event::Start);
    let what = "connection refused".to_owned();
    let result = probe::CheckResult { check: crate::stats::Check::Fail, what, took: Duration::ZERO };
    assert!(world.worker.probed(1, Some(result), Instant::now()).is_none());
    world.worker.late(1);
    let Some(WorkerOutcome::Failed { why, .. }) = world.worker.lateness(1) else { panic!("not told") };
    assert!(why.starts_with("not ready within") && why.ends_with("its last check: connection refused"), "{why}");
}

#[tokio::test]
async fn status_shows_the_last_text_and_the_reason_of_a_suspicion() {
    let mut world = World::ready();
    assert!(world.worker.on_notify(1, NotifyMessage::Status("warm".to_owned()), Instant::now()).is_none());
    assert_eq!(world.worker.status().status_text.as_deref(), Some("warm"));
    let event = world.worker.on_notify(1, NotifyMessage::Stopping, Instant::now()).unwrap();
    world.tell(event);
    let status = world.worker.status();
    assert_eq!((status.state, status.status_text.as_deref()), (SlotState::Suspect, Some("stopping")));
    assert!(status.reason.is_some_and(|reason| reason.contains("said that it ends")));
    world.tell(Event::Sign(1, Sign::Ending(false)));
    assert_eq!(world.worker.status().reason, None);
}
