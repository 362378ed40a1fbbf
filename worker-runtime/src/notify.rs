//! Telling the supervisor how we are: `READY=1` and its kin, as systemd defined them.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::protocol::{DRAIN_BY_SIGNAL, NOTIFY_SOCKET, X_ROUNDELAY_DRAIN};

/// Sends states to `NOTIFY_SOCKET`. Where that is unset nobody listens, and every state is silently dropped.
///
/// Every method is cancel safe (a state is sent whole or not at all), waits while the supervisor's queue is full, and
/// needs a tokio runtime with its I/O driver.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    target: Option<OsString>,
}

/// A state did not reach the supervisor.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// `NOTIFY_SOCKET` names no socket.
    #[error("NOTIFY_SOCKET must be an absolute path, or `@` and a name; it is `{0}`")]
    Address(String),
    /// The datagram could not be sent.
    #[error("cannot send `{}` to NOTIFY_SOCKET `{target}`", state.replace('\n', " "))]
    Send {
        /// What was to be sent.
        state: String,
        /// Where to.
        target: String,
        /// Why not.
        source: io::Error,
    },
}

impl Notifier {
    /// One that reports to this process's `NOTIFY_SOCKET`.
    pub fn from_env() -> Self {
        Self::to(std::env::var_os(NOTIFY_SOCKET))
    }

    /// One that reports to `target`, spelled as in `NOTIFY_SOCKET`; `None` or empty reports to nobody.
    pub fn to(target: Option<OsString>) -> Self {
        Self { target: target.filter(|target| !target.is_empty()) }
    }

    /// `READY=1`: from now on connections are answered.
    ///
    /// # Errors
    ///
    /// If a supervisor is named but not reached. Then it does not know that this worker is ready and will replace it, so
    /// the honest reaction is to exit.
    pub async fn ready(&self) -> Result<(), NotifyError> {
        self.send("READY=1").await
    }

    /// [`Notifier::ready`] of a worker that drains by signal. One datagram, so that nobody knows the one without the other.
    pub(crate) async fn ready_and_drains(&self) -> Result<(), NotifyError> {
        self.send(&format!("READY=1\n{X_ROUNDELAY_DRAIN}={DRAIN_BY_SIGNAL}")).await
    }

    /// `STATUS=...`: one line for people, such as "warming the cache". Line breaks become spaces.
    ///
    /// # Errors
    ///
    /// If a supervisor is named but not reached.
    pub async fn status(&self, line: &str) -> Result<(), NotifyError> {
        self.send(&format!("STATUS={}", line.replace(['\n', '\r'], " "))).await
    }

    /// `STOPPING=1`: nothing new is accepted any more.
    ///
    /// # Errors
    ///
    /// If a supervisor is named but not reached.
    pub async fn stopping(&self) -> Result<(), NotifyError> {
        self.send("STOPPING=1").await
    }

    /// `WATCHDOG=1`: still alive. [`Worker::from_env`](crate::Worker::from_env) sends it where it is asked for; send it
    /// yourself only from the runtime that serves, or it proves nothing.
    ///
    /// # Errors
    ///
    /// If a supervisor is named but not reached.
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

/// Connected, because only then does "writable" mean that the receiver's queue has room.
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
    async fn states_arrive_as_one_datagram_each_at_a_path() {
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
    async fn an_abstract_name_works_too() {
        let name = format!("roundelay-notify-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("address");
        let socket = UnixDatagram::bind_addr(&address).expect("bind");
        Notifier::to(Some(format!("@{name}").into())).ready().await.expect("ready");
        assert_eq!(next(&socket), "READY=1");
    }

    #[tokio::test]
    async fn without_a_supervisor_nothing_happens() {
        Notifier::to(None).ready().await.expect("unset");
        Notifier::to(Some(OsString::new())).ready().await.expect("empty");
    }

    #[tokio::test]
    async fn a_supervisor_that_is_not_there_is_an_error_with_its_name() {
        let gone = Notifier::to(Some("/nonexistent/notify".into())).ready().await.expect_err("nobody there");
        assert_eq!(gone.to_string(), "cannot send `READY=1` to NOTIFY_SOCKET `/nonexistent/notify`");
        let wrong = Notifier::to(Some("relative".into())).ready().await.expect_err("no address");
        assert!(matches!(wrong, NotifyError::Address(_)));
    }

    #[tokio::test]
    async fn a_full_queue_is_waited_for() {
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
