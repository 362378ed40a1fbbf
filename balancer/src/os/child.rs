//! What a child process is asked to be, and what is told of it. Plain data.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::accept_queue::Where;
use super::account::Credentials;

/// A program to start.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Found by `PATH` unless it holds a slash.
    pub program: OsString,
    /// Its arguments, without the program itself.
    pub args: Vec<OsString>,
    /// Its whole environment; nothing is inherited beside it.
    pub env: Vec<(OsString, OsString)>,
    /// Where it is started by the master's rights; default, also if that cannot be entered: where the master is.
    pub start_dir: Option<PathBuf>,
    /// Where it runs, as its own user; relative to where it is started, and by default just there.
    pub cwd: Option<PathBuf>,
    /// Its soft limit of open files. The master raises its own and must not pass that on: programs that use `select`
    /// break above 1024.
    pub nofile: Option<u64>,
    /// Its limit of core dumps, soft and hard; default: what the master has.
    pub core: Option<CoreLimit>,
    /// The user that it runs as; default: the master's.
    pub credentials: Option<Credentials>,
    /// True if nothing that it runs may gain rights: setuid and setgid programs then run without theirs.
    pub no_new_privs: bool,
    /// The descriptors that it inherits, from 3 on.
    pub inherits: Inherited,
    /// The signs by which its processes are recognized, and what is done with those that it leaves behind.
    pub trail: Trail,
}

/// The marks by which the processes of a worker are known, and the fate of those that are left in the background.
#[derive(Clone, Debug)]
pub struct Trail {
    /// Its `NOTIFY_SOCKET`, which no other worker has.
    pub notify: OsString,
    /// Where it is to listen by itself, if it is: the process that holds that socket is the server.
    pub listens_at: Option<ListensAt>,
    /// The signal that asks them to end.
    pub signal: rustix::process::Signal,
    /// From that signal to SIGKILL.
    pub kill_timeout: Duration,
    /// They are left alone.
    pub is_kept: bool,
}

/// The fate of a program that went into the background, after its worker's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// It is asked to end, and killed if it does not.
    End,
    /// It is left alone.
    Keep,
}

/// Where a worker listens by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListensAt {
    /// At a TCP address.
    Tcp(SocketAddr),
    /// At the path of a unix socket.
    Unix(PathBuf),
}

impl ListensAt {
    /// The same for a look at the kernel's listeners.
    pub fn as_where(&self) -> Where<'_> {
        match self {
            ListensAt::Tcp(address) => Where::Tcp(*address),
            ListensAt::Unix(path) => Where::Unix(path),
        }
    }
}

/// Which processes of a worker's group are sent its stop signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignalTo {
    /// The topmost that holds the listener or, where that says nothing, that catches the signal.
    Main,
    /// The process that was started.
    Leader,
    /// All of them.
    Group,
}

/// Descriptors that a child is given beside its standard streams.
#[derive(Clone, Debug)]
pub enum Inherited {
    /// Listening sockets. If there is one, `LISTEN_PID` is added to its environment.
    Listeners(Vec<Arc<OwnedFd>>),
    /// Its end of a channel.
    Channel(Arc<OwnedFd>),
}

impl Inherited {
    /// In the order of their numbers.
    pub fn descriptors(&self) -> &[Arc<OwnedFd>] {
        match self {
            Inherited::Listeners(listeners) => listeners,
            Inherited::Channel(end) => std::slice::from_ref(end),
        }
    }
}

/// The size that a core dump may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreLimit {
    /// So many bytes; 0 is none at all.
    Bytes(u64),
    /// Any size.
    Unlimited,
}

/// A child of this master, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(pub u64);

/// An event of a child, in this order; `LeaderEnded` and `WentToBackground` only where they apply, `Exited` is the
/// last.
#[derive(Debug)]
pub enum ChildEvent {
    /// The process exists. Its own group has the same number.
    Forked {
        /// Its number, valid until `Exited`.
        pid: u32,
        /// Itself, for as long as it is held.
        pidfd: Arc<OwnedFd>,
        /// The read end of its standard output.
        stdout: OwnedFd,
        /// The read end of its standard error.
        stderr: OwnedFd,
    },
    /// The program itself runs now.
    Executed,
    /// The program could not be started; where there was a process already, `Exited` follows.
    Failed(StartError),
    /// The process itself ended after it was asked to; others of its group still run, and have their time.
    LeaderEnded,
    /// It ended by itself with exit code 0, and a process of this name went on: `Exited` follows.
    WentToBackground(String),
    /// It ended and was reaped, and nothing of its process group is left: what was left without being asked was killed.
    Exited(Exit),
}

/// Where a start failed.
#[derive(Debug, thiserror::Error)]
#[error("{stage} failed")]
pub struct StartError {
    /// In this order: `fork`, `limits`, `sockets`; `output`, `setgroups`, `setresgid`, `setresuid`, where the worker runs as
    /// another; `capabilities`, `no-new-privs`; `verify`, where the change turned out incomplete; `chdir`, `parent`,
    /// `exec`. Before them, what the master itself could not do.
    pub stage: String,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By `exit` with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// The code, or 128 + n for signal n, as shells have it.
    pub fn code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) => match signal_name(signal) {
                Some(name) => write!(f, "killed by signal {signal} ({name})"),
                None => write!(f, "killed by signal {signal}"),
            },
        }
    }
}

/// The common name of a signal that ends processes, without `SIG`.
pub fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGHUP => "HUP",
        libc::SIGINT => "INT",
        libc::SIGQUIT => "QUIT",
        libc::SIGILL => "ILL",
        libc::SIGABRT => "ABRT",
        libc::SIGBUS => "BUS",
        libc::SIGFPE => "FPE",
        libc::SIGKILL => "KILL",
        libc::SIGSEGV => "SEGV",
        libc::SIGPIPE => "PIPE",
        libc::SIGALRM => "ALRM",
        libc::SIGTERM => "TERM",
        libc::SIGUSR1 => "USR1",
        libc::SIGUSR2 => "USR2",
        libc::SIGXCPU => "XCPU",
        libc::SIGSYS => "SYS",
        _ => return None,
    })
}

/// Asks a child to end, or ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndRequest {
    /// This signal, once, to these processes of its group. The rest gets it when those and the leader have ended.
    Stop(rustix::process::Signal, StopSignalTo),
    /// The worker was asked to end by its channel. After its leader has ended, the rest of its group gets this signal.
    Expected(rustix::process::Signal, StopSignalTo),
    /// SIGKILL to its process group.
    Kill,
}

/// Takes a child's events. Called on the spawner's thread: it must not block.
pub type Sink = Box<dyn FnMut(ChildEvent) + Send>;

/// Starts and ends children: the spawner, or a test's double.
pub trait Launcher: Send + Sync {
    /// Starts `spec` and tells `sink` what happens to it. Never blocks; failures come as events.
    fn launch(&self, spec: Spec, sink: Sink) -> ChildId;

    /// Ends the child's process group; nothing if it has ended already.
    fn end(&self, child: ChildId, ending: EndRequest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_is_shown_in_words_and_as_shell_code() {
        assert_eq!((Exit::Code(3).to_string(), Exit::Code(3).code()), ("exit code 3".into(), 3));
        assert_eq!((Exit::Signal(9).to_string(), Exit::Signal(9).code()), ("killed by signal 9 (KILL)".into(), 137));
        assert_eq!(Exit::Signal(40).to_string(), "killed by signal 40");
    }
}
