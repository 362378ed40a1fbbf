//! The names of the worker contract. The master imports this file too, so both sides spell them alike.
//!
//! Nearly all of it is environment: conventions of systemd, Node and PM2 where they exist, `ROUNDELAY_*` where they do
//! not. A program that knows only `PORT` is a complete worker.

pub mod packet;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Where to listen: a port number, or an absolute path of a unix socket to be made.
pub const PORT: &str = "PORT";
/// The address to bind `PORT` on when that is a number. Absent: `127.0.0.1`.
pub const HOST: &str = "HOST";

/// The name of the pool this worker belongs to.
pub const ROUNDELAY_POOL: &str = "ROUNDELAY_POOL";
/// The worker's slot in its pool, from 0. A replacement process gets the same one.
pub const ROUNDELAY_WORKER: &str = "ROUNDELAY_WORKER";
/// How many slots the pool had when this worker was started.
pub const ROUNDELAY_WORKERS: &str = "ROUNDELAY_WORKERS";
/// The pool's generation, which a reload bumps. A replacement after a crash keeps it.
pub const ROUNDELAY_GENERATION: &str = "ROUNDELAY_GENERATION";
/// The descriptor of the channel over which a worker of this library is handed its connections: see [`packet`]. It stands
/// for `LISTEN_FDS`, `PORT` and `HOST`, which are absent then.
pub const ROUNDELAY_CHANNEL_FD: &str = "ROUNDELAY_CHANNEL_FD";
/// The slot again, under the name that PM2 made customary.
pub const NODE_APP_INSTANCE: &str = "NODE_APP_INSTANCE";

/// The datagram socket that hears `READY=1` and the like: an absolute path, or `@` and an abstract name.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// What a worker does about its open connections when the drain signal comes, said on [`NOTIFY_SOCKET`] in the same datagram
/// as `READY=1`. Not an environment variable. Receivers of sd_notify(3) ignore names that they do not know, and `X_` marks
/// those that are not systemd's.
///
/// The one value is [`DRAIN_BY_SIGNAL`]. A worker that says nothing has promised nothing: it may exit at the signal with
/// requests open, so its connections have to be quiet before.
pub const X_ROUNDELAY_DRAIN: &str = "X_ROUNDELAY_DRAIN";
/// The value of [`X_ROUNDELAY_DRAIN`] of a worker that drains well when it gets SIGTERM, however early: it accepts what
/// waits on its own address, answers what is open, tells clients that would keep their connection to leave
/// (`Connection: close` in HTTP), and exits when the last connection has ended.
pub const DRAIN_BY_SIGNAL: &str = "signal";
/// How many listening sockets the process inherited, from descriptor [`FIRST_LISTEN_FD`] on.
pub const LISTEN_FDS: &str = "LISTEN_FDS";
/// The process that [`LISTEN_FDS`] is meant for; any other must ignore it.
pub const LISTEN_PID: &str = "LISTEN_PID";
/// The id of that process's pidfd, which newer systemd sets beside [`LISTEN_PID`].
pub const LISTEN_PIDFDID: &str = "LISTEN_PIDFDID";
/// The names of the inherited sockets, separated by `:`.
pub const LISTEN_FDNAMES: &str = "LISTEN_FDNAMES";
/// Microseconds within which a supervisor expects `WATCHDOG=1`.
pub const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
/// The process that [`WATCHDOG_USEC`] is meant for.
pub const WATCHDOG_PID: &str = "WATCHDOG_PID";
/// The descriptor of Node's channel between a process and its parent.
pub const NODE_CHANNEL_FD: &str = "NODE_CHANNEL_FD";
/// How messages on that channel are encoded: `json` or `advanced`.
pub const NODE_CHANNEL_SERIALIZATION_MODE: &str = "NODE_CHANNEL_SERIALIZATION_MODE";
/// What makes a Node process a cluster worker.
pub const NODE_UNIQUE_ID: &str = "NODE_UNIQUE_ID";

/// The first inherited listening socket, after standard input, output and error.
pub const FIRST_LISTEN_FD: i32 = 3;

/// Connections that may wait in the kernel for `accept`; `net.core.somaxconn` caps it.
pub const BACKLOG: u32 = 4096;

/// Variables that a master removes from a worker's environment before it sets the worker's own.
///
/// What a service manager, a container platform or another master told *us* is not true for our workers: a worker that
/// inherits `NOTIFY_SOCKET` reports to the wrong supervisor, one that inherits `PORT` takes the public port.
pub const SCRUBBED_NAMES: [&str; 11] = [
    PORT,
    HOST,
    NODE_APP_INSTANCE,
    NODE_UNIQUE_ID,
    NOTIFY_SOCKET,
    LISTEN_FDS,
    LISTEN_PID,
    LISTEN_PIDFDID,
    LISTEN_FDNAMES,
    WATCHDOG_USEC,
    WATCHDOG_PID,
];

/// Like [`SCRUBBED_NAMES`], for families that grow.
pub const SCRUBBED_PREFIXES: [&str; 2] = ["ROUNDELAY_", "NODE_CHANNEL_"];

/// Whether a master removes this variable before it sets the worker's own.
pub fn is_scrubbed(name: &OsStr) -> bool {
    SCRUBBED_NAMES.iter().any(|scrubbed| name == *scrubbed)
        || SCRUBBED_PREFIXES.iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_contract_is_inherited() {
        let contract = [
            PORT,
            HOST,
            ROUNDELAY_POOL,
            ROUNDELAY_WORKER,
            ROUNDELAY_WORKERS,
            ROUNDELAY_GENERATION,
            ROUNDELAY_CHANNEL_FD,
            NODE_APP_INSTANCE,
            NOTIFY_SOCKET,
            LISTEN_FDS,
            LISTEN_PID,
            LISTEN_PIDFDID,
            LISTEN_FDNAMES,
            WATCHDOG_USEC,
            WATCHDOG_PID,
            NODE_CHANNEL_FD,
            NODE_CHANNEL_SERIALIZATION_MODE,
            NODE_UNIQUE_ID,
        ];
        for name in contract {
            assert!(is_scrubbed(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn the_programs_own_variables_are_left_alone() {
        for name in ["PATH", "PORTAL", "LISTEN_ADDRESS", "NODE_ENV", "WATCHDOG_COLOUR", "DATABASE_URL", ""] {
            assert!(!is_scrubbed(OsStr::new(name)), "{name}");
        }
    }
}
