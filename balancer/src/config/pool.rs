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
    /// The pool's name: letters, digits, `-` and `_`, up to 32; it stands in metrics, logs and paths.
    pub name: String,
    /// The program of the workers.
    pub program: Program,
    /// Where they run it. Default: where the master was started.
    pub cwd: Option<PathBuf>,
    /// Added to the environment they inherit.
    pub env: BTreeMap<String, String>,
    /// Public addresses. Default: the caller's `PORT` on `127.0.0.1`, else `127.0.0.1:8080`. None (`"app"`): those that a
    /// Node application asks for.
    pub listen: Vec<Address>,
    /// The number of connections that may wait in the kernel for `accept`. Default 4096, which `net.core.somaxconn`
    /// caps.
    pub backlog: u32,
    /// The number of workers. Default `auto`.
    pub workers: Workers,
    /// The way a connection reaches a worker. Default `proxy`.
    pub mode: Mode,
    /// Which worker: a name of [`crate::strategy::ALL`]. Default `round-robin`.
    pub strategy: String,
    /// The share of connections that each slot gets beside the others, by slot number: 1 to 1000. Default none: a slot
    /// that is not in the list weighs 1.
    pub weights: Vec<u32>,
    /// The time in which a new worker's weight grows from a tenth to all of it. Default 0: it has all of it at once.
    pub slow_start: Duration,
    /// The kind of private endpoint that a worker gets, where it gets one. Default `port`.
    pub endpoint: EndpointKind,
    /// The way a worker is handed what it inherits. Default `auto`; [`PoolConfig::passed_as`] resolves that.
    pub socket_passing: SocketPassing,
    /// When a started worker counts as ready. Default `probe`; where there is no private endpoint to probe it is `notify`,
    /// and `listening` on Node's channel.
    pub ready: Ready,
    /// The time that a worker may take to become ready. Default 30 s.
    pub ready_timeout: Duration,
    /// Workers in rotation below which `/readyz` says 503. Default 1.
    pub min_ready: u32,
    /// The header by which a worker is told the client's address before the client's bytes. Default `off`.
    pub proxy_protocol: ProxyProtocol,
    /// Health checks of ready workers.
    pub health: Health,
    /// Connecting to one worker. Default 250 ms: on one machine it is instant or the queue is full.
    pub connect_timeout: Duration,
    /// Loopback source addresses of connections to one worker's port, 127.0.0.1 first: 1 to 254. Default 8, each with the
    /// 28,232 ports that the kernel has for outgoing connections by default.
    pub source_addresses: u8,
    /// Finding a worker for an accepted connection, all tries together. Default 3 s.
    pub dispatch_timeout: Duration,
    /// A connection silent in both directions is closed. Default 10 min; 0 never.
    pub idle_timeout: Duration,
    /// A connection of which one direction has ended and the other is silent is closed. Default 60 s; 0 never.
    pub half_closed_timeout: Duration,
    /// TCP keepalive of client connections: first probe after this silence, then 3 more 15 s apart. Default 60 s; 0 off.
    pub keepalive: Duration,
    /// The time that clients wait in the backlog while no worker is ready; then they are rejected. Default 10 s.
    pub hold_timeout: Duration,
    /// Client connections open at once; more wait in the backlog. Default: only the master's limit.
    pub max_connections: Option<usize>,
    /// Client connections open at once from one address (IPv6: one /64); more are rejected. Default: as many as there are.
    pub max_connections_per_source: Option<usize>,
    /// The way a worker that leaves is brought to its end. Default `auto`.
    pub drain: Drain,
    /// The time in which a draining worker may finish what it has. Default 30 s.
    pub drain_timeout: Duration,
    /// The signal that tells a worker to end. Default SIGTERM; on Node's channel SIGINT, when it has not ended by being
    /// disconnected.
    pub stop_signal: StopSignal,
    /// Which processes of a worker get it. Default `main`.
    pub stop_signal_to: StopSignalTo,
    /// From that signal to SIGKILL, for the whole process group. Default 10 s.
    pub kill_timeout: Duration,
    /// The fate of a program that a worker left in the background. Default `end`.
    pub background: Background,
    /// For how long a replaced worker is parked: out of rotation, told nothing, and put back if the new one ends,
    /// fails its checks or leaves a client untaken. Default 1 s, and 0 where a health path is written.
    pub settle: Duration,
    /// Processes beyond the number of workers while they are replaced one by one. Default 1.
    pub max_surge: u32,
    /// Resident memory of a worker's process group, in bytes, above which it is replaced, new first. Default: no bound.
    pub max_memory: Option<u64>,
    /// The age, ±10 %, at which a worker is replaced, new first. Default 0: never.
    pub max_age: Duration,
    /// True if a duplicate of each worker's own listener is held, so that what waits in its queue outlives it. Default
    /// yes.
    pub recover_queue: bool,
    /// The user that the workers run as. Default: the master's own.
    pub user: Option<Account>,
    /// The group that they run as. Default: the primary group of `user`, or the master's own.
    pub group: Option<Account>,
    /// The result of looking up `user` and `group` on this machine, if one of them was given and they were looked up.
    pub identity: Option<Identity>,
    /// True if nothing that a worker runs may gain rights, as setuid programs do. Default yes.
    pub no_new_privs: bool,
    /// Soft limit of a worker's open files. Default: what the master was started with.
    pub limit_nofile: Option<u64>,
    /// Limit of a worker's core dump, soft and hard. Default: what the master was started with.
    pub limit_core: Option<CoreLimit>,
    /// The way a worker that ended is started again.
    pub restart: Restart,
    /// Where what they write goes.
    pub log: WorkerLog,
}

