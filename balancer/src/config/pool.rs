//! The options of one pool.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{Address, Health, Restart, SocketPassing, WorkerLog};
use crate::mode::Mode;
use crate::os::account::{Account, Identity};
use crate::os::child::{Background, CoreLimit, StopSignalTo};

/// `[pool.NAME]`: one application.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolConfig {
    /// The pool's name: letters, digits, `-` and `_`, up to 32. Metrics, logs and paths contain it.
    pub name: String,
    /// The program of the workers.
    pub program: Program,
    /// The workers' working directory. Default: the directory in which the master was started.
    pub cwd: Option<PathBuf>,
    /// Variables that are added to the environment which the workers inherit.
    pub env: BTreeMap<String, String>,
    /// Public addresses. Default: the caller's `PORT` on `127.0.0.1`, else `127.0.0.1:8080`. An empty list (`"app"`)
    /// stands for the addresses that a Node application asks for.
    pub listen: Vec<Address>,
    /// The number of connections that may wait in the kernel for `accept`. Default 4096, which `net.core.somaxconn`
    /// caps.
    pub backlog: u32,
    /// The number of workers. Default `auto`.
    pub workers: WorkerCount,
    /// The mode: the path of a connection to a worker. Default `proxy`.
    pub mode: Mode,
    /// The strategy that picks the worker: a name of [`crate::strategy::ALL`]. Default `round-robin`.
    pub strategy: String,
    /// The share of connections of each slot relative to the others, by slot number: 1 to 1000. Default: an empty list.
    /// A slot that is not in the list weighs 1.
    pub weights: Vec<u32>,
    /// The time in which a new worker's weight grows from a tenth to all of it. Default 0: it has all of it at once.
    pub slow_start: Duration,
    /// The kind of a worker's private endpoint, where it gets one. Default `port`.
    pub endpoint: EndpointKind,
    /// The way that sockets are passed to a worker. Default `auto`; [`PoolConfig::passed_as`] returns the meaning of
    /// `auto`.
    pub socket_passing: SocketPassing,
    /// The sign that a started worker is ready. Default `probe`. Where there is no private endpoint to probe the
    /// default is `notify`, and on Node's channel `listening`.
    pub ready: Ready,
    /// The longest time until a worker is ready. Default 30 s.
    pub ready_timeout: Duration,
    /// The number of workers in rotation below which `/readyz` answers 503. Default 1.
    pub min_ready: u32,
    /// The header that tells a worker the client's address before the client's bytes. Default `off`.
    pub proxy_protocol: ProxyProtocol,
    /// Health checks of ready workers.
    pub health: Health,
    /// The longest time for connecting to one worker. Default 250 ms: on one machine a connect succeeds instantly, or
    /// the queue is full.
    pub connect_timeout: Duration,
    /// The number of loopback source addresses for connections to one worker's port, 127.0.0.1 first: 1 to 254. Default
    /// 8. Each has the 28,232 ports that the kernel has for outgoing connections by default.
    pub source_addresses: u8,
    /// The longest time for finding a worker for an accepted connection, all tries together. Default 3 s.
    pub dispatch_timeout: Duration,
    /// A connection that is silent in both directions for this long is closed. Default 10 min; 0 never.
    pub idle_timeout: Duration,
    /// A connection of which one direction has ended and the other is silent for this long is closed. Default 60 s; 0
    /// never.
    pub half_closed_timeout: Duration,
    /// TCP keepalive of client connections: the first probe comes after this silence, then 3 more 15 s apart. Default
    /// 60 s; 0 off.
    pub keepalive: Duration,
    /// The time that clients wait in the backlog while no worker is ready. Then they are rejected. Default 10 s.
    pub hold_timeout: Duration,
    /// The number of client connections that may be open at once. More clients wait in the backlog. Default: only the
    /// master's limit.
    pub max_connections: Option<usize>,
    /// The number of client connections that may be open at once from one address (IPv6: one /64). More clients are
    /// rejected. Default: no limit.
    pub max_connections_per_source: Option<usize>,
    /// The way that a worker which leaves is drained. Default `auto`.
    pub drain: Drain,
    /// The longest time that a draining worker may take to finish its connections. Default 30 s.
    pub drain_timeout: Duration,
    /// The signal that tells a worker to end. Default SIGTERM. On Node's channel it is SIGINT, sent if the worker did
    /// not end after being disconnected.
    pub stop_signal: StopSignal,
    /// The processes of a worker that get the signal. Default `main`.
    pub stop_signal_to: StopSignalTo,
    /// The time from that signal to SIGKILL, for the whole process group. Default 10 s.
    pub kill_timeout: Duration,
    /// The treatment of a program that a worker left in the background. Default `end`.
    pub background: Background,
    /// The time that a replaced worker is parked: out of rotation, and not told to end. It is put back if its
    /// replacement ends, fails its checks or leaves a client untaken. Default 1 s, and 0 where a health path is
    /// written.
    pub settle: Duration,
    /// The number of processes beyond the number of workers, while workers are replaced one by one. Default 1.
    pub max_surge: u32,
    /// The resident memory of a worker's process group, in bytes, above which the worker is replaced. The new process
    /// starts first. Default: no bound.
    pub max_memory: Option<u64>,
    /// The age, ±10 %, at which a worker is replaced. The new process starts first. Default 0: never.
    pub max_age: Duration,
    /// True if the master holds a duplicate of each worker's own listener, so that the clients in its queue outlive the
    /// worker. Default true.
    pub recover_queue: bool,
    /// The user that the workers run as. Default: the master's own.
    pub user: Option<Account>,
    /// The group that they run as. Default: the primary group of `user`, or the master's own.
    pub group: Option<Account>,
    /// The identity that `user` and `group` mean on this machine, if one of them is set and they were looked up.
    pub identity: Option<Identity>,
    /// True if no program that a worker runs may gain rights, as setuid programs do. Default true.
    pub no_new_privs: bool,
    /// The soft limit of a worker's open files. Default: the limit that the master was started with.
    pub limit_nofile: Option<u64>,
    /// The limit of a worker's core dump, soft and hard. Default: the limit that the master was started with.
    pub limit_core: Option<CoreLimit>,
    /// The options for restarting a worker that ended.
    pub restart: Restart,
    /// The target of the lines that the workers write.
    pub log: WorkerLog,
}

