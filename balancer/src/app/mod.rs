//! Wires the parts together, and orders start and stop.
//!
//! Start: everything that can fail is opened first (control socket, public listeners, admin port), so that a master
//! that cannot run has started no worker. Stop: `/readyz` answers 503, the public listeners are emptied and closed,
//! connections finish until the drain deadline, workers are ended; the admin port closes last, so that the stop can be
//! watched. In between, the controller carries out commands from the control socket and SIGHUP by sending requests to
//! the supervisors.

mod banner;
mod config_source;
mod controller;
mod data_path;
mod descriptors;
mod inputs;
mod listen;
mod listeners;
mod signals;
mod stop;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, control_socket::ControlSocket};
use crate::config::{self, Config};
use crate::dispatch::DataThreads;
use crate::failure::{Failure, code};
use crate::mode::Acceptor;
use crate::net::listeners::Listener;
use crate::net::public::Public;
use crate::os::{activation::Activated, limits, run_dir::RunDirs, spawner::Spawner};
use crate::output::Output;
use crate::pool::Pool;
use crate::supervisor::{self, Resources, SpawnBudget, SupervisorHandle, SupervisorTask};
use controller::Controller;
use data_path::{PoolDataPath, report_to};
use inputs::Inputs;
use listeners::PublicListeners;
use signals::Signals;

pub use config_source::ConfigSource;

/// The configuration that the master is to run, and its source.
#[derive(Debug)]
pub struct Setup {
    /// The checked configuration: it breaks no rule.
    pub config: Config,
    /// The origin of the configuration, for the banner.
    pub origin: Origin,
    /// The source that a reload reads again.
    pub config_source: ConfigSource,
    /// The handle by which a reload changes `log.level`.
    pub log_level: LogLevel,
    /// The listeners that were passed to this process.
    pub activated: Vec<Activated>,
}

/// Changes the level of the master's own log while it runs. The default changes nothing.
#[derive(Clone, Default)]
pub struct LogLevel(Option<Arc<SetLevel>>);

type SetLevel = dyn Fn(&str) + Send + Sync;

impl LogLevel {
    /// Uses a function that gets the new `log.level`.
    pub fn new(set: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(set)))
    }

    fn set(&self, level: &str) {
        if let Some(set) = &self.0 {
            set(level);
        }
    }
}

impl std::fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogLevel").finish_non_exhaustive()
    }
}

/// The origin of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// No program and no file was given: the built-in demo pool.
    Demo,
    /// The command line: `run -- CMD`.
    CommandLine,
    /// This file.
    File(PathBuf),
}

/// Runs the master until it is told to stop; `output` takes in what its workers write.
///
/// # Errors
///
/// If something could not be opened or started, or if a pool gave up; with the exit code. Nothing is left behind.
pub fn run(plan: Setup, output: &Output) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(cannot("start the supervisor's runtime"))?.block_on(serve(plan, output))
}

/// One pool and its supervisor.
pub(crate) struct Running {
    pub(crate) pool: Arc<Pool>,
    pub(crate) supervisor: SupervisorHandle,
    pub(crate) task: SupervisorTask,
}

