//! Receives the messages of workers about themselves: datagrams on `NOTIFY_SOCKET`, as systemd defines them.
//!
//! Each incarnation has one socket. The socket identifies the sender: its process may be gone before its pid could be
//! looked up.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixDatagram;
use tokio::sync::Notify;
use tokio::time::Instant;
use worker_runtime::protocol;

/// The content of one line of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum NotifyMessage {
    /// `READY=1`
    Ready,
    /// `STATUS=text`
    Status(String),
    /// `STOPPING=1`
    Stopping,
    /// `WATCHDOG=1`
    Beat,
    /// `X_ROUNDELAY_DRAIN=signal`, an extension of ours: after the stop signal the worker finishes its connections.
    DrainsBySignal,
}

/// The most bytes of a datagram. A longer one is cut off, and its last line is ignored.
const MAX_DATAGRAM: usize = 4 << 10;
/// The pause after an error of the socket.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
/// The pause between datagrams: faster ones wait in the socket until it is full, and then their sender waits.
const BREATH: std::time::Duration = std::time::Duration::from_millis(1);
/// The interval at which the socket's path is checked, by one call of `lstat`.
const LOOK: std::time::Duration = std::time::Duration::from_secs(2);
/// The most characters of a status; a longer one is cut.
const MAX_STATUS: usize = 256;

/// Reads a datagram. Unknown lines are ignored, as the protocol demands; an empty datagram is legal.
pub(in crate::supervisor) fn parse(datagram: &[u8]) -> Vec<NotifyMessage> {
    let text = String::from_utf8_lossy(datagram);
    let mut said: Vec<NotifyMessage> = Vec::new();
    for new in text.lines().filter_map(line) {
        // Of each kind the last line counts, however often a datagram has it.
        said.retain(|old| std::mem::discriminant(old) != std::mem::discriminant(&new));
        said.push(new);
    }
    said
}

fn line(line: &str) -> Option<NotifyMessage> {
    match line.split_once('=')? {
        ("READY", "1") => Some(NotifyMessage::Ready),
        ("STOPPING", "1") => Some(NotifyMessage::Stopping),
        ("WATCHDOG", "1") => Some(NotifyMessage::Beat),
        (protocol::X_ROUNDELAY_DRAIN, protocol::DRAIN_BY_SIGNAL) => Some(NotifyMessage::DrainsBySignal),
        ("STATUS", text) => Some(NotifyMessage::Status(text.chars().take(MAX_STATUS).collect())),
        _ => None,
    }
}

/// The master's end of one worker's notify socket. Its path is removed when it is dropped.
#[derive(Debug)]
pub(in crate::supervisor) struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
    /// Device and inode of the socket at the path.
    identity: (u64, u64),
    reach: Arc<NotifyReach>,
}

impl NotifySocket {
    /// Binds a socket at `path`, for this user only.
    pub(in crate::supervisor) fn bind(path: &Path) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::DGRAM.nonblocking(), None)?;
        // The path gets the mode that the socket has when it is bound (unix(7)). A later change by path could hit
        // another file.
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let identity = identity(path).ok_or(io::ErrorKind::NotFound)?;
        let socket =
            UnixDatagram::from_std(std::os::unix::net::UnixDatagram::from(std::os::fd::OwnedFd::from(socket)))?;
        let reach = Arc::new(NotifyReach::new(path, identity));
        Ok(Self { socket, path: path.to_owned(), identity, reach })
    }

    /// Returns the record that knows if the worker's messages can arrive.
    pub(in crate::supervisor) fn reach(&self) -> Arc<NotifyReach> {
        Arc::clone(&self.reach)
    }

    /// Calls `heard` for every message of the worker, until it is dropped. An error of one message never ends it, and a
    /// flood of messages is read slowly.
    ///
    /// If the path is removed, `again` makes another socket there. The first socket is still read, since a worker may
    /// have connected to it.
    pub(in crate::supervisor) async fn listen(
        self,
        again: impl Fn() -> io::Result<Self>,
        heard: impl Fn(NotifyMessage),
    ) {
        let (reach, first) = (self.reach(), self);
        let mut second: Option<Self> = None;
        let mut datagram = vec![0; MAX_DATAGRAM];
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let received = tokio::select! {
                received = first.socket.recv(&mut datagram) => received,
                ready = readable(second.as_ref()) => ready.and_then(|socket| socket.try_recv(&mut datagram)),
                () = async { tokio::select! { _ = look.tick() => {} () = reach.missed.notified() => {} } } => {
                    if !reach.is_there() && let Ok(new) = again() {
                        tracing::debug!(path = %new.path.display(), "notify socket was removed and made again");
                        reach.restored(new.identity);
                        second = Some(new);
                    }
                    continue;
                }
            };
            match received {
                Ok(length) => parse(datagram.get(..length).unwrap_or_default()).into_iter().for_each(&heard),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
            // A worker that sends without pause gets no more of this thread than the others.
            tokio::time::sleep(BREATH).await;
        }
    }
}

