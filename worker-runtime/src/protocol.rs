//! The names of the worker contract. The master imports this file too, so both sides spell the names alike.
//!
//! Nearly all of the contract is environment variables. They follow the conventions of systemd, Node and PM2 if there
//! are any, and are named `ROUNDELAY_*` if there are none. A program that knows only `PORT` is a complete worker.

pub mod packet;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The address to listen on: a port number, or an absolute path of a unix socket to be made.
pub const PORT: &str = "PORT";
/// The address to bind if `PORT` is a number. Default: `127.0.0.1`.
pub const HOST: &str = "HOST";

/// The name of the worker's pool.
pub const ROUNDELAY_POOL: &str = "ROUNDELAY_POOL";
/// The worker's slot in its pool, from 0. A replacement process gets the same slot.
pub const ROUNDELAY_WORKER: &str = "ROUNDELAY_WORKER";
/// The number of slots that the pool had when this worker was started.
pub const ROUNDELAY_WORKERS: &str = "ROUNDELAY_WORKERS";
/// The pool's generation, which each reload increases. A replacement after a crash keeps it.
pub const ROUNDELAY_GENERATION: &str = "ROUNDELAY_GENERATION";
/// The descriptor of the channel over which a worker made with this library gets its connections: see [`packet`]. It
/// replaces `LISTEN_FDS`, `PORT` and `HOST`, which are absent then.
pub const ROUNDELAY_CHANNEL_FD: &str = "ROUNDELAY_CHANNEL_FD";
/// The slot again, under the name that PM2 uses.
pub const NODE_APP_INSTANCE: &str = "NODE_APP_INSTANCE";

/// The datagram socket that receives `READY=1` and other states: an absolute path, or `@` and an abstract name.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// The way in which a worker treats its open connections at the drain signal. The worker sends it to [`NOTIFY_SOCKET`],
/// in the same datagram as `READY=1`. Not an environment variable. Receivers of sd_notify(3) ignore names that they do
/// not know, and `X_` marks names that are not systemd's.
///
/// The only value is [`DRAIN_BY_SIGNAL`]. A worker that does not send it promises nothing: it may exit at the signal
/// with requests open, so its connections have to be idle before the signal.
pub const X_ROUNDELAY_DRAIN: &str = "X_ROUNDELAY_DRAIN";
/// The value of [`X_ROUNDELAY_DRAIN`] for a worker that drains when it gets SIGTERM, at any time. It accepts the
/// connections that wait on its own address, answers open requests, and tells clients that would keep their connection
/// to leave (`Connection: close` in HTTP). It exits when the last connection has ended.
pub const DRAIN_BY_SIGNAL: &str = "signal";
/// The number of listening sockets that the process inherited, from descriptor [`FIRST_LISTEN_FD`] on.
pub const LISTEN_FDS: &str = "LISTEN_FDS";
/// The id of the process for which [`LISTEN_FDS`] is meant. Any other process must ignore it.
pub const LISTEN_PID: &str = "LISTEN_PID";
/// The id of that process's pidfd, which newer systemd sets beside [`LISTEN_PID`].
pub const LISTEN_PIDFDID: &str = "LISTEN_PIDFDID";
/// The names of the inherited sockets, separated by `:`.
pub const LISTEN_FDNAMES: &str = "LISTEN_FDNAMES";
/// The number of microseconds within which a supervisor expects `WATCHDOG=1`.
pub const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
/// The id of the process for which [`WATCHDOG_USEC`] is meant.
pub const WATCHDOG_PID: &str = "WATCHDOG_PID";
/// The descriptor of Node's channel between a process and its parent.
pub const NODE_CHANNEL_FD: &str = "NODE_CHANNEL_FD";
/// The encoding of messages on that channel: `json` or `advanced`.
pub const NODE_CHANNEL_SERIALIZATION_MODE: &str = "NODE_CHANNEL_SERIALIZATION_MODE";
/// The variable that makes a Node process a cluster worker.
pub const NODE_UNIQUE_ID: &str = "NODE_UNIQUE_ID";

/// The first inherited listening socket, after standard input, output and error.
pub const FIRST_LISTEN_FD: i32 = 3;

/// The most connections that wait in the kernel for `accept`. `net.core.somaxconn` limits it further.
pub const BACKLOG: u32 = 4096;

/// Variables that a master removes from a worker's environment before it sets the worker's own.
///
/// A service manager, a container platform or another master has set these variables for *this* process, so their
/// values are wrong for its workers. For example, a worker that inherits `NOTIFY_SOCKET` reports to the wrong
/// supervisor, and a worker that inherits `PORT` takes the public port.
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

/// Like [`SCRUBBED_NAMES`], for groups of names to which new ones are added.
pub const SCRUBBED_PREFIXES: [&str; 2] = ["ROUNDELAY_", "NODE_CHANNEL_"];

/// Returns true if a master removes this variable before it sets the worker's own.
pub fn is_scrubbed(name: &OsStr) -> bool {
    SCRUBBED_NAMES.iter().any(|scrubbed| name == *scrubbed)
        || SCRUBBED_PREFIXES.iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contract_variables_are_removed() {
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
    fn variables_of_the_program_are_kept() {
        for name in ["PATH", "PORTAL", "LISTEN_ADDRESS", "NODE_ENV", "WATCHDOG_COLOUR", "DATABASE_URL", ""] {
            assert!(!is_scrubbed(OsStr::new(name)), "{name}");
        }
    }
}
