//! The sockets on which a worker listens by itself.

use std::ffi::{OsStr, OsString};
use std::future::poll_fn;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::task::Poll;
use std::time::Duration;

use rustix::io::Errno;

use crate::error::StartError;
use crate::fds;
use crate::listener::{Endpoint, Listener};
use crate::protocol::{HOST, LISTEN_FDS, LISTEN_PID, PORT};
use crate::stream::Stream;

/// The pause of accepting when descriptors or memory have run out. They become free when a client leaves.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// The most such pauses at the end of a worker: 5 s in all. The worker drains, so descriptors become free with each
/// answer. But a worker that has lost its descriptors for good must not wait for them until it is killed.
const EXHAUSTED_PAUSES: u32 = 100;

/// The listening sockets of this worker.
#[derive(Debug)]
pub(crate) struct Listening {
    listeners: Vec<Listener>,
    /// True if this process has bound the sockets, so that only it accepts from their queues. The queue of an inherited
    /// socket is served by other processes after this one.
    is_private: bool,
    turn: usize,
    /// The pauses that are left, if descriptors run out while the queues are emptied.
    pauses: u32,
}

impl Listening {
    /// Listens on inherited sockets if the environment names some, else on `PORT`.
    pub(super) async fn open(lookup: &impl Fn(&str) -> Option<OsString>) -> Result<Self, StartError> {
        if let Some(count) = inherited_count(lookup)? {
            let fds = fds::take_inherited(count)?;
            let listeners = fds.into_iter().map(Listener::inherited).collect::<io::Result<_>>();
            let listeners = listeners.map_err(StartError::Inherited)?;
            return Ok(Self { listeners, is_private: false, turn: 0, pauses: 0 });
        }
        let port = lookup(PORT).filter(|port| !port.is_empty()).ok_or(StartError::NothingToListenOn)?;
        let host = lookup(HOST).filter(|host| !host.is_empty()).unwrap_or_else(|| "127.0.0.1".into());
        let listener = bind(&port, &host).await?;
        Ok(Self { listeners: vec![listener], is_private: true, turn: 0, pauses: EXHAUSTED_PAUSES })
    }

    pub(super) fn endpoints(&self) -> io::Result<Vec<Endpoint>> {
        self.listeners.iter().map(Listener::endpoint).collect()
    }

    /// Returns the next connection. Skips errors of one connection, and waits while descriptors have run out. Cancel
    /// safe.
    pub(super) async fn next(&mut self) -> io::Result<Stream> {
        loop {
            let accepted = poll_fn(|context| {
                self.turn = self.turn.wrapping_add(1);
                for i in 0..self.listeners.len() {
                    let listener = &self.listeners[self.turn.wrapping_add(i) % self.listeners.len()];
                    if let Poll::Ready(accepted) = listener.poll_accept(context) {
                        return Poll::Ready(accepted);
                    }
                }
                Poll::Pending
            });
            match accepted.await {
                Ok(stream) => return Ok(stream),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) if is_exhaustion(&error) => tokio::time::sleep(EXHAUSTED_PAUSE).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns a connection that is still waiting when the worker drains. Returns `None` when no connection is left and
    /// the sockets are closed.
    ///
    /// A client in the queue of a private socket is connected already. If the socket were closed now, the client would
    /// see a reset. Cancel safe.
    pub(super) async fn last(&mut self) -> Option<Stream> {
        while self.is_private
            && let Some(listener) = self.listeners.last()
        {
            match listener.accept_waiting() {
                Ok(Some(stream)) => return Some(stream),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) if is_exhaustion(&error) && self.pauses > 0 => {
                    self.pauses -= 1;
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
                Ok(None) | Err(_) => self.close_one(),
            }
        }
        self.listeners.clear();
        None
    }

    /// Closes the last listener, and removes its file. The path belongs to this worker alone, since each start gets a
    /// new one, so the file is never another worker's socket.
    fn close_one(&mut self) {
        let endpoint = self.listeners.last().map(Listener::endpoint);
        self.listeners.pop();
        if let Some(Ok(Endpoint::Unix(path))) = endpoint {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        while self.is_private && !self.listeners.is_empty() {
            self.close_one();
        }
    }
}

/// Returns the number of sockets that were inherited *for this process*. If `LISTEN_PID` names another process, there
/// are none.
fn inherited_count(lookup: &impl Fn(&str) -> Option<OsString>) -> Result<Option<u16>, StartError> {
    let is_for_us = lookup(LISTEN_PID).is_some_and(|pid| pid == *std::process::id().to_string());
    let Some(count) = lookup(LISTEN_FDS).filter(|_| is_for_us) else { return Ok(None) };
    match count.to_str().and_then(|count| count.parse::<u16>().ok()) {
        Some(0) => Ok(None),
        Some(count) => Ok(Some(count)),
        None => Err(StartError::variable(LISTEN_FDS, &count, "a number of sockets")),
    }
}

async fn bind(port: &OsStr, host: &OsStr) -> Result<Listener, StartError> {
    if port.as_bytes().starts_with(b"/") {
        let path = Path::new(port);
        return Listener::bind_unix(path)
            .map_err(|source| StartError::Listen { address: path.display().to_string(), source });
    }
    let number = port.to_str().and_then(|port| port.parse::<u16>().ok());
    let number = number.ok_or_else(|| StartError::variable(PORT, port, "a port number or an absolute path"))?;
    let host = host.to_str().ok_or_else(|| StartError::variable(HOST, host, "an address or a name"))?;
    let listen = |source| StartError::Listen { address: format!("{host}:{number}"), source };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host((host, number)).await.map_err(listen)? {
        match Listener::bind_tcp(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(listen(last))
}

/// Returns true if the client gave up while it was in the queue, or for one of the network errors that accept(2) says
/// to treat alike.
fn is_of_one_connection(error: &io::Error) -> bool {
    let of_one = [
        Errno::CONNABORTED,
        Errno::INTR,
        Errno::PROTO,
        Errno::PERM,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NOPROTOOPT,
        Errno::NONET,
    ];
    Errno::from_io_error(error).is_some_and(|errno| of_one.contains(&errno))
}

fn is_exhaustion(error: &io::Error) -> bool {
    let exhaustion = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| exhaustion.contains(&errno))
}