async fn readable(socket: Option<&NotifySocket>) -> io::Result<&UnixDatagram> {
    match socket {
        Some(one) => one.socket.readable().await.map(|()| &one.socket),
        None => std::future::pending().await,
    }
}

/// Returns the device and inode of the file at the path.
fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        if identity(&self.path) == Some(self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Knows if a worker's messages to its notify socket can arrive: the path, or its folder, may have been removed.
#[derive(Debug)]
pub(in crate::supervisor) struct NotifyReach {
    path: PathBuf,
    state: Mutex<Reach>,
    /// Notified when the path is found missing: it is made again at once.
    missed: Notify,
}

#[derive(Debug)]
struct Reach {
    identity: (u64, u64),
    restored: Option<Instant>,
}

impl NotifyReach {
    fn new(path: &Path, identity: (u64, u64)) -> Self {
        let state = Mutex::new(Reach { identity, restored: None });
        Self { path: path.to_owned(), state, missed: Notify::new() }
    }

    /// Returns the last moment up to `now` at which a message sent after `since` may have been lost; `None` if all of
    /// them arrived. One call of `lstat`.
    pub(in crate::supervisor) fn lost_after(&self, since: Instant, now: Instant) -> Option<Instant> {
        if !self.is_there() {
            self.missed.notify_one();
            return Some(now);
        }
        self.state().restored.filter(|&restored| restored > since)
    }

    fn is_there(&self) -> bool {
        identity(&self.path) == Some(self.state().identity)
    }

    fn restored(&self, identity: (u64, u64)) {
        *self.state() = Reach { identity, restored: Some(Instant::now()) };
    }

    fn state(&self) -> MutexGuard<'_, Reach> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagram_lines_of_known_kinds_are_read() {
        assert_eq!(
            parse(b"STATUS=warm\nREADY=1\nMAINPID=1\n"),
            [NotifyMessage::Status("warm".into()), NotifyMessage::Ready]
        );
        assert_eq!(parse(b"STOPPING=1"), [NotifyMessage::Stopping]);
        let flood = b"STATUS=a\n".repeat(400);
        assert_eq!(
            parse(&[&flood, &b"STATUS=b\nREADY=1\n"[..]].concat()),
            [NotifyMessage::Status("b".into()), NotifyMessage::Ready]
        );
    }

    #[test]
    fn invalid_datagram_lines_are_ignored() {
        for bytes in [&b""[..], b"READY", b"READY=0", b"=", b"\xff\xfe=1", b"READY=1 \0"] {
            assert_eq!(parse(bytes), [], "{bytes:?}");
        }
        assert_eq!(
            parse(format!("STATUS={}\x1b", "x".repeat(4000)).as_bytes()),
            [NotifyMessage::Status("x".repeat(256))]
        );
    }

    fn never() -> io::Result<NotifySocket> {
        Err(io::ErrorKind::NotFound.into())
    }

    #[tokio::test]
    async fn removed_notify_socket_is_restored_and_lost_beats_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, path) = (dir.path().join("run"), dir.path().join("run/n"));
        std::fs::create_dir(&folder).unwrap();
        let notify = NotifySocket::bind(&path).unwrap();
        let (reach, begun) = (notify.reach(), Instant::now());
        let (heard, mut said) = tokio::sync::mpsc::unbounded_channel();
        let again = {
            let (folder, path) = (folder.clone(), path.clone());
            move || std::fs::create_dir(&folder).and_then(|()| NotifySocket::bind(&path))
        };
        let listening = tokio::spawn(notify.listen(again, move |word| drop(heard.send(word))));
        let connected = UnixDatagram::unbound().unwrap();
        connected.connect(&path).unwrap();
        assert_eq!(reach.lost_after(begun, Instant::now()), None);

        std::fs::remove_dir_all(&folder).unwrap();
        let now = Instant::now();
        assert_eq!(reach.lost_after(begun, now), Some(now));
        let other = UnixDatagram::unbound().unwrap();
        while other.send_to(b"READY=1", &path).await.is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(said.recv().await, Some(NotifyMessage::Ready));
        connected.send(b"STOPPING=1").await.unwrap();
        assert_eq!(said.recv().await, Some(NotifyMessage::Stopping), "of one that had connected");
        let restored = reach.lost_after(begun, Instant::now()).unwrap();
        assert!(restored >= now && reach.lost_after(restored, Instant::now()).is_none());
        listening.abort();
        let _ = listening.await;
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn notify_socket_receives_messages_and_removes_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n");
        let notify = NotifySocket::bind(&path).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::symlink_metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let (heard, mut said) = tokio::sync::mpsc::unbounded_channel();
        let listening = tokio::spawn(notify.listen(never, move |word| drop(heard.send(word))));
        let worker = UnixDatagram::unbound().unwrap();
        worker.send_to(b"", &path).await.unwrap();
        worker.send_to(b"READY=1", &path).await.unwrap();
        assert_eq!(said.recv().await, Some(NotifyMessage::Ready));
        listening.abort();
        let _ = listening.await;
        assert!(!path.exists());
    }
}