/// The program of the workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The built-in demo worker.
    Demo,
    /// A program and its arguments, without a shell. `{port}` in an argument is replaced by the worker's port. Never
    /// empty.
    Command(Vec<String>),
}

/// The most workers that a pool can have.
pub const MOST_WORKERS: u32 = 1024;

/// The number of workers of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerCount {
    /// min(CPUs, 4).
    Auto,
    /// One worker for each CPU.
    Max,
    /// This many, 1 to [`MOST_WORKERS`].
    Count(u32),
    /// The number of CPUs less this many, at least 1. Written `-N`.
    AllBut(u32),
}

/// The kind of a worker's private endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointKind {
    /// A loopback TCP port, in `PORT`.
    Port,
    /// The path of a unix socket, in `PORT`. Node and many other servers accept it, and it costs the kernel much less.
    Unix,
    /// A unix listener that the master binds, keeps and passes by `LISTEN_FDS`. Its queue outlives the worker.
    Inherited,
}

/// The way that a worker which leaves the rotation is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// `Signal` for a worker that announces that it drains by signal, as those of `worker-runtime` do; else `Idle`.
    Auto,
    /// The worker is told to end as soon as no new connection can reach it. It finishes its connections by itself.
    Signal,
    /// A connection without a pending response is closed after a second of silence. The worker is told to end when none
    /// is left.
    Idle,
    /// The worker is told to end when every connection has ended by itself.
    Wait,
}

/// The signals that a worker may be told to end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM, at which nearly every server ends well.
    Term,
    /// SIGINT, as for Ctrl-C.
    Int,
    /// SIGQUIT, for example nginx's graceful shutdown.
    Quit,
    /// SIGHUP.
    Hup,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
    /// SIGWINCH, Apache's graceful shutdown.
    Winch,
}

