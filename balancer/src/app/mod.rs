//! Wiring, the order of start and stop.
//!
//! Start: everything that can fail is opened first (control socket, public listeners, admin port), so that a master that
//! cannot run has started nothing. Stop: `/readyz` says 503, the public listeners are emptied and closed, connections
//! finish until the drain deadline, workers are ended, and the admin port goes last so that all of it can be watched.

mod banner;
mod listen;
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

use crate::admin::{self, door::ControlDoor};
use crate::config::Config;
use crate::dispatch::{DataThreads, Limits, Report};
use crate::failure::{Failure, code};
use crate::net::listeners::Listener;
use crate::os::{limits, run_dir, spawner::Spawner};
use crate::output::Output;
use crate::pool::Pool;
use crate::rotation::SlotId;
use crate::supervisor::{Connections, Resources, SpawnBudget, Supervisor};
use signals::Signals;

/// What the master is to run, and where that was said.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Checked: no rule is broken.
    pub config: Config,
    /// For the banner.
    pub origin: Origin,
}

/// Where a configuration came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing was said: the built-in demo pool.
    Demo,
    /// `run -- CMD`.
    CommandLine,
    /// This file.
    File(PathBuf),
}

/// Descriptors that are kept for everything but client connections: listeners, pipes, admin, the log.
const RESERVED_DESCRIPTORS: u64 = 256;

/// Runs the master until it is told to stop.
///
/// # Errors
///
/// What could not be opened or started, or why a pool gave up, with the exit code; nothing is left behind.
pub fn run(plan: Plan) -> Result<ExitCode, Failure> {
    let cannot = |what: &'static str| move |cause| Failure::new(code::FAILED, format!("cannot {what}")).cause(cause);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(cannot("start the supervisor's runtime"))?.block_on(serve(plan))
}

/// One pool and its supervisor.
pub(crate) struct Running {
    pub(crate) pool: Arc<Pool>,
    pub(crate) supervisor: Supervisor,
}

async fn serve(plan: Plan) -> Result<ExitCode, Failure> {
    let cannot = |what: &'static str| move |cause| Failure::new(code::FAILED, format!("cannot {what}")).cause(cause);
    let Plan { config, origin } = plan;
    let files = limits::raise_open_files();
    let signals = Signals::listen().map_err(cannot("listen for signals"))?;

    // What can be refused, before anything is started.
    let door = admin::door::path(&config.master.control).map(|path| ControlDoor::open(&path)).transpose()?;
    let admin_listener = listen::admin(&config.admin)?;
    let admin_address = admin_listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let public = listen::public(&config.pools)?;
    let run_dir = run_dir::create().map_err(cannot("make a folder for this run's sockets"))?;
    let output = Output::start().map_err(cannot("start reading the workers' output"))?;
    let spawner = Spawner::start().map_err(cannot("start the spawner"))?;

    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = config.master.threads.resolve(cpus);
    let pools: Vec<(Arc<Pool>, Vec<Listener>)> = std::iter::zip(config.pools, public)
        .map(|(pool, listeners)| {
            let workers = pool.workers.resolve(cpus);
            let listening = listeners.iter().map(|listener| listener.address().clone()).collect();
            (Arc::new(Pool::new(pool, workers, threads, listening)), listeners)
        })
        .collect();
    let max_connections = config.master.max_connections.unwrap_or_else(|| connections_within(files.raised));

    let (reports, inbox) = mpsc::unbounded_channel();
    let shared: Vec<Arc<Pool>> = pools.iter().map(|(pool, _)| Arc::clone(pool)).collect();
    let data = DataThreads::start(threads, pools, Limits { max_connections }, reports)
        .map_err(cannot("start the data threads"))?;
    let data = Arc::new(data);

    let is_stopping = Arc::new(AtomicBool::new(false));
    let master = admin::Master {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: SystemTime::now(),
        admin: admin_address,
        max_connections: Some(max_connections),
        is_stopping: Arc::clone(&is_stopping),
    };
    let admin_stop = CancellationToken::new();
    let admin_thread = start_admin(master, &shared, admin_listener, door.as_ref(), &admin_stop)?;

    let workers: u32 = shared.iter().map(|pool| u32::try_from(pool.slots.len()).unwrap_or(u32::MAX)).sum();
    let rate = config.master.spawn_rate;
    let resources = Arc::new(Resources::new(
        Arc::new(spawner),
        output.clone(),
        run_dir.path().to_owned(),
        files.inherited,
        SpawnBudget::new(rate, workers.max(rate), Instant::now()),
    ));
    banner::print(&origin, &shared, admin_address, door.as_ref().map(ControlDoor::path));
    let running: Vec<Running> = shared
        .into_iter()
        .enumerate()
        .map(|(index, pool)| {
            let connections = Arc::new(PoolConnections { data: Arc::clone(&data), pool: index });
            Running { supervisor: Supervisor::start(Arc::clone(&pool), Arc::clone(&resources), connections), pool }
        })
        .collect();
    tokio::spawn(pass_on(inbox, running.iter().map(|one| one.supervisor.informer()).collect()));

    let result = stop::run_until_stopped(running, &data, signals, &is_stopping).await;
    admin_stop.cancel();
    let _ = admin_thread.join();
    output.flush();
    result
}

/// How many client connections `files` descriptors allow: two each, less a reserve.
fn connections_within(files: u64) -> usize {
    usize::try_from(files.saturating_sub(RESERVED_DESCRIPTORS) / 2).unwrap_or(usize::MAX).max(1)
}

/// One pool's connections on the data threads.
struct PoolConnections {
    data: Arc<DataThreads>,
    pool: usize,
}

impl Connections for PoolConnections {
    fn orphan(&self, slot: SlotId, incarnation: u64) {
        self.data.orphan(self.pool, slot, incarnation);
    }

    fn cut(&self, slot: SlotId, incarnation: u64) {
        self.data.cut(self.pool, slot, incarnation);
    }
}

/// Gives what the data threads saw of a worker to its pool.
async fn pass_on(mut inbox: mpsc::UnboundedReceiver<Report>, informers: Vec<crate::supervisor::Informer>) {
    while let Some(Report::ConnectFailed { pool, slot, incarnation, .. }) = inbox.recv().await {
        if let Some(informer) = informers.get(pool) {
            informer.connect_failed(slot, incarnation);
        }
    }
}

fn start_admin(
    master: admin::Master,
    pools: &[Arc<Pool>],
    tcp: Option<std::net::TcpListener>,
    door: Option<&ControlDoor>,
    stop: &CancellationToken,
) -> Result<std::thread::JoinHandle<()>, Failure> {
    let failed =
        |cause: &dyn std::fmt::Display| Failure::new(code::FAILED, "cannot start the admin thread").cause(cause);
    let context = admin::Context::new(master, pools.to_vec(), prometheus::Registry::new()).map_err(|e| failed(&e))?;
    let control = door.map(ControlDoor::listener).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| failed(&e))?;
    let stop = stop.clone();
    let serve = move || runtime.block_on(admin::serve(Arc::new(context), tcp, control, stop));
    let thread = std::thread::Builder::new().name("admin".into()).spawn(serve);
    thread.map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_limit_bounds_connections_with_a_reserve() {
        assert_eq!([0, 256, 1024, 20_000].map(connections_within), [1, 1, 384, 9_872]);
    }
}
