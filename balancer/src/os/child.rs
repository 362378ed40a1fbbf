//! The specification of a child process, its events, and the requests to end it. Plain data.

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
    /// Its whole environment; it inherits no other variables.
    pub env: Vec<(OsString, OsString)>,
    /// The directory that it is started in, entered with the master's rights. Default, also if that cannot be entered:
    /// the master's directory.
    pub start_dir: Option<PathBuf>,
    /// The directory that it runs in, entered as its own user. Relative to the start directory, which is also the
    /// default.
    pub cwd: Option<PathBuf>,
    /// Its soft limit of open files. The master raises its own limit and must not pass that on: programs that use
    /// `select` break above 1024.
    pub nofile: Option<u64>,
    /// Its limit of core dumps, soft and hard; default: the master's limit.
    pub core: Option<CoreLimit>,
    /// The user and groups that it runs as; default: those of the master.
    pub credentials: Option<Credentials>,
    /// True if no program that it runs may gain rights: setuid and setgid programs then run without theirs.
    pub no_new_privs: bool,
    /// The descriptors that it inherits, from number 3 on.
    pub inherits: Inherited,
    /// The signs by which its processes are recognized, and the treatment of those that it leaves behind.
    pub trail: Trail,
}

/// The signs by which a worker's processes are recognized, and the treatment of those that it leaves in the background.
#[derive(Clone, Debug)]
pub struct Trail {
    /// Its `NOTIFY_SOCKET`, which no other worker has.
    pub notify: OsString,
    /// The address that it is to bind itself, if any: the process that holds that socket is the server.
    pub listens_at: Option<ListensAt>,
    /// The signal that asks them to end.
    pub signal: rustix::process::Signal,
    /// The time from that signal to SIGKILL.
    pub kill_timeout: Duration,
    /// True if they are left running.
    pub is_kept: bool,
}

/// The treatment of a program that went into the background, after its worker's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// It is asked to end, and killed if it does not.
    End,
    /// It is left running.
    Keep,
}

/// The address of a listener that a worker binds itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListensAt {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl ListensAt {
    /// Returns the same address in the form that [`super::accept_queue::QueueReader`] takes.
    pub fn as_where(&self) -> Where<'_> {
        match self {
            ListensAt::Tcp(address) => Where::Tcp(*address),
            ListensAt::Unix(path) => Where::Unix(path),
        }
    }
}

/// The processes of a worker's group that get its stop signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignalTo {
    /// The topmost process that holds the listener; if none does, the topmost that catches the signal.
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
    /// The descriptors, in the order of their numbers.
    pub fn descriptors(&self) -> &[Arc<OwnedFd>] {
        match self {
            Inherited::Listeners(listeners) => listeners,
            Inherited::Channel(end) => std::slice::from_ref(end),
        }
    }
}

/// The size limit of a core dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreLimit {
    /// This many bytes; 0 means no core dump at all.
    Bytes(u64),
    /// Any size.
    Unlimited,
}

/// The number of a child of this master, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(pub u64);

/// An event of a child, in this order. `LeaderEnded` and `WentToBackground` occur only where they apply; `Exited` is
/// the last.
#[derive(Debug)]
pub enum ChildEvent {
    /// The process exists. Its own group has the same number.
    Forked {
        /// Its pid, valid until `Exited`.
        pid: u32,
        /// Its pidfd, valid for as long as it is held.
        pidfd: Arc<OwnedFd>,
        /// The reading end of its standard output.
        stdout: OwnedFd,
        /// The reading end of its standard error.
        stderr: OwnedFd,
    },
    /// The program itself runs now.
    Executed,
    /// The program could not be started. If there was a process already, `Exited` follows.
    Failed(StartError),
    /// The process itself ended after it was asked to. Others of its group still run, and keep their time to end.
    LeaderEnded,
    /// The process ended by itself with exit code 0, and a process of this name continues in the background: `Exited`
    /// follows.
    WentToBackground(String),
    /// The process ended and was reaped, and its process group is empty: processes left in it that had not been asked
    /// to end were killed.
    Exited(Exit),
}

/// The stage at which a start failed, and the cause.
#[derive(Debug, thiserror::Error)]
#[error("{stage} failed")]
pub struct StartError {
    /// The stages, in this order: `fork`, `limits`, `sockets`; `output`, `setgroups`, `setresgid`, `setresuid`, if the
    /// worker runs as another user; `capabilities`, `no-new-privs`; `verify`, if the change turned out incomplete;
    /// `chdir`, `parent`, `exec`. Stages before `fork` are steps in which the master itself failed.
    pub stage: String,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

/// The way in which a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It called `exit` with this code.
    Code(i32),
    /// This signal killed it.
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
    /// Sends this signal, once, to these processes of its group. The rest of the group gets it when those and the
    /// leader have ended.
    Stop(rustix::process::Signal, StopSignalTo),
    /// The worker was asked to end over its channel. After its leader has ended, the rest of its group gets this
    /// signal.
    Expected(rustix::process::Signal, StopSignalTo),
    /// Sends SIGKILL to its process group.
    Kill,
}

/// Takes a child's events. The spawner's thread calls it: it must not block.
pub type Sink = Box<dyn FnMut(ChildEvent) + Send>;

/// Starts and ends children: the spawner, or a test's double.
pub trait Launcher: Send + Sync {
    /// Starts `spec` and reports its events to `sink`. Never blocks; failures come as events.
    fn launch(&self, spec: Spec, sink: Sink) -> ChildId;

    /// Ends the child's process group; does nothing if it has ended already.
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
