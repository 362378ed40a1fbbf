//! Reports the state of this worker to its supervisor: `READY=1` and the other states that systemd defined.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::protocol::{DRAIN_BY_SIGNAL, NOTIFY_SOCKET, X_ROUNDELAY_DRAIN};

/// Sends states to `NOTIFY_SOCKET`. If that is unset there is no supervisor, and every state is silently dropped.
///
/// Every method is cancel safe (a state is sent whole or not at all), waits while the supervisor's queue is full, and
/// needs a tokio runtime with its I/O driver.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    target: Option<OsString>,
}

/// The reason why a state did not reach the supervisor.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// `NOTIFY_SOCKET` is not the address of a socket.
    #[error("NOTIFY_SOCKET must be an absolute path, or `@` and a name; it is `{0}`")]
    Address(String),
    /// The datagram could not be sent.
    #[error("cannot send `{}` to NOTIFY_SOCKET `{target}`", state.replace('\n', " "))]
    Send {
        /// The state.
        state: String,
        /// The address of the supervisor's socket.
        target: String,
        /// The cause.
        source: io::Error,
    },
}

impl Notifier {
    /// Makes a notifier that reports to this process's `NOTIFY_SOCKET`.
    pub fn from_env() -> Self {
        Self::to(std::env::var_os(NOTIFY_SOCKET))
    }

    /// Makes a notifier that reports to `target`, written as in `NOTIFY_SOCKET`. With `None` or an empty `target`
    /// nothing is reported.
    pub fn to(target: Option<OsString>) -> Self {
        Self { target: target.filter(|target| !target.is_empty()) }
    }

    /// Sends `READY=1`: from now on the worker answers connections.
    ///
    /// # Errors
    ///
    /// Fails if a supervisor is named but cannot be reached. The supervisor then does not know that this worker is
    /// ready and will replace it, so the right reaction is to exit.
    pub async fn ready(&self) -> Result<(), NotifyError> {
        self.send("READY=1").await
    }

    /// Sends [`Notifier::ready`] for a worker that drains by signal. Both are one datagram, so that the supervisor
    /// never knows one without the other.
    pub(crate) async fn ready_and_drains(&self) -> Result<(), NotifyError> {
        self.send(&format!("READY=1\n{X_ROUNDELAY_DRAIN}={DRAIN_BY_SIGNAL}")).await
    }

    /// Sends `STATUS=...`: one line for people, such as "warming the cache". Line breaks become spaces.
    ///
    /// # Errors
    ///
    /// Fails if a supervisor is named but cannot be reached.
    pub async fn status(&self, line: &str) -> Result<(), NotifyError> {
        self.send(&format!("STATUS={}", line.replace(['\n', '\r'], " "))).await
    }

    /// Sends `STOPPING=1`: the worker accepts no new connections.
    ///
    /// # Errors
    ///
    /// Fails if a supervisor is named but cannot be reached.
    pub async fn stopping(&self) -> Result<(), NotifyError> {
        self.send("STOPPING=1").await
    }

    /// Sends `WATCHDOG=1`: still alive. [`Worker::from_env`](crate::Worker::from_env) starts a task that sends it if
    /// the supervisor asks for it. If you send it yourself, send it only from the runtime that serves, or it proves
    /// nothing.
    ///
    /// # Errors
    ///
    /// Fails if a supervisor is named but cannot be reached.
    pub async fn alive(&self) -> Result<(), NotifyError> {
        self.send("WATCHDOG=1").await
    }

    async fn send(&self, state: &str) -> Result<(), NotifyError> {
        let Some(target) = &self.target else { return Ok(()) };
        let address = address(target)?;
        deliver(&address, state.as_bytes()).await.map_err(|source| NotifyError::Send {
            state: state.to_owned(),
            target: target.to_string_lossy().into_owned(),
            source,
        })
    }
}

fn address(target: &OsStr) -> Result<SocketAddr, NotifyError> {
    match target.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(target),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
    .map_err(|_| NotifyError::Address(target.to_string_lossy().into_owned()))
}

/// Connects the socket before sending, because only on a connected socket does "writable" mean that the receiver's
/// queue has room.
async fn deliver(address: &SocketAddr, state: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(address)?;
    socket.set_nonblocking(true)?;
    tokio::net::UnixDatagram::from_std(socket)?.send(state).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let n = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }

    #[tokio::test]
    async fn each_state_is_one_datagram_to_a_path() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bind");
        let notifier = Notifier::to(Some(path.into_os_string()));
        notifier.status("two\nlines").await.expect("status");
        notifier.ready().await.expect("ready");
        notifier.alive().await.expect("alive");
        notifier.stopping().await.expect("stopping");
        let heard = [(); 4].map(|()| next(&socket));
        assert_eq!(heard, ["STATUS=two lines", "READY=1", "WATCHDOG=1", "STOPPING=1"]);
    }

    #[tokio::test]
    async fn abstract_name_works_as_notify_socket() {
        let name = format!("roundelay-notify-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("address");
        let socket = UnixDatagram::bind_addr(&address).expect("bind");
        Notifier::to(Some(format!("@{name}").into())).ready().await.expect("ready");
        assert_eq!(next(&socket), "READY=1");
    }

    #[tokio::test]
    async fn state_is_dropped_without_a_supervisor() {
        Notifier::to(None).ready().await.expect("unset");
        Notifier::to(Some(OsString::new())).ready().await.expect("empty");
    }

    #[tokio::test]
    async fn missing_supervisor_is_an_error_with_its_name() {
        let gone = Notifier::to(Some("/nonexistent/notify".into())).ready().await.expect_err("no socket there");
        assert_eq!(gone.to_string(), "cannot send `READY=1` to NOTIFY_SOCKET `/nonexistent/notify`");
        let wrong = Notifier::to(Some("relative".into())).ready().await.expect_err("no address");
        assert!(matches!(wrong, NotifyError::Address(_)));
    }

    #[tokio::test]
    async fn state_waits_for_a_full_queue() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bind");
        let filler = UnixDatagram::unbound().expect("socket");
        filler.set_nonblocking(true).expect("nonblocking");
        let mut filled = 0;
        while filler.send_to(b"x", &path).is_ok() {
            filled += 1;
        }
        let reader = tokio::task::spawn_blocking(move || {
            (0..filled).for_each(|_| assert_eq!(next(&socket), "x"));
            next(&socket)
        });
        Notifier::to(Some(path.into_os_string())).ready().await.expect("ready");
        assert_eq!(reader.await.expect("reader"), "READY=1");
    }
}
