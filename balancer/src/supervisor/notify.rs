//! What workers say of themselves: datagrams on `NOTIFY_SOCKET`, as systemd defines them.
//!
//! One socket per incarnation. The socket *is* the identity: a sender's process may be gone before one could look at it.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixDatagram;
use worker_runtime::protocol;

/// What one line of a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// `READY=1`
    Ready,
    /// `STATUS=text`
    Status(String),
    /// `STOPPING=1`
    Stopping,
    /// `WATCHDOG=1`
    Beat,
    /// `X_ROUNDELAY_DRAIN=signal`, of our own: told to end, it finishes what it has.
    DrainsBySignal,
}

/// A longer datagram is cut off, and its last line ignored with it.
const MAX_DATAGRAM: usize = 4 << 10;
/// After an error of the socket.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
/// Between datagrams: what comes faster waits in the socket, and then its sender does.
const BREATH: std::time::Duration = std::time::Duration::from_millis(1);
/// A longer status is cut.
const MAX_STATUS: usize = 256;

/// Reads a datagram. What is not understood is ignored, as the protocol wants; an empty one is legal.
pub(super) fn parse(datagram: &[u8]) -> Vec<Said> {
    let text = String::from_utf8_lossy(datagram);
    let mut said: Vec<Said> = Vec::new();
    for new in text.lines().filter_map(line) {
        // Of each kind the last counts, however often a datagram says it.
        said.retain(|old| std::mem::discriminant(old) != std::mem::discriminant(&new));
        said.push(new);
    }
    said
}

fn line(line: &str) -> Option<Said> {
    match line.split_once('=')? {
        ("READY", "1") => Some(Said::Ready),
        ("STOPPING", "1") => Some(Said::Stopping),
        ("WATCHDOG", "1") => Some(Said::Beat),
        (protocol::X_ROUNDELAY_DRAIN, protocol::DRAIN_BY_SIGNAL) => Some(Said::DrainsBySignal),
        ("STATUS", text) => Some(Said::Status(text.chars().filter(|c| !c.is_control()).take(MAX_STATUS).collect())),
        _ => None,
    }
}

/// The master's end of one worker's notify socket. Its path goes with it.
#[derive(Debug)]
pub(super) struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl NotifySocket {
    /// Binds it at `path`, for this user only.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::DGRAM.nonblocking(), None)?;
        // What it has then, its path gets (unix(7)): changed by the path, it could be another file's.
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let socket =
            UnixDatagram::from_std(std::os::unix::net::UnixDatagram::from(std::os::fd::OwnedFd::from(socket)))?;
        Ok(Self { socket, path: path.to_owned() })
    }

    /// Calls `heard` for everything the worker says, until it is dropped. An error of one message never ends it, and a flood
    /// of them is taken slowly.
    pub(super) async fn listen(self, heard: impl Fn(Said)) {
        let mut datagram = vec![0; MAX_DATAGRAM];
        loop {
            match self.socket.recv(&mut datagram).await {
                Ok(length) => parse(datagram.get(..length).unwrap_or_default()).into_iter().for_each(&heard),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
            // A worker that talks without end gets no more of this thread than the others.
            tokio::time::sleep(BREATH).await;
        }
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_lines_of_which_the_known_count() {
        assert_eq!(parse(b"STATUS=warm\nREADY=1\nMAINPID=1\n"), [Said::Status("warm".into()), Said::Ready]);
        assert_eq!(parse(b"STOPPING=1"), [Said::Stopping]);
        let flood = b"STATUS=a\n".repeat(400);
        assert_eq!(parse(&[&flood, &b"STATUS=b\nREADY=1\n"[..]].concat()), [Said::Status("b".into()), Said::Ready]);
    }

    #[test]
    fn nothing_a_worker_sends_is_more_than_ignored() {
        for bytes in [&b""[..], b"READY", b"READY=0", b"=", b"\xff\xfe=1", b"READY=1 \0"] {
            assert_eq!(parse(bytes), [], "{bytes:?}");
        }
        assert_eq!(parse(format!("STATUS={}\x1b", "x".repeat(4000)).as_bytes()), [Said::Status("x".repeat(256))]);
    }

    #[tokio::test]
    async fn a_socket_hears_and_removes_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n");
        let notify = NotifySocket::bind(&path).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::symlink_metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let (heard, mut said) = tokio::sync::mpsc::unbounded_channel();
        let listening = tokio::spawn(notify.listen(move |word| drop(heard.send(word))));
        let worker = UnixDatagram::unbound().unwrap();
        worker.send_to(b"", &path).await.unwrap();
        worker.send_to(b"READY=1", &path).await.unwrap();
        assert_eq!(said.recv().await, Some(Said::Ready));
        listening.abort();
        let _ = listening.await;
        assert!(!path.exists());
    }
}
