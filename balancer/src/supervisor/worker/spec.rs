//! Turns a pool's configuration into the process to start. Pure.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use worker_runtime::protocol;

use crate::channel::WORKER_FD;
use crate::config::{self, Program, StopSignal};
use crate::os::account::Identity;
use crate::os::child::{Background, Inherited, ListensAt, Spec, StartError, Trail};
use crate::os::start_dir::is_plain;
use crate::rotation::{Endpoint, SlotId};
use rustix::process::Signal;

/// The hidden subcommand that is the demo worker.
pub const DEMO_COMMAND: &str = "demo-worker";

/// The inputs of a start that differ between incarnations.
#[derive(Debug)]
pub(in crate::supervisor) struct SpawnContext<'a> {
    pub(in crate::supervisor) slot: SlotId,
    pub(in crate::supervisor) workers: u32,
    pub(in crate::supervisor) generation: u64,
    pub(in crate::supervisor) endpoint: &'a Endpoint,
    pub(in crate::supervisor) notify: &'a Path,
    pub(in crate::supervisor) listen: &'a [Arc<OwnedFd>],
    pub(in crate::supervisor) channel: Option<ChannelEnd<'a>>,
}

/// The master's environment, directory and limit, which a worker inherits.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::supervisor) struct Surroundings<'a> {
    /// The environment from which a worker's is made.
    pub(in crate::supervisor) inherited: &'a [(OsString, OsString)],
    /// The directory in which the master was started.
    pub(in crate::supervisor) start_dir: Option<&'a Path>,
    /// The soft limit of open files.
    pub(in crate::supervisor) nofile: Option<u64>,
}

/// A worker's end of its channel.
#[derive(Debug)]
pub(in crate::supervisor) struct ChannelEnd<'a> {
    pub(in crate::supervisor) end: &'a Arc<OwnedFd>,
    /// Its `cluster.worker.id`, if Node is at that end: from 1, and never used again.
    pub(in crate::supervisor) node_id: Option<u64>,
}

