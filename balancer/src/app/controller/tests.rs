//! Commands against a script that plays the supervisors and the listeners.

mod listeners;
mod message;
mod reload;

use std::path::PathBuf;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

use super::*;
use crate::admin::commands::Size;
use crate::app::LogLevel;
use crate::config::{self, Source, Sources};
use crate::pool::message::{Delivery, Message};
use crate::pool::operation::{Ends, Ledger};
use crate::stats::OperationResult;
use crate::supervisor::double;
use listeners::TestListeners;

/// A request to the supervisor of a pool, by the pool's number.
enum SupervisorRequest {
    Operate(OperationMessage),
    Send(WorkerMessage),
}

/// An operation that was asked of a pool.
struct OperationMessage {
    pool: usize,
    request: OperationRequest,
    reply: mpsc::UnboundedSender<Progress>,
}

/// A message that was sent to a pool's workers.
struct WorkerMessage {
    pool: usize,
    message: Message,
    reply: oneshot::Sender<Vec<Delivery>>,
}

/// The requests to the supervisors of all pools.
struct Supervisors(Vec<double::Requests>);

impl Supervisors {
    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<SupervisorRequest>> {
        let mut are_over = true;
        for (pool, requests) in self.0.iter_mut().enumerate() {
            match requests.poll_recv(context) {
                Poll::Ready(Some(double::Request::Operate(request, reply))) => {
                    return Some(SupervisorRequest::Operate(OperationMessage { pool, request, reply })).into();
                }
                Poll::Ready(Some(double::Request::Say(message, reply))) => {
                    return Some(SupervisorRequest::Send(WorkerMessage { pool, message, reply })).into();
                }
                Poll::Ready(None) => {}
                Poll::Pending => are_over = false,
            }
        }
        if are_over { Poll::Ready(None) } else { Poll::Pending }
    }