/// The program of the workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The built-in demo worker.
    Demo,
    /// A program and its arguments, no shell; `{port}` in an argument is replaced by the worker's port. Never empty.
    Command(Vec<String>),
}

/// The number of workers of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// min(CPUs, 4).
    Auto,
    /// One a CPU.
    Max,
    /// This many, 1 to 1024.
    Count(u32),
    /// CPUs less this many, at least 1. Written `-N`.
    AllBut(u32),
}

/// The kind of private endpoint that a worker gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointKind {
    /// A loopback TCP port, in `PORT`.
    Port,
    /// The path of a unix socket, in `PORT`: Node and many others take it, and it costs the kernel much less.
    Unix,
    /// A unix listener that the master binds, keeps and hands over by `LISTEN_FDS`: its queue outlives the worker.
    Inherited,
}

/// The way a worker that leaves the rotation is brought to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// `Signal` for a worker that says it drains by signal, as those of `worker-runtime` do; else `Idle`.
    Auto,
    /// It is told to end as soon as no connection can reach it any more, and finishes what it has by itself.
    Signal,
    /// A connection without a pending response is closed after a second of silence; it is told to end when none is left.
    Idle,
    /// It is told to end when every connection has ended by itself.
    Wait,
}

/// The signals that a worker may be told to end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM, what nearly every server ends well with.
    Term,
    /// SIGINT, as Ctrl-C.
    Int,
    /// SIGQUIT, for example nginx's graceful end.
    Quit,
    /// SIGHUP.
    Hup,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
    /// SIGWINCH, Apache's graceful end.
    Winch,
}

/// When a started worker counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// At the first good probe of its endpoint, or at `READY=1` if that comes first.
    Probe,
    /// Only at `READY=1` on its `NOTIFY_SOCKET`.
    Notify,
    /// As soon as it was started.
    None,
    /// When it says on Node's channel that it listens.
    Listening,
    /// When it has sent the message `"ready"` on its channel, which is PM2's `wait_ready`.
    Message,
}

/// The way a worker is told the client's address: a header of the PROXY protocol, before the client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Not at all.
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

/// A word as a shell would need it, for messages that people copy.
fn quoted(word: &str) -> std::borrow::Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,{}".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")).into(),
    }
}

impl PoolConfig {
    /// A pool of that name and program with every other option at its default.
    pub fn new(name: impl Into<String>, program: Program) -> Self {
        Self {
            name: name.into(),
            program,
            cwd: None,
            env: BTreeMap::new(),
            listen: vec![Address::Tcp(std::net::SocketAddr::from(([127, 0, 0, 1], 8080)))],
            backlog: 4096,
            workers: Workers::Auto,
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

    /// The weight of the worker of a slot.
    pub fn weight(&self, slot: usize) -> u32 {
        self.weights.get(slot).copied().unwrap_or(1)
    }
}

impl Workers {
    /// Returns the number where `cpus` may be used; at least 1.
    pub fn resolve(self, cpus: usize) -> u32 {
        let cpus = u32::try_from(cpus).unwrap_or(u32::MAX).clamp(1, 1024);
        match self {
            Workers::Auto => cpus.min(4),
            Workers::Max => cpus,
            Workers::Count(n) => n,
            Workers::AllBut(n) => cpus.saturating_sub(n).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_counts_follow_the_cpus_and_never_reach_zero() {
        let counts = |cpus| {
            [Workers::Auto, Workers::Max, Workers::Count(7), Workers::AllBut(1), Workers::AllBut(9)]
                .map(|workers| workers.resolve(cpus))
        };
        assert_eq!(counts(1), [1, 1, 7, 1, 1]);
        assert_eq!(counts(2), [2, 2, 7, 1, 1]);
        assert_eq!(counts(16), [4, 16, 7, 15, 7]);
    }

    #[test]
    fn a_command_is_printed_as_a_shell_would_take_it() {
        let words = ["sh", "-c", "echo it's; exit 3", "{port}", ""].map(str::to_owned).to_vec();
        assert_eq!(Program::Command(words).to_string(), r"sh -c 'echo it'\''s; exit 3' {port} ''");
    }
}