/// The sign that a started worker is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// The first good probe of its endpoint, or `READY=1` if that comes first.
    Probe,
    /// Only `READY=1` on its `NOTIFY_SOCKET`.
    Notify,
    /// Its start: no sign is awaited.
    None,
    /// The message on Node's channel that the worker listens.
    Listening,
    /// The message `"ready"` on its channel, which is PM2's `wait_ready`.
    Message,
}

/// The header of the PROXY protocol that tells a worker the client's address, before the client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// No header.
    Off,
    /// One line of text.
    V1,
    /// The binary form.
    V2,
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Program::Demo => f.write_str("the demo worker"),
            Program::Command(words) => {
                f.write_str(&words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "))
            }
        }
    }
}

/// Quotes a word as a shell would need it, for messages from which people copy.
fn quoted(word: &str) -> std::borrow::Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,{}".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")).into(),
    }
}

impl PoolConfig {
    /// Makes a pool of that name and program, with every other option at its default.
    pub fn new(name: impl Into<String>, program: Program) -> Self {
        Self {
            name: name.into(),
            program,
            cwd: None,
            env: BTreeMap::new(),
            listen: vec![Address::Tcp(std::net::SocketAddr::from(([127, 0, 0, 1], 8080)))],
            backlog: 4096,
            workers: WorkerCount::Auto,
            mode: Mode::Proxy,
            strategy: "round-robin".to_owned(),
            weights: Vec::new(),
            slow_start: Duration::ZERO,
            endpoint: EndpointKind::Port,
            socket_passing: SocketPassing::Auto,
            ready: Ready::Probe,
            ready_timeout: Duration::from_secs(30),
            min_ready: 1,
            proxy_protocol: ProxyProtocol::Off,
            health: Health::default(),
            connect_timeout: Duration::from_millis(250),
            source_addresses: 8,
            dispatch_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(600),
            half_closed_timeout: Duration::from_secs(60),
            keepalive: Duration::from_secs(60),
            hold_timeout: Duration::from_secs(10),
            max_connections: None,
            max_connections_per_source: None,
            drain: Drain::Auto,
            drain_timeout: Duration::from_secs(30),
            stop_signal: StopSignal::Term,
            stop_signal_to: StopSignalTo::Main,
            kill_timeout: Duration::from_secs(10),
            background: Background::End,
            settle: Duration::from_secs(1),
            max_surge: 1,
            max_memory: None,
            max_age: Duration::ZERO,
            recover_queue: true,
            user: None,
            group: None,
            identity: None,
            no_new_privs: true,
            limit_nofile: None,
            limit_core: None,
            restart: Restart::default(),
            log: WorkerLog::default(),
        }
    }

    /// Returns the weight of a slot's worker.
    pub fn weight(&self, slot: usize) -> u32 {
        self.weights.get(slot).copied().unwrap_or(1)
    }
}

impl WorkerCount {
    /// Returns the number of workers where `cpus` may be used; at least 1.
    pub fn resolve(self, cpus: usize) -> u32 {
        let cpus = u32::try_from(cpus).unwrap_or(u32::MAX).clamp(1, MOST_WORKERS);
        match self {
            WorkerCount::Auto => cpus.min(4),
            WorkerCount::Max => cpus,
            WorkerCount::Count(n) => n,
            WorkerCount::AllBut(n) => cpus.saturating_sub(n).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_counts_follow_the_cpus_and_never_reach_zero() {
        let counts = |cpus| {
            [WorkerCount::Auto, WorkerCount::Max, WorkerCount::Count(7), WorkerCount::AllBut(1), WorkerCount::AllBut(9)]
                .map(|workers| workers.resolve(cpus))
        };
        assert_eq!(counts(1), [1, 1, 7, 1, 1]);
        assert_eq!(counts(2), [2, 2, 7, 1, 1]);
        assert_eq!(counts(16), [4, 16, 7, 15, 7]);
    }

    #[test]
    fn command_is_printed_as_a_shell_would_take_it() {
        let words = ["sh", "-c", "echo it's; exit 3", "{port}", ""].map(str::to_owned).to_vec();
        assert_eq!(Program::Command(words).to_string(), r"sh -c 'echo it'\''s; exit 3' {port} ''");
    }
}