    async fn recv(&mut self) -> Option<SupervisorRequest> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    /// Returns true if nothing was asked that was not received yet.
    fn is_empty(&mut self) -> bool {
        self.poll_recv(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

/// A controller over the pools of a file, and the supervisors' side of it.
struct Bench {
    controller: Arc<Controller>,
    asked: Supervisors,
    pools: Vec<Arc<Pool>>,
    listeners: Arc<TestListeners>,
    /// Every `log.level` that was set.
    levels: Arc<Mutex<Vec<String>>>,
    /// Set when the master begins to stop.
    is_stopping: Arc<AtomicBool>,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

const TWO: &str = "[pool.api]\ncommand = [\"x\"]\nworkers = 2\nlisten = \":8001\"\n\
                   [pool.jobs]\ncommand = [\"y\"]\nworkers = 3\nlisten = \":8002\"\n";

impl Bench {
    fn new() -> Self {
        Self::of(TWO)
    }

    fn of(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("r.toml");
        std::fs::write(&file, text).unwrap();
        let sources = Sources { file: Some(Source::read(&file).unwrap()), cpus: 4, ..Sources::default() };
        let config = config::load(&sources).unwrap().config;
        let pool =
            |pool: &config::PoolConfig| Arc::new(Pool::new(pool.clone(), pool.workers.resolve(4), 1, Vec::new()));
        let pools: Vec<_> = config.pools.iter().map(pool).collect();
        let (listeners, levels) = (Arc::new(TestListeners::default()), Arc::new(Mutex::default()));
        let set = {
            let levels: Arc<Mutex<Vec<String>>> = Arc::clone(&levels);
            LogLevel::new(move |level| levels.lock().unwrap().push(level.to_owned()))
        };
        let config_source = ConfigSource::new(sources, Some(file.clone()), None);
        let (supervisors, asked): (Vec<_>, Vec<_>) = pools.iter().map(|_| double::handle()).unzip();
        let both = pools.iter().cloned().zip(supervisors).collect();
        let is_stopping = Arc::default();
        let public = Arc::<TestListeners>::clone(&listeners);
        let controller = Controller::new(both, config, config_source, public, set, Arc::clone(&is_stopping));
        let asked = Supervisors(asked);
        Self { controller, asked, pools, listeners, levels, is_stopping, file, _dir: dir }
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
    }

    fn command(&self, command: ControlCommand) -> mpsc::UnboundedReceiver<CommandUpdate> {
        let (reply, news) = mpsc::unbounded_channel();
        self.controller.take(CommandRequest { command, client: CommandClient::default(), reply });
        news
    }

    /// Returns the refusal of a command that is refused at once, or after the file was read.
    async fn refused(&self, command: ControlCommand) -> CommandError {
        match self.command(command).recv().await {
            Some(CommandUpdate::Refused(refused)) => refused,
            other => panic!("not refused: {other:?}"),
        }
    }

    async fn asked(&mut self) -> OperationMessage {
        match self.asked.recv().await.unwrap() {
            SupervisorRequest::Operate(message) => message,
            SupervisorRequest::Send(_) => panic!("no operation, a message"),
        }
    }

    /// Answers the next reload of a pool like a supervisor that takes the configuration.
    async fn take_config(&mut self) -> usize {
        let OperationMessage { pool, request, reply } = self.asked().await;
        let OperationRequest::Reload(config) = request else { panic!("{request:?}") };
        self.pools[pool].set_config(config);
        reply.send(report(OperationKind::Reload, Ok(()), 0)).unwrap();
        pool
    }

    fn ended(&self, pool: usize, verb: OperationKind) -> [u64; OperationResult::COUNT] {
        self.pools[pool].stats.operations[verb as usize].ended.each_ref().map(|counter| counter.get())
    }
}

impl Controller {
    /// A controller with nothing on it.
    pub(in crate::app) fn idle() -> Arc<Self> {
        let listeners = Arc::new(TestListeners::default());
        Self::new(
            Vec::new(),
            Config::default(),
            ConfigSource::default(),
            listeners,
            LogLevel::default(),
            Arc::default(),
        )
    }
}

fn scale(pool: &str, workers: Size) -> ControlCommand {
    ControlCommand::Scale { pool: pool.to_owned(), workers }
}

fn reload(pool: Option<&str>) -> ControlCommand {
    ControlCommand::Reload { pool: pool.map(str::to_owned) }
}

fn report(verb: OperationKind, result: Result<(), &str>, lost: u64) -> Progress {
    let ends = Some(Ends::default());
    let ledger = Some(Ledger { accepted: 5, cut: lost, ends, ..Ledger::default() });
    let (took, at) = (Duration::from_secs(1), SystemTime::now());
    Progress::Done(Report { verb, result: result.map_err(str::to_owned), generation: 2, took, at, ledger })
}

fn began(verb: OperationKind) -> Progress {
    Progress::Step(OperationStep::Began { verb, generation: 1, next_generation: None, slots: 2 })
}

#[tokio::test]
async fn operation_is_passed_on_reported_and_counted() {
    let mut bench = Bench::new();
    let mut news = bench.command(scale("jobs", Size::More(2)));
    let message = bench.asked().await;
    assert!(matches!(message, OperationMessage { pool: 1, request: OperationRequest::Scale(5), .. }));
    message.reply.send(began(OperationKind::Scale)).unwrap();
    message.reply.send(report(OperationKind::Scale, Ok(()), 0)).unwrap();
    let Some(CommandUpdate::Step { pool, plan, .. }) = news.recv().await else { panic!("no step") };
    assert_eq!((&*pool, plan.workers), ("jobs", Some((3, 5))));
    assert!(matches!(news.recv().await, Some(CommandUpdate::Report { report, .. }) if report.result.is_ok()));
    assert_eq!(news.recv().await, None);
    assert_eq!(bench.ended(1, OperationKind::Scale), [1, 0, 0, 0]);
}

#[tokio::test]
async fn pool_runs_one_operation_at_a_time_and_others_are_free() {
    let mut bench = Bench::new();
    let _news = bench.command(scale("api", Size::Exactly(4)));
    let first = bench.asked().await;
    for command in [scale("api", Size::Exactly(5)), reload(Some("api")), reload(None)] {
        let refused = bench.refused(command).await;
        assert_eq!(refused.kind, CommandErrorKind::Refused);
        assert_eq!(refused.why, "pool api is busy: scale is under way");
    }
    let mut other = bench.command(ControlCommand::Stop { pool: "jobs".into(), slots: SlotRange::All });
    let second = bench.asked().await;
    assert!(matches!(second, OperationMessage { pool: 1, request: OperationRequest::Stop(SlotRange::All), .. }));
    second.reply.send(report(OperationKind::Stop, Ok(()), 0)).unwrap();
    assert!(matches!(other.recv().await, Some(CommandUpdate::Report { .. })));
    // The pool is free again when the first operation is over.
    first.reply.send(report(OperationKind::Scale, Ok(()), 0)).unwrap();
    drop(first);
    loop {
        let mut news = bench.command(scale("api", Size::Exactly(5)));
        tokio::select! {
            message = bench.asked() => {
                assert!(matches!(message.request, OperationRequest::Scale(5)));
                break;
            }
            Some(CommandUpdate::Refused(_)) = news.recv() => {}
        }
    }
    assert_eq!(bench.ended(0, OperationKind::Reload)[OperationResult::Refused as usize], 2);
}

#[tokio::test]
async fn unknown_pool_or_slot_is_refused() {
    let bench = Bench::new();
    let refused = bench.refused(scale("apj", Size::Max)).await;
    assert_eq!(
        (refused.kind, refused.hint.as_deref()),
        (CommandErrorKind::NoTarget, Some("did you mean `api`? pools: api, jobs"))
    );
    let restart = ControlCommand::Restart { pool: "api".into(), slots: SlotRange::Slots(1, 2) };
    let refused = bench.refused(restart).await;
    assert_eq!((refused.kind, refused.why.as_str()), (CommandErrorKind::NoTarget, "pool api has no worker 2"));
    assert_eq!(refused.hint.as_deref(), Some("its workers are api/0 to api/1"));
    let refused = bench.refused(scale("api", Size::Fewer(2))).await;
    assert_eq!(refused.kind, CommandErrorKind::Refused);
}

#[tokio::test]
async fn supervisor_that_refuses_or_ends_is_reported() {
    let mut bench = Bench::new();
    let mut news = bench.command(scale("api", Size::Max));
    bench.asked().await.reply.send(Progress::Refused("not now".into())).unwrap();
    let Some(CommandUpdate::Refused(refused)) = news.recv().await else { panic!("not refused") };
    assert_eq!((refused.why.as_str(), refused.pool.as_deref()), ("not now", Some("api")));
    assert_eq!(bench.ended(0, OperationKind::Scale), [0, 0, 0, 1]);

    // The operation begins and then its channel closes without a report.
    let mut news = bench.command(scale("jobs", Size::Max));
    let message = bench.asked().await;
    message.reply.send(began(OperationKind::Scale)).unwrap();
    drop(message);
    assert!(matches!(news.recv().await, Some(CommandUpdate::Step { .. })));
    let Some(CommandUpdate::Report { report, .. }) = news.recv().await else { panic!("no report") };
    assert_eq!(report.result, Err("the pool ended before it was over".to_owned()));
    assert_eq!(bench.ended(1, OperationKind::Scale), [0, 0, 1, 0]);

    // The master stops: no supervisor takes requests.
    drop(bench.asked);
    let (reply, mut news) = mpsc::unbounded_channel();
    bench.controller.take(CommandRequest { command: scale("api", Size::Max), client: CommandClient::default(), reply });
    assert!(
        matches!(news.recv().await, Some(CommandUpdate::Refused(refused)) if refused.kind == CommandErrorKind::Stopping)
    );
}

#[tokio::test]
async fn sighup_reloads_everything_and_nobody_need_listen() {
    let mut bench = Bench::new();
    bench.controller.reload_by_signal();
    for pool in 0..2 {
        let message = bench.asked().await;
        assert_eq!(message.pool, pool);
        message.reply.send(report(OperationKind::Reload, Ok(()), 0)).unwrap();
    }
}

#[tokio::test]
async fn stopping_master_asks_no_supervisor_for_anything() {
    let mut bench = Bench::new();
    bench.is_stopping.store(true, Ordering::SeqCst);
    let stopping = CommandError { pool: Some("api".to_owned()), ..CommandError::stopping() };
    assert_eq!(bench.refused(scale("api", Size::More(1))).await, stopping);
    assert_eq!(bench.refused(reload(Some("api"))).await, stopping);
    assert!(bench.asked.is_empty());
}

#[tokio::test]
async fn strategy_command_leaves_the_configured_strategy_unchanged() {
    let mut bench = Bench::new();
    let mut news = bench.command(ControlCommand::Strategy { pool: "api".to_owned(), name: "p2c" });
    let message = bench.asked().await;
    assert!(
        matches!(message, OperationMessage { pool: 0, request: OperationRequest::Strategy(entry), .. } if entry.name == "p2c")
    );
    message.reply.send(began(OperationKind::Strategy)).unwrap();
    let Some(CommandUpdate::Step { plan, .. }) = news.recv().await else { panic!("no step") };
    assert_eq!(plan.strategy, Some(("round-robin", "p2c")));
    message.reply.send(report(OperationKind::Strategy, Ok(()), 0)).unwrap();
    assert!(matches!(news.recv().await, Some(CommandUpdate::Report { .. })));
    assert_eq!(bench.ended(0, OperationKind::Strategy), [1, 0, 0, 0]);
    assert_eq!(bench.controller.config().pools[0].strategy, "round-robin");
    let unknown = bench.refused(ControlCommand::Strategy { pool: "apj".to_owned(), name: "p2c" }).await;
    assert_eq!(unknown.kind, CommandErrorKind::NoTarget);
}