async fn serve(plan: Setup, output: &Output) -> Result<ExitCode, Failure> {
    let Setup { config, origin, config_source, log_level, activated } = plan;
    let start_dir = config_source.start_dir.clone();
    let files = limits::raise_open_files();
    let signals = Signals::listen().map_err(cannot("listen for signals"))?;

    // First everything that may fail, before any process is started.
    let control_socket = admin::control_socket::path(&config.master.control)
        .map(|path| ControlSocket::open(&path))
        .transpose()?
        .map(Arc::new);
    let mut passed = listen::passed(activated);
    let admin_listener = listen::admin(&config.admin, &mut passed)?;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let public = listen::public(&config.pools, cpus, &mut passed)?;
    listen::close_unused(passed);
    output.open_logs(&config.pools)?;
    let has_others = config.pools.iter().any(|pool| pool.identity.as_ref().is_some_and(|found| found.owner.is_some()));
    let run_dirs = RunDirs::create(has_others).map_err(cannot("make a folder for this run's sockets"))?;

    let spawner = Spawner::start().map_err(cannot("start the spawner"))?;
    signals::reap_orphans(&spawner).map_err(cannot("listen for signals"))?;

    let threads = config.master.threads.resolve(cpus);
    let sized = config.pools.iter().map(|pool| (pool, pool.workers.resolve(cpus)));
    let reserve = descriptors::reserve(sized, threads);
    let limits = descriptors::limits(config.master.max_connections, files.raised, reserve);
    descriptors::warn_if_few(files.raised, reserve, config.master.max_connections, limits.max_connections);
    let serve = |(pool, bound): (config::PoolConfig, listen::Bound)| {
        let listening = ListeningPool::new(pool, bound.public, cpus, threads);
        let configured = (Arc::clone(&listening.pool), bound.configured);
        (listening, configured)
    };
    let (listening, configured): (Vec<ListeningPool>, Vec<_>) =
        std::iter::zip(config.pools.clone(), public).map(serve).unzip();
    let pools: Vec<Arc<Pool>> = listening.iter().map(|one| Arc::clone(&one.pool)).collect();

    let is_stopping = Arc::new(AtomicBool::new(false));
    let master = admin::Master {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: SystemTime::now(),
        admin: admin_listener.as_ref().and_then(|listener| listener.local_addr().ok()),
        max_connections: Some(limits.max_connections),
        is_stopping: Arc::clone(&is_stopping),
    };
    banner::print(&origin, &pools, master.admin, control_socket.as_deref().map(ControlSocket::path));
    banner::print_later(&pools);
    let admin_stop = CancellationToken::new();
    let (commands, received) = mpsc::channel(admin::commands::QUEUE);
    let context = admin::Context::new(master, pools.clone(), prometheus::Registry::new());
    let context = context.map_err(cannot("register the metrics"))?.with_commands(commands);
    let admin_thread = start_admin(context, admin_listener, control_socket.clone(), &admin_stop)?;

    let (supervisors, inboxes): (Vec<_>, Vec<_>) = pools.iter().map(|_| supervisor::channel()).unzip();
    let (accepted_here, inherited): (Vec<_>, Vec<_>) = listening.into_iter().map(ListeningPool::divide).unzip();
    let data = DataThreads::start(threads, accepted_here, limits, report_to(supervisors.clone()));
    let data = Arc::new(data.map_err(cannot("start the data threads"))?);
    let listeners = PublicListeners::new(Arc::clone(&data), &configured);

    let workers: usize = pools.iter().map(|pool| pool.slots().len()).sum();
    let rate = config.master.spawn_rate;
    let burst = u32::try_from(workers).unwrap_or(u32::MAX).max(rate);
    let budget = SpawnBudget::new(rate, burst, Instant::now());
    let resources =
        Arc::new(Resources::new(Arc::new(spawner), output.clone(), run_dirs, start_dir, files.inherited, budget));
    let each = pools.into_iter().zip(inherited).zip(supervisors.into_iter().zip(inboxes)).enumerate();
    let running = each.map(|(index, ((pool, inherited), (supervisor, inbox)))| {
        let data_path = Arc::new(PoolDataPath::new(&data, index, &pool, &inherited)?);
        let task = supervisor.start(inbox, Arc::clone(&pool), Arc::clone(&resources), data_path, inherited)?;
        Ok(Running { pool, supervisor, task })
    });
    let running = running.collect::<std::io::Result<Vec<_>>>();
    let running = running.map_err(cannot("hand the listeners to the workers"))?;

    let handles = running.iter().map(|one| (Arc::clone(&one.pool), one.supervisor.clone())).collect();
    let controller = Controller::new(handles, config, config_source, listeners, log_level, Arc::clone(&is_stopping));
    let inputs = Inputs { commands: received, controller };

    let result = stop::run_until_stopped(running, &data, signals, inputs, &is_stopping).await;
    admin_stop.cancel();
    let _ = admin_thread.join();
    result
}

/// Returns a function that makes an error of a failed step of the start.
fn cannot<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Failure {
    move |cause| Failure::new(code::FAILED, format!("cannot {what}")).cause(cause)
}

/// A pool and its open public listeners.
struct ListeningPool {
    pool: Arc<Pool>,
    public: Public,
}

impl ListeningPool {
    fn new(pool: config::PoolConfig, public: Public, cpus: usize, threads: usize) -> Self {
        let workers = pool.workers.resolve(cpus);
        let listening = public.addresses();
        Self { pool: Arc::new(Pool::new(pool, workers, threads, listening)), public }
    }

    /// Gives the listeners either to the data threads or to the workers by inheritance, never to both: a worker may
    /// make a socket blocking that it inherits.
    fn divide(self) -> ((Arc<Pool>, Vec<Listener>), Public) {
        match (self.pool.mode.acceptor(), self.public) {
            (Acceptor::Master, Public::Listeners(listeners)) => ((self.pool, listeners), Public::Listeners(Vec::new())),
            (Acceptor::Workers, public) | (Acceptor::Master, public @ Public::Groups(_)) => {
                ((self.pool, Vec::new()), public)
            }
        }
    }
}

fn start_admin(
    context: admin::Context,
    tcp: Option<std::net::TcpListener>,
    control: Option<Arc<ControlSocket>>,
    stop: &CancellationToken,
) -> Result<std::thread::JoinHandle<()>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(cannot("start the admin runtime"))?;
    let stop = stop.clone();
    let serve = move || runtime.block_on(admin::serve(Arc::new(context), tcp, control, stop));
    let thread = std::thread::Builder::new().name("admin".into()).spawn(serve);
    thread.map_err(cannot("start the admin thread"))
}