/// Builds the program, arguments and environment of a worker.
///
/// The environment is the master's, without the variables that the master itself got as a worker of another program;
/// then the pool's `env`; then the names of the worker contract, which win. A worker of another user gets that user's
/// `HOME`, `USER` and `LOGNAME`, unless the pool's `env` sets them.
///
/// # Errors
///
/// If the pool names a user or group that was not looked up: the worker must not run as the master instead.
pub(in crate::supervisor) fn spec(
    pool: &config::PoolConfig,
    spawn_context: &SpawnContext<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<Spec, StartError> {
    let Surroundings { inherited, start_dir, nofile } = *surroundings;
    let identity = identity(pool)?;
    let port = port_text(spawn_context.endpoint).unwrap_or_default();
    let (program, args) = match &pool.program {
        // This is the magic link, not a path: it still is our program after the file was replaced by a newer one.
        Program::Demo => (OsString::from("/proc/self/exe"), vec![DEMO_COMMAND.into()]),
        Program::Command(words) => {
            let (program, args) = words.split_first().map_or(("", [].as_slice()), |(first, rest)| (first, rest));
            let fill = |arg: &String| arg.replace("{port}", &port.to_string_lossy()).into();
            (program.into(), args.iter().map(fill).collect())
        }
    };
    // Without `listen` the application chooses where it listens, and its caller may tell it by these variables.
    let asks_itself = pool.listen.is_empty();
    let is_callers = |name: &OsStr| asks_itself && (name == protocol::PORT || name == protocol::HOST);
    let is_kept = |name: &OsStr| !protocol::is_scrubbed(name) || is_callers(name);
    let mut env: Vec<_> = inherited.iter().filter(|(name, _)| is_kept(name)).cloned().collect();
    // The master's own `PWD` is that of another directory, or the target of a deploy's link.
    env.retain(|(name, _)| name != "PWD");
    env.extend(working_dir(pool, start_dir).map(|dir| ("PWD".into(), dir.into_os_string())));
    let login = identity.and_then(|identity| identity.login.as_ref());
    if login.is_some() {
        env.retain(|(name, _)| !["HOME", "USER", "LOGNAME"].iter().any(|masters| name == masters));
    }
    let mut set = |name: &str, value: &OsStr| {
        env.retain(|(other, _)| other != name);
        env.push((name.into(), value.into()));
    };
    if let Some(login) = login {
        set("HOME", login.home.as_ref());
        for name in login.name.iter() {
            set("USER", name.as_ref());
            set("LOGNAME", name.as_ref());
        }
    }
    for (name, value) in &pool.env {
        set(name, value.as_ref());
    }
    match (&spawn_context.channel, spawn_context.listen.len()) {
        (Some(line), _) => {
            let channel = WORKER_FD.to_string();
            match line.node_id {
                None => set(protocol::ROUNDELAY_CHANNEL_FD, channel.as_ref()),
                Some(id) => {
                    set(protocol::NODE_CHANNEL_FD, channel.as_ref());
                    set(protocol::NODE_CHANNEL_SERIALIZATION_MODE, "json".as_ref());
                    set(protocol::NODE_UNIQUE_ID, id.to_string().as_ref());
                }
            }
        }
        (None, 0) => {
            set(protocol::PORT, &port);
            set(protocol::HOST, "127.0.0.1".as_ref());
        }
        (None, count) => {
            set(protocol::LISTEN_FDS, count.to_string().as_ref());
            set(protocol::LISTEN_FDNAMES, vec![pool.name.as_str(); count].join(":").as_ref());
        }
    }
    set(protocol::ROUNDELAY_POOL, pool.name.as_ref());
    set(protocol::ROUNDELAY_WORKER, spawn_context.slot.to_string().as_ref());
    set(protocol::ROUNDELAY_WORKERS, spawn_context.workers.to_string().as_ref());
    set(protocol::ROUNDELAY_GENERATION, spawn_context.generation.to_string().as_ref());
    set(protocol::NODE_APP_INSTANCE, spawn_context.slot.to_string().as_ref());
    set(protocol::NOTIFY_SOCKET, spawn_context.notify.as_os_str());
    if !pool.health.heartbeat.is_zero() {
        set(protocol::WATCHDOG_USEC, pool.health.heartbeat.as_micros().to_string().as_ref());
    }
    Ok(Spec {
        program,
        args,
        env,
        start_dir: start_dir.map(Path::to_owned),
        cwd: pool.cwd.clone(),
        nofile: pool.limit_nofile.or(nofile),
        core: pool.limit_core,
        credentials: identity.and_then(|identity| identity.change.clone()),
        no_new_privs: pool.no_new_privs,
        inherits: match &spawn_context.channel {
            Some(line) => Inherited::Channel(Arc::clone(line.end)),
            None => Inherited::Listeners(spawn_context.listen.to_vec()),
        },
        trail: Trail {
            notify: spawn_context.notify.as_os_str().to_owned(),
            listens_at: listens_at(spawn_context.endpoint, !spawn_context.listen.is_empty()),
            signal: signal_of(pool.stop_signal),
            kill_timeout: pool.kill_timeout,
            is_kept: pool.background == Background::Keep,
        },
    })
}

/// The directory in which a worker of the pool runs, if it has a name that programs accept as `PWD`.
fn working_dir(pool: &config::PoolConfig, start_dir: Option<&Path>) -> Option<PathBuf> {
    let dir = match (start_dir, &pool.cwd) {
        (Some(start), Some(cwd)) => start.join(cwd),
        (Some(start), None) => start.to_owned(),
        (None, cwd) => cwd.clone()?,
    };
    is_plain(&dir).then_some(dir)
}

/// The address at which a worker makes a listener of its own. A listener that it inherits does not count: a wrapper
/// inherits it too.
pub(in crate::supervisor) fn listens_at(endpoint: &Endpoint, inherits: bool) -> Option<ListensAt> {
    match endpoint {
        _ if inherits => None,
        Endpoint::Tcp(address) => Some(ListensAt::Tcp(*address)),
        Endpoint::Unix(path) | Endpoint::UnixOf(path, _) => Some(ListensAt::Unix(path.clone())),
        Endpoint::Inherited | Endpoint::Channel => None,
    }
}

/// The user and group of the worker; `None` if the configuration names none.
fn identity(pool: &config::PoolConfig) -> Result<Option<&Identity>, StartError> {
    match (&pool.identity, pool.user.is_some() || pool.group.is_some()) {
        (Some(identity), _) => Ok(Some(identity)),
        (None, false) => Ok(None),
        (None, true) => {
            let source = io::Error::new(io::ErrorKind::NotFound, "its user and group were not looked up");
            Err(StartError { stage: "finding its user".to_owned(), source })
        }
    }
}

/// The value of `PORT`: a number, or a path for a unix endpoint, which Node and many others accept as well.
fn port_text(endpoint: &Endpoint) -> Option<OsString> {
    match endpoint {
        Endpoint::Tcp(address) => Some(address.port().to_string().into()),
        Endpoint::Unix(path) | Endpoint::UnixOf(path, _) => Some(path.clone().into_os_string()),
        Endpoint::Inherited | Endpoint::Channel => None,
    }
}

/// Returns the signal's number.
pub(in crate::supervisor) fn signal_of(signal: StopSignal) -> Signal {
    match signal {
        StopSignal::Term => Signal::TERM,
        StopSignal::Int => Signal::INT,
        StopSignal::Quit => Signal::QUIT,
        StopSignal::Hup => Signal::HUP,
        StopSignal::Usr1 => Signal::USR1,
        StopSignal::Usr2 => Signal::USR2,
        StopSignal::Winch => Signal::WINCH,
    }
}

#[cfg(test)]
mod tests;
